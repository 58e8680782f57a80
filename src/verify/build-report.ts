import { release } from 'node:os'
import { countersBetween, type NetworkCounters } from '../kernel-counters.js'
import { VERSION } from '../version.js'
import { judge, totalOf } from './judge.js'
import type { Exit } from './launcher-process.js'
import type { LeftProcess } from './leftovers.js'
import type { LoadTargets } from './load/kinds.js'
import type { LoadResults } from './load/load-process.js'
import { hostOf, type Target } from './load/request.js'
import type { CheckedOptions } from './options.js'
import type { NetworkOfRun } from './private-network.js'
import type { ReloadRecord } from './reloads.js'
import type { Spread, VerifyReport } from './report.js'
import { Timeline } from './timeline.js'

/** All that a run has measured and met. */
export interface Findings {
  readonly options: CheckedOptions
  readonly network: NetworkOfRun
  readonly durationMs: number
  readonly interrupted: NodeJS.Signals | null
  readonly troubles: readonly string[]
  readonly listeners: readonly string[]
  readonly targets: LoadTargets
  readonly results: LoadResults
  readonly reloads: readonly ReloadRecord[]
  readonly counters: { readonly before: NetworkCounters | null; readonly after: NetworkCounters | null }
  readonly exit: Exit | null
  readonly leftProcesses: readonly LeftProcess[]
  readonly leftSockets: readonly string[]
  readonly lastLines: readonly string[]
}

/** Judges the findings and puts them into the form that people and programs read. */
export function buildReport(findings: Findings): VerifyReport {
  const { options, network, interrupted, targets, results, reloads, exit, leftProcesses, leftSockets } = findings
  const { command, workers, reloads: asked, minRequests, path } = options
  const { tallies } = results
  const counters = { ...findings.counters, judged: network.private, change: changeOf(findings.counters) }
  const { troubles } = findings
  const evidence = {
    workers,
    asked,
    reloads,
    tallies,
    minRequests,
    counters,
    exit,
    leftProcesses,
    leftSockets,
    troubles,
  }
  const reasons = judge(evidence)
  const all = [targets.http, targets.https, targets.http2, targets.h2c]
  const urls = [...new Set(all.flatMap((target) => (target === null ? [] : [urlOf(target, path)])))]
  const timeline = new Timeline(reloads)
  return {
    schema: 1,
    result: reasons.length === 0 ? 'passed' : 'failed',
    reasons,
    interrupted,
    command,
    workers,
    listener: findings.listeners.join(', '),
    url: urls[0] ?? '',
    urls,
    node: process.version,
    kernel: release(),
    version: VERSION,
    network,
    durationMs: findings.durationMs,
    total: totalOf(tallies),
    kinds: tallies,
    incidents: results.incidents.map((incident) => ({ ...incident, after: timeline.before(incident.at) })),
    reloads: {
      asked,
      done: reloads.filter(({ result }) => result === 'done').length,
      admittedMs: spreadOf(reloads.map(({ admittedMs }) => admittedMs)),
      retiredMs: spreadOf(reloads.map(({ retiredMs }) => retiredMs)),
      moved: sumOf(reloads, 'moved'),
      closed: sumOf(reloads, 'closed'),
      cut: sumOf(reloads, 'cut'),
      each: reloads,
    },
    counters,
    launcher: {
      code: exit?.code ?? null,
      signal: exit?.signal ?? null,
      leftProcesses,
      leftSockets,
      lastLines: reasons.length === 0 ? [] : findings.lastLines,
    },
  }
}

function urlOf(target: Target, path: string): string {
  return `${target.tls ? 'https' : 'http'}://${hostOf(target)}${path}`
}

function changeOf({ before, after }: Findings['counters']): NetworkCounters | null {
  return before === null || after === null ? null : countersBetween(before, after)
}

function spreadOf(values: readonly (number | null)[]): Spread | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const at = (q: number): number => Math.round(sorted[Math.ceil(sorted.length * q) - 1] as number)
  return { median: at(0.5), p95: at(0.95), max: at(1) }
}

function sumOf(reloads: readonly ReloadRecord[], count: 'moved' | 'closed' | 'cut'): number {
  return reloads.flatMap(({ workers }) => workers).reduce((sum, worker) => sum + worker[count], 0)
}
