/**
 * The channel between the launcher and a worker: everything either side may say.
 *
 * Framing. The channel is an AF_UNIX SOCK_SEQPACKET socket: one packet is one message, JSON in UTF-8 of at most
 * MAX_MESSAGE_BYTES, with at most 253 descriptors (SCM_RIGHTS). A message that carries descriptors names each of them in
 * `fds`, in the order in which they are attached; a count that does not match is a broken peer (the descriptors are closed).
 *
 * Roles. The launcher gives *orders*, each with a `seq`; the worker does what it says and answers `ack` or `nack` with the same
 * `seq`. The worker makes *reports*; only `claim` is answered (by `claimed`), and that answer is awaited synchronously inside
 * `listen()`. The first packet of a worker is `hello`, the first of the launcher `welcome` or `refused`. A message of unknown type
 * is answered with `unknown`, never dropped: an old worker under a newer launcher says what it cannot do.
 *
 * One process may open several channels (one per worker_thread that listens): each says `hello` with the same token; descriptors
 * that belong to the process as a whole (spares, stderr) go over the first one only.
 */

/** Grows when a message changes its meaning; fields are only added within a version. */
export const PROTOCOL_VERSION = 1
/** Largest packet either side sends or accepts. Far below the default send buffer (208 KiB), far above any real message. */
export const MAX_MESSAGE_BYTES: number = 64 * 1024

/** Environment given to a spawn. The agent takes them out of `process.env` before the program runs. */
export const ENV_CHANNEL = 'REUSEPORT_AGENT_CHANNEL'
export const ENV_TOKEN = 'REUSEPORT_AGENT_TOKEN'
/** 'message': the program's `process.send('ready')` is waited for. */
export const ENV_READY = 'REUSEPORT_AGENT_READY'
/** 'pm2': the program is made for PM2. */
export const ENV_COMPAT = 'REUSEPORT_AGENT_COMPAT'
/** JSON: paths of the unix listeners that others serve at the time of the spawn. Absent when there are none. */
export const ENV_PATHS = 'REUSEPORT_AGENT_PATHS'
/** Where what V8 makes of the program is kept, in the directory of the channel. */
export const COMPILE_CACHE = 'compile-cache'

/** A listening address as `listen()` was asked for it, after DNS. `host` null: every address (dual stack `::`, else `0.0.0.0`). */
export type ListenAddress = InetListen<'tcp'> | InetListen<'udp'> | { readonly kind: 'unix'; readonly path: string }

interface InetListen<Kind> {
  readonly kind: Kind
  readonly host: string | null
  readonly port: number
  readonly ipv6Only: boolean
}

/** Canonical text of a listening address; names a listener everywhere: "tcp *:3000", "tcp [::1]:3000", "udp 127.0.0.1:53", "unix /run/a.sock". */
export type ListenerKey = string

/** One socket of one listener. One that all workers share (a unix listener's, or one that was given to the launcher) is slot 0's. */
export interface SocketName {
  readonly listener: ListenerKey
  readonly slot: number
}

// --- worker → launcher -------------------------------------------------------------------------------------------------

export type Report =
  | Hello
  | {
      readonly type: 'claim'
      readonly id: number
      readonly address: ListenAddress
      readonly backlog: number
      /** 'program': a listener of the library. It accepts nothing before `ready` with its id. */
      readonly ready?: 'program'
    }
  /** The program's `listen()` succeeded: 'listening' was emitted for this claim. */
  | { readonly type: 'listening'; readonly id: number }
  /** The program has said that it is ready: by `process.send('ready')`, or with an `id` by `listener.ready()` of that claim. */
  | { readonly type: 'ready'; readonly id?: number }
  /** The program closed the server of this claim (or its `listen()` failed after the claim). */
  | { readonly type: 'released'; readonly id: number }
  /** Every connection of a draining worker has ended; time for the stop signal. */
  | { readonly type: 'drained'; readonly outcome: DrainOutcome }
  /** What a draining worker still has: soon after the begin, and when it has changed, at most twice a second. */
  | { readonly type: 'draining'; readonly held: Held }
  /** The program has closed a server before its drain was over. `cut`: connections that this ended at once; `open`: that are left. */
  | { readonly type: 'closed-early'; readonly call: string; readonly cut: number; readonly open: number }
  /** While `count` is in force: HTTP answers since then, and those of them with a status of 500 or more. */
  | ({ readonly type: 'answered' } & Answered)
  | { readonly type: 'ack'; readonly seq: number; readonly result?: AckResult }
  | { readonly type: 'nack'; readonly seq: number; readonly code: string; readonly message: string }
  /** Answer to `collect`: the sockets themselves, in batches; `last` on the final one. */
  | { readonly type: 'sockets'; readonly seq: number; readonly fds: readonly SocketName[]; readonly last: boolean }
  /** Something a person should read: logged by the launcher with the worker's slot and pid. */
  | { readonly type: 'warning'; readonly code: string; readonly message: string }
  | { readonly type: 'unknown'; readonly of: string }

/** `connections`: that were accepted. `times`: how many answers took how long, by bucket (`bucketOfTime`), up to the last that is not 0. */
export interface Answered {
  readonly connections?: number
  readonly responses: number
  readonly errors: number
  readonly times?: readonly number[]
}

export function addAnswered(parts: readonly Answered[]): Required<Answered> {
  const sum = (key: 'connections' | 'responses' | 'errors'): number =>
    parts.reduce((total, one) => total + (one[key] ?? 0), 0)
  const length = Math.max(0, ...parts.map(({ times = [] }) => times.length))
  const times = Array.from({ length }, (_, bucket) =>
    parts.reduce((total, one) => total + (one.times?.[bucket] ?? 0), 0),
  )
  return { connections: sum('connections'), responses: sum('responses'), errors: sum('errors'), times }
}

/** Each is 2^¼ (19 %) longer than the last; the first one is up to ¼ ms, the last one has all that is longer than 3 minutes. */
export const TIME_BUCKETS = 80

export function bucketOfTime(ms: number): number {
  return Math.min(TIME_BUCKETS - 1, Math.max(0, Math.ceil(4 * Math.log2(4 * ms))))
}

/** Its upper end, in ms. */
export function timeOfBucket(bucket: number): number {
  return 2 ** (bucket / 4 - 2)
}

export interface Hello {
  readonly type: 'hello'
  readonly version: number
  readonly token: string
  readonly node: string
  /** 0 in the main thread, else the worker_thread's id. */
  readonly thread: number
  /** Present when this worker has been welcomed before: its launcher went away and it offers itself to the next one. */
  readonly rejoin?: Rejoin
}

export interface Rejoin {
  readonly generation: number
  readonly slot: number
  readonly state: 'held' | 'serving' | 'paused' | 'draining'
  /** The last term that it was told of for its slot, and the generation that was the working one then. */
  readonly term: number
  readonly working: number
  /** When its process began, in ms since 1970. */
  readonly startedAt: number
  readonly claims: readonly RejoinClaim[]
  /** What `collect` would bring, as far as it fits. */
  readonly sockets: readonly SocketName[]
  /** Those of them that it accepts from for a sibling. */
  readonly adopted: readonly SocketName[]
}

export interface RejoinClaim {
  readonly id: number
  readonly address: ListenAddress
  readonly backlog: number
  /** The program has seen 'listening'. */
  readonly listening: boolean
  /** 'program': a listener of the library. 'said': which may accept. */
  readonly ready?: 'program' | 'said'
}

/** Counts of one drain, over all servers of the worker. */
export interface DrainOutcome {
  /** Connections that ended with a last answer (`Connection: close`, GOAWAY, 1012) or by the client. */
  readonly ended: number
  /** Idle connections closed after the linger. */
  readonly closed: number
  /** Connections still open when the deadline passed, and those that the program has ended before. */
  readonly cut: number
  /** Idle connections that another worker has taken. Absent: an agent that cannot. */
  readonly moved?: number
  /** The same by kind; kinds that there were none of are left out. */
  readonly kinds?: ByKind<Fates>
  /** What was cut in the middle: MAX_CUT_REQUESTS at most. */
  readonly requests?: readonly CutRequest[]
  /** How many more there were. */
  readonly moreRequests?: number
  /** The process exits before its drain is over: what was open then is cut. */
  readonly early?: boolean
}

/** As the outcome's own counts. */
export interface Fates {
  readonly ended: number
  readonly closed: number
  readonly cut: number
  readonly moved: number
}

/** A request whose answer, or body, had not come to its end. */
export interface CutRequest {
  readonly kind: ConnectionKind
  readonly method: string
  /** Without its query, which may hold secrets; MAX_CUT_PATH characters at most. */
  readonly path: string
  /** Milliseconds since its answer began (by its Date header, so to the second), or since the upgrade; null: not known. */
  readonly ageMs: number | null
  /** Of its connection, to the client and from it. */
  readonly bytesWritten: number
  readonly bytesRead: number
}

export const MAX_CUT_REQUESTS = 20
export const MAX_CUT_PATH = 200

/** Open connections by kind, and how old the oldest of each is, in milliseconds; null: not known. */
export type Held = ByKind<{ readonly open: number; readonly oldestMs: number | null }>

/**
 * What a new connection of a server has to begin with, as its class tells: 'tls' and 'tcp' for servers of which only that is known.
 * 'h2' is HTTP/2 over TLS, 'h2c' without.
 */
export type Speaks = 'http' | 'https' | 'h2' | 'h2c' | 'tls' | 'tcp'

/** What a connection is used for. A server's own kind stands for those that have not shown theirs yet. 'upgraded': to something unknown. 'udp': a UDP socket, which is none. */
export type ConnectionKind = Speaks | 'websocket' | 'sse' | 'upgraded' | 'udp'
export const CONNECTION_KINDS: readonly ConnectionKind[] = [
  'http',
  'https',
  'h2',
  'h2c',
  'websocket',
  'sse',
  'upgraded',
  'tls',
  'tcp',
  'udp',
]
export type ByKind<T> = Readonly<Partial<Record<ConnectionKind, T>>>

/** What an ack may bring beside its `seq`. */
export interface AckResult {
  /** `probe`: how the other end of that connection is to be spoken to. */
  readonly speaks?: Speaks
  /** `pause`, `drain`, `connections`: those open on the managed servers at that moment. */
  readonly connections?: number
  /** `connections` with `watchMs`, or after `figures`: HTTP answers since counting began. Absent: they are not counted, or are those of node:cluster children. */
  readonly requests?: number
  /** `shutdown`: the program listens for messages. */
  readonly heard?: boolean
}

// --- launcher → worker -------------------------------------------------------------------------------------------------

export type Reply =
  | {
      readonly type: 'welcome'
      readonly version: number
      readonly generation: number
      readonly slot: number
      readonly term: number
      readonly working: number
      /** 'first' channel of the process gets spares and what it writes to: two descriptors are attached for each of these that is a pipe to the launcher. */
      readonly first: boolean
      /** What it does when its launcher is gone. Absent: it serves on until the next one comes. */
      readonly orphan?: OrphanTerms
      readonly fds: readonly (OutputStream | `${OutputStream}-reader`)[]
    }
  /** The launcher does not take this process as its worker: the agent leaves it alone for good and says why on stderr. */
  | { readonly type: 'refused'; readonly code: RefusalCode; readonly message: string }
  | Claimed
  | { readonly type: 'unknown'; readonly of: string }

export type OutputStream = 'stdout' | 'stderr'

/** 'kill': it dies with it. Else it ends by itself when none has come for so long: drains, and gets the stop signal. */
export type OrphanTerms =
  | 'kill'
  | {
      readonly afterMs: number
      readonly drainMs: number
      readonly stopSignal: string
      readonly killAfterMs: number
    }

export type RefusalCode =
  /** Version outside what this launcher speaks. */
  | 'version'
  /** No spawn has this token. */
  | 'token'
  /** Another process of the same spawn is the worker already. */
  | 'not-the-worker'

export type Claimed =
  /** The slot's socket comes with it: 'hold' = bound, accept nothing yet; 'go' = the launcher listens on it, serve. */
  | {
      readonly type: 'claimed'
      readonly id: number
      readonly mode: 'hold' | 'go'
      readonly listener: ListenerKey
      /** Of UDP: so long flows stay with this process, once it is told to keep them; absent: 0. */
      readonly lingerMs?: number
      readonly fds: readonly [SocketName]
    }
  /** Not ours to manage (`--ports`): plain Node. */
  | { readonly type: 'claimed'; readonly id: number; readonly mode: 'unmanaged' }
  /** The launcher could not bind, or this worker has the address already: the program sees this errno as its listen error. */
  | {
      readonly type: 'claimed'
      readonly id: number
      readonly mode: 'failed'
      readonly errno: number
      readonly code: string
    }

export type Order =
  /** Serve: take every claim out of hold. `except`: those stay held, for their one socket is everybody's. */
  | { readonly type: 'admit'; readonly seq: number; readonly except?: readonly ListenerKey[] }
  /** Stop accepting on every claim, keep and answer what is open. Adopted sockets are given up. */
  | { readonly type: 'pause'; readonly seq: number }
  /** Another worker is about to receive from your UDP sockets: the flows that you know stay with you, for the `lingerMs` of their claim. */
  | { readonly type: 'keep-flows'; readonly seq: number }
  /** Accept again. */
  | { readonly type: 'resume'; readonly seq: number; readonly except?: readonly ListenerKey[] }
  /** Accept from a sibling's socket too, as a second handle of the same server. */
  | { readonly type: 'adopt'; readonly seq: number; readonly fds: readonly [SocketName] }
  /** You were held without a slot; this is yours, with its sockets. An `admit` comes next. */
  | { readonly type: 'seat'; readonly seq: number; readonly slot: number; readonly fds: readonly SocketName[] }
  /** Give an adopted socket up. */
  | { readonly type: 'unadopt'; readonly seq: number; readonly socket: SocketName }
  /** Copies to keep out of the program's sight, and copies to close. */
  | {
      readonly type: 'spares'
      readonly seq: number
      readonly fds: readonly SocketName[]
      readonly drop: readonly SocketName[]
    }
  | { readonly type: 'term'; readonly seq: number; readonly term: number; readonly working: number }
  /** From now on fd 2 is the attached descriptor. */
  | { readonly type: 'stderr'; readonly seq: number; readonly fds: readonly ['stderr'] }
  /**
   * From now on fd 1 and fd 2 are pipes to the launcher: for each the end to write to, the end that it reads, and what the fd is to be when
   * nobody reads that any more.
   */
  | {
      readonly type: 'output'
      readonly seq: number
      readonly fds: readonly (OutputStream | `${OutputStream}-reader` | `${OutputStream}-writer`)[]
    }
  /** Say how many HTTP answers were given, and how many were 5xx, from now on and every so many ms; 0: no more. */
  | { readonly type: 'count'; readonly seq: number; readonly everyMs: number }
  /** Finish what is open and report `drained`; at the deadline report what is left. Implies pause. `last`: accept until the queue is empty first. */
  | {
      readonly type: 'drain'
      readonly seq: number
      readonly deadlineMs: number
      readonly last: boolean
      /** 'close': WebSockets get their close frame (1012) at the begin, spread over `spreadMs`; 'keep' (default): at the deadline. */
      readonly websocket?: 'close' | 'keep'
      readonly spreadMs?: number
    }
  /** Give the attached connection to the server of this listener, as if it had been accepted: also in a worker that is held. */
  | {
      readonly type: 'probe'
      readonly seq: number
      readonly listener: ListenerKey
      readonly fds: readonly ['probe']
    }
  /** Take the idle connections of another worker that come by the attached lane, into the server of this listener. */
  | { readonly type: 'receive'; readonly seq: number; readonly listener: ListenerKey; readonly fds: readonly ['lane'] }
  /** Send the idle connections of this listener, now and as they become idle, by the attached lane. A `drain` comes next. */
  | { readonly type: 'migrate'; readonly seq: number; readonly listener: ListenerKey; readonly fds: readonly ['lane'] }
  /** Let the program have PM2's message 'shutdown', if it listens for any. */
  | { readonly type: 'shutdown'; readonly seq: number }
  /**
   * Say how many connections are open. `watchMs`: count HTTP answers for so long from now on, and say how many there were since counting
   * began; nothing of it is left when nobody has asked for so long.
   */
  | { readonly type: 'connections'; readonly seq: number; readonly watchMs?: number }
  /**
   * Count answers from now on, and write what you know of yourself (figures.ts) into the attached file, which is the first time's: now, and
   * when you have drained. Refused: what the program's own registries say could not be had.
   */
  | { readonly type: 'figures'; readonly seq: number; readonly fds: readonly ['figures'] | readonly [] }
  /** From now on write into the attached file, every `everyMs`, that your event loop turns (native.ts, Pulse). */
  | { readonly type: 'pulse'; readonly seq: number; readonly everyMs: number; readonly fds: readonly ['pulse'] }
  /** Answer: that is all. Whoever does not has an event loop that does not turn. */
  | { readonly type: 'ping'; readonly seq: number }
  /** Send back a copy of every socket you hold, in `sockets` messages; then ack. */
  | { readonly type: 'collect'; readonly seq: number }

export type OrderType = Order['type']
export type ToWorker = Reply | Order
export type ToLauncher = Report

// --- worker → worker ---------------------------------------------------------------------------------------------------

/**
 * A lane is a SOCK_SEQPACKET pair between two workers, for one listener; the launcher makes it and keeps no end. By it the idle HTTP/1.1
 * connections of the one that leaves go to the other, which answers each batch before it does anything with it: an answer that can be sent
 * makes them its own, all but the refused. Those, and every batch that is not answered when the lane ends, are the sender's, which has kept
 * a copy of each until then.
 */
export interface LaneBatch {
  readonly batch: number
  /** For each attached connection, how many ms its server would have waited for the next request; null: for ever. */
  readonly leftMs: readonly (number | null)[]
}

export interface LaneAnswer {
  readonly batch: number
  /** Indexes of the connections that are not taken. */
  readonly refused: readonly number[]
}

export function listenerKey(address: ListenAddress): ListenerKey {
  if (address.kind === 'unix') return `unix ${address.path}`
  const host = address.host === null ? '*' : address.host.includes(':') ? `[${address.host}]` : address.host
  return `${address.kind} ${host}:${address.port}${address.ipv6Only ? ' ipv6only' : ''}`
}

/** Of a UDP socket: nothing listens there, and nothing is accepted. */
export function isDatagram(listener: ListenerKey): boolean {
  return listener.startsWith('udp ')
}

/** The address that `listenerKey` has made this of; undefined: it has made none like this. */
export function addressOfKey(key: ListenerKey): ListenAddress | undefined {
  if (key.startsWith('unix /')) return { kind: 'unix', path: key.slice('unix '.length) }
  const [, kind, host, port, ipv6Only] = /^(tcp|udp) (\*|\[[^\]]+\]|[^:[\]]+):(\d{1,5})( ipv6only)?$/.exec(key) ?? []
  if (kind === undefined || host === undefined) return undefined
  return {
    kind: kind as 'tcp' | 'udp',
    host: host === '*' ? null : host.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port),
    ipv6Only: ipv6Only !== undefined,
  }
}
