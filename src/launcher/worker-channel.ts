import { Channel } from '../channel.js'
import { type Native, native } from '../native.js'
import type { Answered, DrainOutcome, Held, ListenerKey, ToWorker } from '../protocol.js'
import { type Beat, Heartbeat, type Patience } from './heartbeat.js'
import type { WorkerProcess } from './processes.js'

/** Of the questions that wait for nothing: nobody else's is 0. */
const PING_SEQ = 0

export interface ChannelEvents {
  readable(channel: WorkerChannel): void
  beat(channel: WorkerChannel, beat: Beat): void
  readonly patience: Patience
}

/** One channel of one worker, and what is known of who speaks on it. */
export class WorkerChannel {
  readonly id: number
  readonly peer: ReturnType<Native['peerCredentials']>
  process: WorkerProcess | null = null
  isFirst = false
  /** It has sent what is no message. */
  isSuspect = false
  outcome: DrainOutcome | null = null
  /** What it had in hand when it last said so, while it drains. */
  held: { readonly held: Held; readonly at: number } | null = null
  answered: Answered = { responses: 0, errors: 0 }
  readonly claims: Map<number, ListenerKey> = new Map()
  readonly heartbeat: Heartbeat
  readonly #channel: Channel

  constructor(id: number, fd: number, on: ChannelEvents) {
    this.id = id
    this.peer = native().peerCredentials(fd)
    this.#channel = new Channel(native(), fd, () => on.readable(this))
    this.#channel.start()
    this.heartbeat = new Heartbeat(
      on.patience,
      () => this.send({ type: 'ping', seq: PING_SEQ }),
      (beat) => on.beat(this, beat),
    )
  }

  heldNow(): Held {
    if (this.held === null || this.outcome !== null) return {}
    const since = Math.round(performance.now() - this.held.at)
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

  receive(): ReturnType<Channel['receive']> {
    return this.#channel.receive()
  }

  close(): void {
    this.#channel.close()
  }
}
