import { Channel, type Unsent } from '../channel.js'
import { type Native, native } from '../native.js'
import type { Answered, DrainOutcome, Held, ListenerKey, Rejoin, Report, ToWorker } from '../protocol.js'
import { now } from './clock.js'
import { type Beat, Heartbeat, type Patience, SAVED_HEARTBEAT, type SavedHeartbeat } from './heartbeat.js'
import type { WorkerProcess } from './processes.js'
import {
  type Check,
  fieldsOf,
  isAnything,
  isFd,
  isFlag,
  isNumber,
  isText,
  isWhole,
  listOf,
  orNull,
  pairsOf,
  recordOf,
} from './shape.js'

/** Of the questions that wait for nothing: nobody else's is 0. */
const PING_SEQ = 0

export interface ChannelEvents {
  readable(channel: WorkerChannel): void
  beat(channel: WorkerChannel, beat: Beat): void
  readonly patience: Patience
}

export interface SavedChannel {
  readonly id: number
  readonly fd: number
  readonly worker: number | null
  readonly isFirst: boolean
  readonly isSuspect: boolean
  readonly outcome: DrainOutcome | null
  readonly held: { readonly held: Held; readonly at: number } | null
  readonly answered: Answered
  readonly claims: readonly (readonly [number, ListenerKey])[]
  readonly heartbeat: SavedHeartbeat
  readonly unsent: Unsent
}
export const SAVED_CHANNEL: Check = fieldsOf({
  id: isWhole,
  fd: isFd,
  worker: orNull(isWhole),
  isFirst: isFlag,
  isSuspect: isFlag,
  outcome: orNull(recordOf(isAnything)),
  held: orNull(fieldsOf({ held: recordOf(isAnything), at: isNumber })),
  answered: fieldsOf({ responses: isNumber, errors: isNumber }),
  claims: pairsOf(isWhole, isText),
  heartbeat: SAVED_HEARTBEAT,
  unsent: listOf(fieldsOf({ text: isText, fds: listOf(isFd) })),
})

/** One channel of one worker, and what is known of who speaks on it. */
export class WorkerChannel {
  readonly id: number
  readonly peer: ReturnType<Native['peerCredentials']>
  process: WorkerProcess | null = null
  /** Of a worker whose launcher is gone, until it is ours. */
  offer: Offer | null = null
  isFirst = false
  /** It has sent what is no message. */
  isSuspect = false
  outcome: DrainOutcome | null = null
  /** What it had in hand when it last said so, while it drains. */
  held: { readonly held: Held; readonly at: number } | null = null
  answered: Answered = { responses: 0, errors: 0 }
  readonly claims: Map<number, ListenerKey>
  readonly heartbeat: Heartbeat
  readonly #fd: number
  readonly #channel: Channel

  /** Owns the descriptor. `saved`: what another image of this process knew of it. */
  constructor(id: number, fd: number, on: ChannelEvents, saved?: SavedChannel) {
    this.id = id
    this.claims = new Map(saved?.claims)
    this.#fd = fd
    this.peer = native().peerCredentials(fd)
    this.#channel = new Channel(native(), fd, () => on.readable(this))
    this.#channel.start()
    this.heartbeat = new Heartbeat(
      on.patience,
      () => this.send({ type: 'ping', seq: PING_SEQ }),
      (beat) => on.beat(this, beat),
      saved?.heartbeat,
    )
    if (saved === undefined) return
    this.isFirst = saved.isFirst
    this.isSuspect = saved.isSuspect
    this.outcome = saved.outcome
    this.held = saved.held
    this.answered = saved.answered
    if (saved.unsent.length > 0) this.#channel.resume(saved.unsent)
  }

  save(): SavedChannel {
    const { id, process, isFirst, isSuspect, outcome, held, answered } = this
    return {
      id,
      fd: this.#channel.fd,
      worker: process?.worker ?? null,
      isFirst,
      isSuspect,
      outcome,
      held,
      answered,
      claims: [...this.claims],
      heartbeat: this.heartbeat.save(),
      unsent: this.#channel.unsent,
    }
  }

  heldNow(): Held {
    if (this.held === null || this.outcome !== null) return {}
    const since = Math.round(now() - this.held.at)
    return Object.fromEntries(
      Object.entries(this.held.held).map(([kind, { open, oldestMs }]) => [
        kind,
        { open, oldestMs: oldestMs === null ? null : oldestMs + since },
      ]),
    )
  }

  /** The descriptors stay the caller's. Nobody hears it when the worker has ended: its end comes next. */
  send(message: ToWorker, fds: readonly number[] = []): void {
    this.#channel.send(message, fds)
  }

  /** A descriptor of the process that has connected. Throws ENOPROTOOPT before Linux 6.5. */
  peerPidfd(): number {
    return native().peerPidfd(this.#fd)
  }

  receive(): ReturnType<Channel['receive']> {
    return this.#channel.receive()
  }

  close(): void {
    this.#channel.close()
  }
}

/** A process that was the worker of a launcher that is gone, and wants to be ours. */
export interface Offer {
  readonly id: number
  readonly token: string
  readonly pid: number
  readonly pidfd: number
  readonly startedAt: Date
  /** One for each of its threads that has come, and what that said. */
  readonly channels: { readonly channel: WorkerChannel; readonly rejoin: Rejoin }[]
  /** What it has said since, for when it is ours. */
  readonly early: { readonly channel: WorkerChannel; readonly report: Report }[]
  /** Copies of its sockets are under way. */
  isGiving: boolean
}
