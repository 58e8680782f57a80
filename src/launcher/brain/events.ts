import type {
  CanaryPlan,
  Change,
  LauncherVersion,
  Refusal,
  ReloadWait,
  ScaleVerdict,
  UpgradeVerdict,
  Verdict,
  WarmupReport,
} from '../../control-protocol.js'
import type { Answered, DrainOutcome, Held, ListenAddress, ListenerKey, SocketName } from '../../protocol.js'
import type { CanaryShare, Settings } from './state.js'

/** What the world tells the brain. `at` is the monotonic clock in milliseconds, stamped when the event was queued. */
export type Event = { readonly at: number } & (
  | { readonly type: 'start' }
  /**
   * In place of the start: workers of a launcher that is gone are there. `slots`: how many it had, and `asked`: how many there are to be; null:
   * not known, and as many as there are. `next`: numbers that it has not used.
   */
  | {
      readonly type: 'adopt'
      readonly workers: readonly Offered[]
      readonly listeners: readonly OfferedListener[]
      readonly slots: number | null
      readonly asked: number | null
      readonly next: { readonly generation: number; readonly run: number }
    }
  /** One more, when all others are ours already. */
  | { readonly type: 'latecomer'; readonly offered: Offered }
  | WorkerEvent
  /** Answer to `resolve`: what the candidates will run is known, and how it differs from the old; or it cannot be had; or there is no room for it. */
  | {
      readonly type: 'resolved'
      readonly run: number
      readonly error: string | null
      readonly changes: readonly Change[]
      readonly refusal?: Refusal
    }
  /** `canary`: it is to begin with one. `isShared`: others are in one of our groups. */
  | {
      readonly type: 'reload'
      readonly caller: number | null
      readonly wait: ReloadWait
      readonly canary?: CanaryPlan
      readonly isShared?: boolean
    }
  /** What the reloads that follow go by. */
  | { readonly type: 'settings'; readonly settings: Settings }
  /** The canary is good enough; the reload that runs is not. */
  | { readonly type: 'promote' | 'abort'; readonly caller: number; readonly wait: ReloadWait }
  | {
      readonly type: 'stop'
      readonly caller: number | null
      readonly pressure: 'drain' | 'more' | 'now'
      readonly exitCode: number
    }
  /** `reload`: and then all workers. */
  | { readonly type: 'upgrade'; readonly caller: number | null; readonly reload: boolean }
  /** Answer to `upgrade`, in this image of the process: the new one cannot take its place. */
  | {
      readonly type: 'upgrade-refused'
      readonly reason: string
      readonly stderr: readonly string[]
      readonly from: LauncherVersion
      readonly to: LauncherVersion | null
    }
  /** The answer of the new one. */
  | {
      readonly type: 'upgraded'
      readonly from: LauncherVersion
      readonly to: LauncherVersion
      readonly gapMs: number
    }
  | { readonly type: 'scale'; readonly caller: number | null; readonly workers: number; readonly isRelative: boolean }
  /** Answer to `look`. `isShared`: others are in one of our groups, so no index in it is known. `error`: why nobody could be seen. */
  | {
      readonly type: 'looked'
      readonly slot: number
      readonly queued: number
      readonly holders: readonly number[]
      readonly isShared: boolean
      readonly error: string | null
    }
  /** Answer to `steer`, if it could not be done. */
  | { readonly type: 'steer-failed'; readonly listener: ListenerKey; readonly reason: string }
  | { readonly type: 'timer'; readonly id: TimerId }
)

/** A worker of a launcher that is gone, as it says of itself. */
export interface Offered {
  /** Names it, for the hands. */
  readonly offer: number
  readonly pid: number
  readonly generation: number
  readonly slot: number
  readonly state: 'held' | 'serving' | 'paused' | 'draining'
  /** The last that it was told of its slot. */
  readonly term: number
  readonly working: number
  readonly claims: readonly OfferedClaim[]
  /** Of which it has a copy. */
  readonly sockets: readonly SocketName[]
  /** Those of siblings from which it accepts. */
  readonly adopted: readonly SocketName[]
}

export interface OfferedClaim {
  readonly claim: string
  readonly address: ListenAddress
  readonly backlog: number
  readonly listening: boolean
  readonly says: boolean
  readonly said: boolean
}

/** What became of the sockets of one listener, by slot. `order`: by index in its reuseport group; null: nobody knows it. */
export interface OfferedListener {
  readonly address: ListenAddress
  readonly shared: boolean
  readonly sockets: Readonly<Record<number, 'bound' | 'listening'>>
  readonly order: readonly number[] | null
}

/** What happens to one worker. */
export type WorkerEvent = { readonly worker: number } & (
  | { readonly type: 'spawned'; readonly pid: number }
  | { readonly type: 'spawn-failed'; readonly exitCode: number; readonly message: string }
  /** The agent has introduced itself; `pid` is the process that listens. */
  | { readonly type: 'hello'; readonly pid: number }
  | {
      readonly type: 'claim'
      readonly claim: string
      readonly address: ListenAddress
      readonly backlog: number
      /** The program will say when it may accept: `ready` with this claim. */
      readonly says?: boolean
    }
  /** Answer to `open`. */
  | {
      readonly type: 'opened'
      readonly claim: string
      readonly listener: ListenerKey
      readonly slot: number
      readonly listening: boolean
    }
  | {
      readonly type: 'open-failed'
      readonly claim: string
      readonly listener: ListenerKey
      readonly errno: number
      readonly code: string
      readonly message: string
    }
  | { readonly type: 'listen-failed'; readonly listener: ListenerKey; readonly message: string }
  | { readonly type: 'listening'; readonly claim: string }
  | { readonly type: 'released'; readonly claim: string }
  /**
   * The program said so: by a 'ready' message to its parent or READY=1, before or after 'listening', and more than once; or of one claim,
   * by listener.ready().
   */
  | { readonly type: 'ready'; readonly claim?: string }
  /**
   * Result of a `probe`. Mode 'prove': `passed` once, after enough successes in a row; before that any number of failures, each the
   * reason to show if the time runs out. Mode 'watch': failures only, each after enough of them in a row.
   */
  | { readonly type: 'probed'; readonly passed: boolean; readonly reason: string | null; readonly attempts: number }
  /** What came of a `warm-up`: it is as warm as it will be. */
  | { readonly type: 'warmed'; readonly report: WarmupReport }
  /** Its event loop has not turned for this long. `doing`: what its process does instead, in words, if that is known. */
  | { readonly type: 'heartbeat-lost'; readonly ms: number; readonly doing: string | null }
  /** Nor has it since, for so long that it is not waited for any more. */
  | { readonly type: 'hung'; readonly ms: number; readonly doing: string | null }
  /** One of its threads has come back, or has only now come to us. */
  | { readonly type: 'rejoined'; readonly claims: readonly OfferedClaim[] }
  /** It serves, and is above a limit: `is` and `limit` in bytes, or milliseconds. Said again and again for as long as it is, every `everyMs`. */
  | {
      readonly type: 'worn'
      readonly why: 'memory' | 'age'
      readonly is: number
      readonly limit: number
      readonly everyMs: number
    }
  /** It turns again. */
  | { readonly type: 'heartbeat-back' }
  /** HTTP answers given since it was told to count, and how many of them had a status of 500 or more. */
  | ({ readonly type: 'answered' } & Answered)
  /** `connections`: open on its servers at that moment, where the order's answer says so. */
  | { readonly type: 'acked'; readonly seq: number; readonly connections?: number }
  | { readonly type: 'refused'; readonly seq: number; readonly code: string; readonly message: string }
  | { readonly type: 'drained'; readonly outcome: DrainOutcome }
  /** The program has ended its server before its drain was over: connections that this cut, and that are still open. */
  | { readonly type: 'closed-early'; readonly call: string; readonly cut: number; readonly open: number }
  /** The process that listens has ended, its wrapper (npm, sh) has not. */
  | { readonly type: 'gone'; readonly held?: Held }
  | {
      readonly type: 'exited'
      readonly code: number | null
      readonly signal: string | null
      readonly stderr: readonly string[]
      /** The kernel has killed a process for want of memory since the last look. */
      readonly oomKill?: boolean
      /** What it had in hand when it was last heard of, if it was draining. */
      readonly held?: Held
    }
)

/** `topic:subject`. A timer whose subject has moved on finds nothing to do. */
export type TimerId =
  | `ready:${number}`
  | `order:${number}:${number}`
  | `drain:${number}`
  | `kill:${number}`
  | `respawn:${number}`
  | `bake:${number}`
  | `canary:${number}`
  | `late:${number}`
  | `park:${number}`
  | `full:${number}`

/** What the brain wants done. The hands do them in order, and post what comes of it as events. */
export type Effect =
  /** Work out afresh what the candidates of this run will be: directory, command, environment. */
  | { readonly do: 'resolve'; readonly run: number; readonly generation: number }
  | {
      readonly do: 'spawn'
      readonly worker: number
      readonly slot: number
      readonly generation: number
      readonly expendable: boolean
    }
  /** Make the socket of this slot if it is not there yet; `listen`: and listen on it. */
  | {
      readonly do: 'open'
      readonly worker: number
      readonly claim: string
      readonly listener: ListenerKey
      readonly address: ListenAddress
      readonly slot: number
      readonly backlog: number
      readonly listen: boolean
    }
  | {
      readonly do: 'listen'
      readonly worker: number
      readonly listener: ListenerKey
      readonly slot: number
      readonly backlog: number
    }
  | { readonly do: 'answer'; readonly worker: number; readonly claim: string; readonly answer: ClaimAnswer }
  | { readonly do: 'order'; readonly worker: number; readonly seq: number; readonly order: BrainOrder }
  /** A lane between two workers: by it the idle connections of `from` go to `to`. Whatever becomes of it, the two know. */
  | { readonly do: 'lane'; readonly listener: ListenerKey; readonly from: number; readonly to: number }
  /** What was offered is this worker. */
  | { readonly do: 'join'; readonly offer: number; readonly worker: number }
  /** The launcher's copies of these sockets are closed. */
  | { readonly do: 'close'; readonly sockets: readonly SocketName[] }
  /** Shares of new connections by index in the reuseport group, after that of the canary; null: the kernel's hash. */
  | {
      readonly do: 'steer'
      readonly socket: SocketName
      readonly weights: readonly number[] | null
      readonly canary: CanaryShare | null
    }
  /** How many connections wait in these sockets, and which processes hold them? */
  | { readonly do: 'look'; readonly slot: number; readonly sockets: readonly SocketName[] }
  /** Try the new launcher, and put it in this one's place. */
  | { readonly do: 'upgrade' }
  | { readonly do: 'upgraded'; readonly callers: readonly number[]; readonly verdict: UpgradeVerdict }
  | { readonly do: 'scaled'; readonly callers: readonly number[]; readonly verdict: ScaleVerdict }
  /** It serves: no longer the first to go when memory runs out. */
  | { readonly do: 'protect'; readonly worker: number }
  /** The stop signal to the process that listens. */
  | { readonly do: 'terminate'; readonly worker: number }
  /** SIGKILL to the worker's process group and to the process that listens. */
  | { readonly do: 'kill'; readonly worker: number }
  | { readonly do: 'timer'; readonly id: TimerId; readonly ms: number }
  | { readonly do: 'cancel'; readonly id: TimerId }
  | {
      readonly do: 'verdict'
      readonly callers: readonly number[]
      readonly run: number
      readonly verdict: Omit<Verdict, 'kernel'>
    }
  /** What was asked for cannot be done. */
  | { readonly do: 'refuse'; readonly caller: number | null; readonly refusal: Refusal }
  | { readonly do: 'forget'; readonly generation: number }
  /** Ask this worker's health path in that very process; replaces a probe of it that runs. 'prove': until it has passed. 'watch': for as long as it serves. */
  | { readonly do: 'probe'; readonly worker: number; readonly mode: 'prove' | 'watch' }
  /** No further question to it, of either kind. */
  | { readonly do: 'unprobe'; readonly worker: number }
  /** Requests to a worker that is held, before it gets any other; they end by themselves. */
  | { readonly do: 'warm-up'; readonly worker: number }
  | {
      readonly do: 'log'
      readonly level: 'info' | 'warn' | 'error'
      readonly event: string
      readonly fields: LogFields
    }
  | { readonly do: 'exit'; readonly code: number; readonly callers: readonly number[] }

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>

export type ClaimAnswer =
  | {
      readonly mode: 'hold' | 'go'
      readonly listener: ListenerKey
      readonly slot: number
      readonly lingerMs: number
    }
  | { readonly mode: 'unmanaged' }
  | { readonly mode: 'failed'; readonly errno: number; readonly code: string }

/** An order as the brain gives it: sockets by name; the hands attach the descriptors. */
export type BrainOrder =
  | { readonly type: 'pause' | 'keep-flows' }
  | { readonly type: 'admit' | 'resume'; readonly except?: readonly ListenerKey[] }
  | { readonly type: 'stderr' }
  | { readonly type: 'adopt'; readonly socket: SocketName }
  | { readonly type: 'seat'; readonly slot: number; readonly sockets: readonly SocketName[] }
  | { readonly type: 'unadopt'; readonly socket: SocketName }
  | { readonly type: 'spares'; readonly add: readonly SocketName[]; readonly drop: readonly SocketName[] }
  | { readonly type: 'term'; readonly term: number; readonly working: number }
  | { readonly type: 'count'; readonly everyMs: number }
  | {
      readonly type: 'drain'
      readonly deadlineMs: number
      readonly last: boolean
      readonly websocket: 'close' | 'keep'
      readonly spreadMs: number
    }
