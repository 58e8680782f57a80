import type { KindId, LoadPlan } from './kinds.js'
import type { Incident, Tally } from './recorder.js'

/** What `verify` and its load process say to each other over Node's IPC channel. */
export interface LoadOptions extends LoadPlan {
  /** Clients of each kind. */
  readonly connections: number
  /** Only these kinds, with so many clients each; null: all. */
  readonly clients: Readonly<Partial<Record<KindId, number>>> | null
  readonly connectTimeoutMs: number
  readonly responseTimeoutMs: number
}

export type ToLoad =
  /** The launcher to stop if `verify` itself is killed. */
  | { readonly type: 'guard'; readonly launcherPid: number }
  | { readonly type: 'start'; readonly options: LoadOptions }
  /** Every client sends one more request, then ends. */
  | { readonly type: 'end' }

export type FromLoad =
  /** A request of one of the kinds was not answered properly before anything was reloaded: there is nothing to compare with. */
  | { readonly type: 'unfit'; readonly request: string; readonly reason: string }
  /** Every client has had its first request answered, or lost. */
  | { readonly type: 'under-way' }
  | { readonly type: 'progress'; readonly requests: number; readonly lost: number }
  | { readonly type: 'results'; readonly tallies: readonly Tally[]; readonly incidents: readonly Incident[] }
