import type { NetworkCounters } from '../kernel-counters.js'
import type { LeftProcess } from './leftovers.js'
import type { BucketCounts } from './load/buckets.js'
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
  /** The addresses that got the load. */
  readonly listener: string
  /** The first of them. */
  readonly url: string
  readonly urls: readonly string[]
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
  readonly reconnects: number
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
