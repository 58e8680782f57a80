import { EventEmitter } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { DrainCounts, Fate } from '../meeting.js'

export interface ListenerEvents {
  /** Another process accepts in place of this one, which accepts nothing more. */
  handover: []
  /** What is open has `deadlineMs`; then it is cut. Again when that changes. */
  drain: [{ readonly deadlineMs: number }]
  /** It accepts again: the handover, or the drain, was called off. */
  resume: []
  /** Its last connection has ended, or was cut. `hasSuccessor`: another process accepts in place of it. */
  closed: [{ readonly hasSuccessor: boolean }]
}

/** Where the socket of a listener comes from. 'activation': systemd's, by LISTEN_FDS. 'none': it is this process's own. */
export type Inherited = 'launcher' | 'predecessor' | 'activation' | 'none'

export interface ReusePortListener extends EventEmitter<ListenerEvents>, AsyncDisposable {
  /** As server.address() said when it began to listen. */
  readonly address: AddressInfo | string
  readonly inherited: Inherited
  /** Of this worker under the launcher, or in the row of processes that hand over; begins with 1. null: there is neither. */
  readonly generation: number | null
  /** After 'closed'. */
  readonly drained: Promise<DrainCounts>
  /** The program can serve: under the launcher, and with `handover`, nothing is accepted before. Again, or without both: nothing. */
  ready(): void
  /** Accepts nothing more, answers what is open, resolves when the last connection has ended. */
  close(): Promise<void>
}

export interface ReusePortSocket extends ReusePortListener {
  /** It listens from ready() on, and is the program's: to be closed by it, or by who it is given to. Close-on-exec. */
  readonly fd: number
}

/** Where it listens, and how it becomes ready: known at 'listening'. */
export type Standing = Pick<ReusePortListener, 'address' | 'inherited' | 'generation' | 'ready'>

/** What is told to the program about one server: each event comes in a turn of its own, so that its handlers stop nothing of ours. */
export class Listener {
  readonly events: EventEmitter<ListenerEvents> = new EventEmitter()
  readonly #drained: Promise<DrainCounts>
  #finish: (counts: DrainCounts) => void = () => {}
  #hasSuccessor = false
  /** Whose end is told by the drain, with what has become of its connections. */
  #isDraining = false
  #isClosed = false
  #isOver = false

  constructor() {
    this.#drained = new Promise((done) => {
      this.#finish = done
    })
  }

  /** For who decides about the server. */
  readonly fate: Fate = {
    draining: (deadlineMs, hasSuccessor) => {
      if (hasSuccessor && !this.#hasSuccessor) this.#emit('handover')
      this.#hasSuccessor = hasSuccessor
      this.#isDraining = true
      this.#emit('drain', { deadlineMs })
    },
    resumed: () => {
      this.#hasSuccessor = false
      this.#isDraining = false
      if (this.#isClosed) this.closed()
      else this.#emit('resume')
    },
    drained: (counts) => this.#end(counts),
  }

  /** Each part of it may be passed on by itself. */
  open({ address, inherited, generation, ready }: Standing, close: () => Promise<void>): ReusePortListener {
    return Object.assign(this.events, {
      address,
      inherited,
      generation,
      drained: this.#drained,
      ready,
      close,
      [Symbol.asyncDispose]: close,
    })
  }

  /** By the program. */
  closed(): void {
    this.#isClosed = true
    if (!this.#isDraining) this.#end({ moved: 0, ended: 0, closed: 0, cut: 0 })
  }

  #end(counts: DrainCounts): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#emit('closed', { hasSuccessor: this.#hasSuccessor })
    process.nextTick(() => this.#finish(counts))
  }

  #emit<K extends keyof ListenerEvents>(event: K, ...args: ListenerEvents[K]): void {
    const { events } = this as unknown as { events: { emit(event: string, ...args: unknown[]): boolean } }
    process.nextTick(() => events.emit(event, ...args))
  }
}
