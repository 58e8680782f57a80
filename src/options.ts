import type { ReadySignal, Strategy } from './control-protocol.js'

/** How a launcher runs: what the command line says, checked, with defaults. Durations are milliseconds. */
export interface LauncherOptions {
  /** Names the launcher on this machine: its directory below the runtime directory, its control socket. */
  readonly name: string
  /** Parent of the launcher's own directory; undefined: the first of the default places that fits (see runtime-dir.ts). */
  readonly runtimeDir: string | undefined
  readonly command: readonly string[]
  readonly workers: number
  /** Ports that are managed; others are left to Node. undefined: every TCP port but 0, and unix paths. */
  readonly ports: readonly number[] | undefined
  /** Spawn to ready. When it passes, the candidate is killed: nothing but evidence admits. */
  readonly readyTimeoutMs: number
  /** Drain order to the stop signal. What is open then is cut by it. */
  readonly drainTimeoutMs: number
  /** Stop signal to SIGKILL. */
  readonly killAfterMs: number
  /** What a worker must say before it may be probed and admitted. */
  readonly ready: ReadySignal
  readonly strategy: Strategy
  /** Most workers that `rolling` runs beyond the number of slots. */
  readonly surge: number
  /** How long the old generation is kept paused after the handover, to be gone back to; 0: not at all. */
  readonly bakeMs: number
  /** Share (0…1) of 5xx answers above which a bake is undone; undefined: answers are not counted. */
  readonly bakeMax5xx: number | undefined
  readonly logFormat: 'text' | 'json'
}

export const DEFAULTS: Omit<LauncherOptions, 'name' | 'command'> = {
  runtimeDir: undefined,
  workers: 1,
  ports: undefined,
  // As tableflip's upgrade time-out and the fact file's "listen -> ready" row (reliability.md §2.12).
  readyTimeoutMs: 60_000,
  // Kubernetes' grace period, which most platforms copy (reliability.md §2.12).
  drainTimeoutMs: 30_000,
  killAfterMs: 5_000,
  ready: 'listening',
  strategy: 'all',
  surge: 1,
  // Time for the first requests of most kinds, short for a deploy that waits; memory for two generations that long (reliability.md R11).
  bakeMs: 5_000,
  bakeMax5xx: undefined,
  logFormat: 'text',
}
