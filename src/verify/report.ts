import type { NetworkCounters } from '../kernel-counters.js'
import { describeLost } from './judge.js'
import type { LeftProcess } from './leftovers.js'
import { type BucketCounts, lostOf, requestsOf } from './load/buckets.js'
import type { LatencySummary } from './load/latency.js'
import type { Incident, Tally } from './load/recorder.js'
import type { NetworkOfRun } from './private-network.js'
import type { ReloadRecord } from './reloads.js'

/** What `verify` found. Fields are only added within a schema number. */
export interface VerifyReport {
  readonly schema: 1
  readonly result: 'passed' | 'failed'
  /** Everything that speaks against it, one sentence each; empty when passed. */
  readonly reasons: readonly string[]
  /** The signal that ended the run early; null when none did. */
  readonly interrupted: NodeJS.Signals | null
  readonly command: readonly string[]
  readonly workers: number
  /** The address that got the load. */
  readonly listener: string
  readonly url: string
  readonly node: string
  readonly kernel: string
  readonly version: string
  readonly network: NetworkOfRun
  readonly durationMs: number
  readonly total: Total
  readonly kinds: readonly Tally[]
  /** The first incidents of each sort: lost requests, and connections closed while idle. */
  readonly incidents: readonly ReportedIncident[]
  readonly reloads: {
    readonly asked: number
    readonly done: number
    readonly admittedMs: Spread | null
    readonly retiredMs: Spread | null
    /** Connections of old workers: moved to the new one, ended by a last answer, cut at the deadline. */
    readonly moved: number
    readonly closed: number
    readonly cut: number
    readonly each: readonly ReloadRecord[]
  }
  readonly counters: {
    /** Only where the namespace is ours alone. */
    readonly judged: boolean
    readonly before: NetworkCounters | null
    readonly after: NetworkCounters | null
    readonly change: NetworkCounters | null
  }
  readonly launcher: {
    readonly code: number | null
    readonly signal: NodeJS.Signals | null
    readonly leftProcesses: readonly LeftProcess[]
    readonly leftSockets: readonly string[]
    readonly lastLines: readonly string[]
  }
}

export interface Total {
  readonly requests: number
  readonly lost: number
  readonly buckets: BucketCounts
  readonly connects: number
  readonly endedPolitely: number
  readonly idleClosed: number
  readonly unaskedBytes: number
}

export interface Spread {
  readonly median: number
  readonly p95: number
  readonly max: number
}

export interface ReportedIncident extends Incident {
  /** What the reload had done last when it happened: "reload 3, 12 ms after slot 1 paused (4711 → 4790)". */
  readonly after: string
}

/** The report for a terminal. The last line says it all. */
export function renderReport(report: VerifyReport): string {
  return `${[...head(report), '', ...clients(report), '', ...reloads(report), ...incidents(report), ...lastLines(report), '', ...verdict(report)].join('\n')}\n`
}

function head({ command, workers, url, listener, node, kernel, version, network }: VerifyReport): string[] {
  return [
    `program   ${command.join(' ')}`,
    `load      ${url} (${listener}), ${workers} ${workers === 1 ? 'worker' : 'workers'}`,
    `on        reuseport-run ${version}, Node ${node}, Linux ${kernel}, ${network.private ? 'a private network namespace' : `the shared network namespace (${network.reason})`}`,
  ]
}

const COLUMNS = [
  'client',
  'requests',
  'lost',
  'connections',
  'ended politely',
  'closed idle',
  'p50 ms',
  'p99 ms',
  'max ms',
]

function clients({ kinds, total }: VerifyReport): string[] {
  const counts = (name: string, of: Omit<Total, 'requests' | 'lost'>, latency: LatencySummary | null): string[] => [
    name,
    ...[requestsOf(of.buckets), lostOf(of.buckets), of.connects, of.endedPolitely, of.idleClosed].map(String),
    ...[latency?.p50, latency?.p99, latency?.max].map((ms) => (ms === undefined ? '-' : ms.toFixed(1))),
  ]
  const rows = [
    COLUMNS,
    ...kinds.map((tally) => counts(`${tally.kind} (${tally.connections})`, tally, tally.latencyMs)),
    counts('total', total, null),
  ]
  const lost = [...kinds.map((tally) => ({ ...tally, name: tally.kind }))]
    .filter(({ buckets }) => lostOf(buckets) > 0)
    .map(({ name, buckets }) => `lost      ${name}: ${describeLost(buckets)}`)
  return [...table(rows), ...(lost.length === 0 ? [] : ['', ...lost])]
}

/** First column to the left, numbers to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] as readonly string[]).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] as string).length)),
  )
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
      )
      .join('  '),
  )
}

function reloads({
  reloads: { asked, done, each, admittedMs, retiredMs, moved, closed, cut },
  counters,
  launcher,
}: VerifyReport): string[] {
  const spread = (text: string, of: Spread | null): string =>
    of === null ? `${text}: never` : `${text}: median ${of.median} ms, p95 ${of.p95} ms, max ${of.max} ms`
  const change =
    counters.change === null
      ? 'not readable'
      : Object.entries(counters.change)
          .map(([name, count]) => `${name} +${count}`)
          .join(', ')
  const left = launcher.leftProcesses.length + launcher.leftSockets.length
  return [
    `reloads   ${done} of ${Math.max(asked, each.length)} done; ${spread('all new workers serve', admittedMs)}; ${spread('all old ones gone', retiredMs)}`,
    `          connections of old workers: ${moved} moved, ${closed} ended politely, ${cut} cut`,
    `kernel    ${change}${counters.judged ? '' : ' (shared with other programs: not judged)'}`,
    `launcher  ended with ${launcher.signal ?? (launcher.code === null ? 'nothing: it did not end' : `code ${launcher.code}`)}, ${left === 0 ? 'left no process and no socket' : `left ${left} things behind`}`,
  ]
}

function incidents({ incidents: all, total }: VerifyReport): string[] {
  if (all.length === 0) return []
  const lines = all.map((incident) => {
    const { kind, bucket, reason, after, localPort, nth, bytesSent, bytesReceived, request } = incident
    const where = localPort === null ? 'not connected' : `port ${localPort}, request ${nth} on its connection`
    const bytes =
      bucket === 'idle-closed' || bucket === 'unasked-bytes'
        ? ''
        : `, ${bytesSent} bytes sent, ${bytesReceived} received`
    return `  ${bucket}, ${kind} (${request}): ${reason}; ${after}; ${where}${bytes}`
  })
  const of = total.lost + total.idleClosed + total.unaskedBytes
  return ['', `incidents (the first of each sort, ${all.length} of ${of})`, ...lines]
}

function lastLines({ launcher: { lastLines: lines } }: VerifyReport): string[] {
  return lines.length === 0 ? [] : ['', 'last lines of the launcher', ...lines.map((line) => `  | ${line}`)]
}

function verdict({ result, reasons, total, reloads: { each }, durationMs }: VerifyReport): string[] {
  const facts = `${total.lost} lost of ${total.requests} requests, ${each.length} reloads, ${(durationMs / 1000).toFixed(1)} s`
  if (result === 'passed') return [`PASSED: ${facts}`]
  return ['why it failed', ...reasons.map((reason) => `  ${reason}`), '', `FAILED: ${facts}`]
}
