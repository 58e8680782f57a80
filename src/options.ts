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
  logFormat: 'text',
}
