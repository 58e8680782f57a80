import type { Held, ListenerKey } from '../protocol.js'
import type { Agents, HandAnswer } from './agents.js'
import type { BrainOrder, ClaimAnswer, WorkerEvent } from './brain/events.js'
import { listenVariables, type NamedSocket } from './listen-fds.js'
import type { Handed } from './processes.js'
import type { Sockets } from './sockets.js'

/** Node's default; a program that calls listen(2) itself has the last word. */
const BACKLOG = 511

/**
 * Stands in for the agents of programs that have none: any program, in any language, that is given its sockets from its start on. What it
 * was given it claims; and it answers orders as far as there is something that can be done from outside:
 *
 * - it serves as soon as it accepts: nobody can hold it, nor make it pause. Old and new accept from the same sockets meanwhile, which loses
 *   nothing;
 * - to drain is to get the stop signal: what that means for its connections only the program knows.
 */
export class Foreign implements Agents {
  readonly #sockets: Sockets
  readonly #listens: readonly NamedSocket[]
  readonly #aliveMs: number | undefined
  readonly #post: (event: WorkerEvent) => void
  readonly #stop: (worker: number) => void
  readonly #timers = new Map<number, NodeJS.Timeout>()

  constructor(options: {
    sockets: Sockets
    listens: readonly NamedSocket[]
    /** Ready is who has not ended for so long; undefined: who says so. */
    aliveMs: number | undefined
    post: (event: WorkerEvent) => void
    /** The stop signal. */
    stop: (worker: number) => void
  }) {
    this.#sockets = options.sockets
    this.#listens = options.listens
    this.#aliveMs = options.aliveMs
    this.#post = options.post
    this.#stop = options.stop
  }

  /** What the program of a slot gets: sockets that listen. Makes those that are not there yet, and throws what `Sockets` does. */
  handed(slot: number, generation: number): Handed {
    const fds = this.#listens.map(({ address }) => this.#sockets.ready(address, slot, BACKLOG))
    return { fds, variables: listenVariables(this.#listens, generation) }
  }

  spawned(worker: number, pid: number): void {
    this.#post({ type: 'hello', worker, pid })
    for (const [index, { address }] of this.#listens.entries())
      this.#post({ type: 'claim', worker, claim: String(index), address, backlog: BACKLOG })
    if (this.#aliveMs === undefined) return
    const timer = setTimeout(() => {
      // Not before what has happened in time is known: it may have ended.
      setImmediate(() => {
        if (this.#timers.delete(worker)) this.#post({ type: 'ready', worker })
      })
    }, this.#aliveMs)
    this.#timers.set(worker, timer)
  }

  answer(worker: number, claim: string, { mode }: ClaimAnswer): void {
    if (mode === 'go' || mode === 'hold') this.#post({ type: 'listening', worker, claim })
  }

  order(worker: number, seq: number, { type }: BrainOrder): void {
    this.#post({ type: 'acked', worker, seq })
    if (type === 'drain') this.#stop(worker)
  }

  /** Its end is known. */
  lastWords(worker: number): Held {
    clearTimeout(this.#timers.get(worker))
    this.#timers.delete(worker)
    return {}
  }

  held(): Held {
    return {}
  }

  connections(): Promise<ReadonlyMap<number, number | null>> {
    return Promise.resolve(new Map())
  }

  hand(_worker: number, _port: number | undefined, _fd: number, answered: (answer: HandAnswer) => void): () => void {
    const soon = setImmediate(() => answered({ error: 'it cannot be given a connection' }))
    return () => clearImmediate(soon)
  }

  layLane(_listener: ListenerKey, _from: number, _to: number): void {}

  shutdown(_worker: number, answered: (heard: boolean) => void): void {
    answered(false)
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
