import type { NetworkCounters } from '../kernel-counters.js'
import { describeLost } from './judge.js'
import { lostOf, requestsOf } from './load/buckets.js'
import type { LatencySummary } from './load/latency.js'
import type { ReportedIncident, Spread, Total, VerifyReport } from './report.js'

/** The report for a terminal. The last line says it all. */
export function renderReport(report: VerifyReport): string {
  const sections = [head, clients, reloads, incidents, lastLines, verdict].map((section) => section(report))
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n')
}

function head({ command, workers, urls, listener, node, kernel, version, network }: VerifyReport): string[] {
  return [
    `program   ${command.join(' ')}`,
    `load      ${urls.join(', ')} (${listener}), ${workers} ${workers === 1 ? 'worker' : 'workers'}`,
    `on        reuseport-run ${version}, Node ${node}, Linux ${kernel}`,
    `network   ${network.private ? 'a namespace of its own' : `shared with other programs (${network.reason})`}`,
  ]
}

const COLUMNS = [
  'client',
  'requests',
  'lost',
  'retried',
  'connections',
  'opened again',
  'ended politely',
  'closed idle',
  'p50 ms',
  'p99 ms',
  'max ms',
]

function clients({ kinds, total }: VerifyReport): string[] {
  const counts = (name: string, of: Omit<Total, 'requests' | 'lost'>, latency: LatencySummary | null): string[] => [
    name,
    ...[requestsOf(of.buckets), lostOf(of.buckets), of.buckets.retried].map(String),
    ...[of.connects, of.reconnects, of.endedPolitely, of.idleClosed].map(String),
    ...[latency?.p50, latency?.p99, latency?.max].map((ms) => (ms === undefined ? '-' : ms.toFixed(1))),
  ]
  const rows = [
    COLUMNS,
    ...kinds.map((tally) => counts(`${tally.kind} (${tally.connections})`, tally, tally.latencyMs)),
    counts('total', total, null),
  ]
  const lost = kinds
    .filter(({ buckets }) => lostOf(buckets) > 0)
    .map(({ kind, buckets }) => `lost      ${kind}: ${describeLost(buckets)}`)
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
  const { leftProcesses: processes, leftSockets: sockets } = launcher
  const left = `${processes.length} processes and ${sockets.length} sockets`
  const end = launcher.signal ?? (launcher.code === null ? 'did not end' : `ended with code ${launcher.code}`)
  return [
    `reloads   ${done} of ${Math.max(asked, each.length)} done`,
    `          ${spread('all new workers serve', admittedMs)}`,
    `          ${spread('all old workers gone', retiredMs)}`,
    `          connections of old workers: ${moved} moved, ${closed} ended politely, ${cut} cut`,
    `kernel    ${countersText(counters.change)}${counters.judged ? '' : ' (shared with other programs: not judged)'}`,
    `launcher  ${end}, left ${left} behind`,
  ]
}

function countersText(change: NetworkCounters | null): string {
  if (change === null) return 'counters not readable'
  return Object.entries(change)
    .map(([name, count]) => `${name} +${count}`)
    .join(', ')
}

/** Incidents in the text; all that were kept are in the JSON. */
const SHOWN_INCIDENTS = 12

function incidents({ incidents: kept, total, kinds }: VerifyReport): string[] {
  if (kept.length === 0) return []
  // What was lost comes before what was only noticed.
  const isLost = ({ bucket }: ReportedIncident): boolean => bucket !== 'idle-closed' && bucket !== 'ended-politely'
  const shown = [...kept.filter(isLost), ...kept.filter((incident) => !isLost(incident))].slice(0, SHOWN_INCIDENTS)
  const all = total.lost + total.idleClosed + total.unaskedBytes + endedOf(kinds)
  return [`incidents (${shown.length} of ${all}, the first of each sort)`, ...shown.map(describeIncident)]
}

/** Connections that should have stayed. */
function endedOf(kinds: VerifyReport['kinds']): number {
  return kinds.reduce((sum, { ends, endedPolitely }) => sum + (ends === 'never' ? endedPolitely : 0), 0)
}

function describeIncident(incident: ReportedIncident): string {
  const { kind, bucket, reason, after, localPort, nth, bytesSent, bytesReceived, request } = incident
  const where = localPort === null ? 'not connected' : `port ${localPort}, request ${nth} of its connection`
  const isIdle = ['idle-closed', 'ended-politely', 'unasked-bytes'].includes(bucket)
  const bytes = isIdle ? '' : `, ${bytesSent} bytes sent, ${bytesReceived} received`
  return `  ${bucket}, ${kind} (${request}): ${reason}; ${after}; ${where}${bytes}`
}

function lastLines({ launcher: { lastLines: lines } }: VerifyReport): string[] {
  return lines.length === 0 ? [] : ['last lines of the launcher', ...lines.map((line) => `  | ${line}`)]
}

function verdict({ result, reasons, total, reloads: { each }, durationMs }: VerifyReport): string[] {
  const facts = `${total.lost} lost of ${total.requests} requests, ${each.length} reloads, ${(durationMs / 1000).toFixed(1)} s`
  if (result === 'passed') return [`PASSED: ${facts}`]
  return ['why it failed', ...reasons.map((reason) => `  ${reason}`), '', `FAILED: ${facts}`]
}
