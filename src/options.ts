import type { ReadySignal, Strategy } from './control-protocol.js'
import type { SteerBy } from './native.js'
import type { ListenAddress } from './protocol.js'
import type { WorkerUser } from './worker-user.js'

/** Each has a slot, and a copy of every socket. */
export const MOST_WORKERS = 1_024

/** How a launcher runs: what the command line says, checked, with defaults. Durations are milliseconds. */
export interface LauncherOptions {
  /** Names the launcher on this machine: its directory below the runtime directory, its control socket. */
  readonly name: string
  /** Parent of the launcher's own directory; undefined: the first of the default places that fits (see runtime-dir.ts). */
  readonly runtimeDir: string | undefined
  /** A file that has the launcher's pid for as long as it runs. */
  readonly pidFile: string | undefined
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
  /** 'close': WebSocket clients get a close frame, 1012, over `drainSpreadMs` from the begin of a drain on. 'keep': at its deadline. */
  readonly websocket: 'close' | 'keep'
  readonly drainSpreadMs: number
  /** What a worker gets when its connections are gone. */
  readonly stopSignal: NodeJS.Signals
  /** 'pm2': the program finds what PM2 gives it: `process.send`, the message 'shutdown', `pm_id` and `name`. */
  readonly compat: 'pm2' | undefined
  /** The variable in which a program finds the number of its slot; undefined: in none. */
  readonly instanceVar: string | undefined
  /** As whom workers run; undefined: as the launcher. */
  readonly user: WorkerUser | undefined
  /** What a worker must say before it may be probed and admitted. */
  readonly ready: ReadySignal
  /** 'alive': for so long it must not have ended. */
  readonly aliveMs: number
  /** Sockets that the program is given when it is started, in this order. Without any it has our agent, and listens by itself. */
  readonly listen: readonly ListenOption[]
  readonly strategy: Strategy
  /** 'rolling': most workers beyond the number of slots, 1 if undefined. 'all': candidates that start at one time, all if undefined. */
  readonly surge: number | undefined
  /** How long the old generation is kept paused after the handover, to be gone back to; 0: not at all. */
  readonly bakeMs: number
  /** Share (0…1) of 5xx answers above which a bake is undone; undefined: answers are not counted. */
  readonly bakeMax5xx: number | undefined
  /** Idle HTTP/1.1 connections of an old worker go on in its successor; else each is told to close. */
  readonly migrate: boolean
  /** They go at the handover already, to a version that can still be undone. */
  readonly bakeMigrate: boolean
  /** What chooses the worker of a new connection: the kernel's hash of its addresses and ports, or a program of ours. */
  readonly balance: 'hash' | SteerBy
  /** Warm spares: workers that have proven themselves and wait for a slot. */
  readonly standby: number
  /** A worker without a launcher ends after this; undefined: it serves on. */
  readonly orphanTimeoutMs: number | undefined
  /** The workers are killed when the launcher dies. */
  readonly dieWithLauncher: boolean
  /** So long the socket of a slot that is gone is accepted from at least. */
  readonly parkMs: number
  /** So long the flows of a UDP socket stay with the old worker after the handover; 0: not at all. */
  readonly udpLingerMs: number
  /** So long a worker's event loop may stand still before its siblings take over what waits for it; 0: nobody asks. */
  readonly hangTimeoutMs: number
  /** So long before it is killed, if another worker is well; 0: never. */
  readonly hangKillMs: number
  /** What V8 makes of the program is kept, as long as the launcher lives, for the workers that come after. */
  readonly compileCache: boolean
  /** A reload whose workers would not fit beside the old ones is refused. */
  readonly memoryCheck: boolean
  /** A worker with more resident memory (bytes) is relieved by another one; undefined: it may have any. */
  readonly maxMemory: number | undefined
  /** One that is older, too; undefined: it may get as old as it likes. */
  readonly maxAgeMs: number | undefined
  /** How often both are looked at. */
  readonly limitIntervalMs: number
  /** How a worker is asked whether it is well; undefined: it is not asked. */
  readonly health: HealthOptions | undefined
  /** What a new worker is asked before it is admitted; undefined: nothing. */
  readonly warmup: WarmupOptions | undefined
  /** The program's environment, as far as neither a file nor ours says otherwise. */
  readonly env: Readonly<Record<string, string>>
  /** Files with the program's environment, read anew for each generation; a later one wins. */
  readonly envFiles: readonly string[]
  /** Where the page is that shows how the launcher is; undefined: there is none. */
  readonly statusPage: HttpAddress | undefined
  readonly logFormat: 'text' | 'json'
  /** Where the launcher's own lines go; undefined: to stderr. */
  readonly logFile: string | undefined
  /** Lines of workers come to us, and get their names. */
  readonly logPrefix: boolean
  /** Reload when these change; undefined: when it is told to. */
  readonly watch: WatchOptions | undefined
  /** Where metrics are shown to Prometheus; undefined: nowhere. */
  readonly metrics: HttpAddress | undefined
}

export interface WatchOptions {
  /** Files and directories, by absolute names. */
  readonly paths: readonly string[]
  /** Names, and paths from where the program is started on. */
  readonly ignore: readonly string[]
  /** So long nothing must have changed. */
  readonly delayMs: number
}

export const WATCH_DEFAULTS: Omit<WatchOptions, 'paths'> = {
  ignore: [],
  // An editor that saves several files, or a file by way of another, is through in a few ms (ecosystem.md §9).
  delayMs: 100,
}

/** Where the launcher itself answers. `host` null: every address. */
export type HttpAddress =
  | { readonly kind: 'tcp'; readonly host: string | null; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface ListenOption {
  /** What the program may find it by (LISTEN_FDNAMES). */
  readonly name: string | null
  /** To be bound; or the name of one that was given to us by socket activation. */
  readonly from: ListenAddress | string
}

/** How a request of the launcher's own presents itself. */
export interface Asker {
  /** `Host`, and the name for TLS (SNI). */
  readonly host: string
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** Requests that a new worker answers before it is admitted, over connections that only it has: its code is compiled by then, its caches are filled. */
export interface WarmupOptions extends Asker {
  readonly requests: number
  /** Asked in turns. */
  readonly paths: readonly string[]
  /** The listener that is asked: of this port; undefined: the one that the program opened first. */
  readonly port: number | undefined
  /** So many connections at a time. */
  readonly concurrency: number
  /** What is not answered by then is left. */
  readonly timeoutMs: number
}

export const WARMUP_DEFAULTS: Pick<WarmupOptions, 'concurrency' | 'timeoutMs'> = {
  // Enough that the worker never waits for the launcher; more would take a processor from those that serve.
  concurrency: 4,
  // 500 requests take Express 0.2-0.3 s; what is slower by far is no warm-up any more.
  timeoutMs: 10_000,
}

/** The health check: what is asked, over a connection that only the worker in question has, and what is a good answer. */
export interface HealthOptions extends Asker {
  /**
   * 'http': `target` is asked for, by the protocol that the server speaks. 'tcp': that the server takes a connection is enough. 'command':
   * `target` is run by a shell and must exit with 0.
   */
  readonly kind: 'http' | 'tcp' | 'command'
  /** 'http': path and query, as they go into the request. 'command': what the shell gets. */
  readonly target: string
  /** The listener that is asked: of this port; undefined: the one that the program opened first. */
  readonly port: number | undefined
  /** Ranges of good statuses, both ends included. */
  readonly statuses: readonly (readonly [from: number, to: number])[]
  /** From the making of the connection to the end of the answer. */
  readonly timeoutMs: number
  /** Between the end of one try and the next. */
  readonly intervalMs: number
  /** So many good answers in a row prove a candidate. */
  readonly successes: number
  /** So many bad ones in a row are a failure of a worker that serves. */
  readonly failures: number
  /** Go on while a worker serves, at this interval; undefined: only candidates and the bake are watched. */
  readonly livenessMs: number | undefined
}

export const HEALTH_DEFAULTS: Omit<HealthOptions, 'kind' | 'target'> = {
  port: undefined,
  host: 'localhost',
  headers: [],
  statuses: [[200, 299]],
  // One probe: reliability.md §2.12.
  timeoutMs: 1_000,
  // A deploy waits for it; the connection costs a worker well under a millisecond.
  intervalMs: 250,
  // A version that answers every second request is no good one (reliability.md E-01).
  successes: 2,
  // Kubernetes' failureThreshold: one slow answer under load is no reason to go back.
  failures: 3,
  livenessMs: undefined,
}

export const DEFAULTS: Omit<LauncherOptions, 'name' | 'command'> = {
  runtimeDir: undefined,
  pidFile: undefined,
  workers: 1,
  ports: undefined,
  // As tableflip's upgrade time-out and the fact file's "listen -> ready" row (reliability.md §2.12).
  readyTimeoutMs: 60_000,
  // Kubernetes' grace period, which most platforms copy (reliability.md §2.12).
  drainTimeoutMs: 30_000,
  killAfterMs: 5_000,
  websocket: 'close',
  // A thousand clients a second come back at five thousand; far inside the drain's deadline.
  drainSpreadMs: 5_000,
  stopSignal: 'SIGTERM',
  compat: undefined,
  instanceVar: undefined,
  user: undefined,
  ready: 'listening',
  // A wrong option or a missing module ends most programs sooner.
  aliveMs: 1_000,
  listen: [],
  strategy: 'all',
  surge: undefined,
  // Time for the first requests of most kinds, short for a deploy that waits; memory for two generations that long (reliability.md R11).
  bakeMs: 5_000,
  bakeMax5xx: undefined,
  migrate: true,
  bakeMigrate: false,
  balance: 'hash',
  standby: 0,
  orphanTimeoutMs: undefined,
  dieWithLauncher: false,
  // Three SYN-ACKs that got lost: 3.4 s sufficed with one in five lost at a round trip of 200 ms (kernel.md §3).
  parkMs: 5_000,
  udpLingerMs: 0,
  // Silence that is no garbage collection and no long template any more (reliability.md Q11).
  hangTimeoutMs: 2_000,
  // gunicorn's; what an honest long computation may take is the program's to know.
  hangKillMs: 30_000,
  compileCache: false,
  memoryCheck: false,
  maxMemory: undefined,
  maxAgeMs: undefined,
  // A worker that leaks 10 MB a second is 100 MB above its limit then; a look costs microseconds per worker.
  limitIntervalMs: 10_000,
  health: undefined,
  warmup: undefined,
  env: {},
  envFiles: [],
  statusPage: undefined,
  logFormat: 'text',
  logFile: undefined,
  logPrefix: false,
  watch: undefined,
  metrics: undefined,
}
