import type { ClientContext } from './clients.js'
import { type ClientKind, clientKinds, type KindId } from './kinds.js'
import { LoadEnd } from './load-end.js'
import type { LoadOptions } from './messages.js'
import type { Ends } from './outcome.js'
import { Recorder } from './recorder.js'

/** A slow reader spreads the reference response over this many reads. */
const SLOW_READS = 20
/** Smallest read: a response of a few hundred bytes is still read in several pieces. */
const SMALLEST_READ = 16

/** Clients that connect at the same time at the start: less than the accept queue of one worker holds (Node's backlog is 511). */
const STARTED_AT_ONCE = 200

/** All clients of all kinds, in this process. */
export class Load {
  readonly recorder: Recorder
  readonly #options: LoadOptions
  readonly #kinds: readonly ClientKind[]
  readonly #end = new LoadEnd()
  #clients: Promise<void>[] = []

  constructor(options: LoadOptions) {
    this.#options = options
    this.#kinds = clientKinds(options).filter(({ id }) => this.#numberOf(id) > 0)
    this.recorder = new Recorder(
      this.#kinds.map(({ id, name, ends }) => ({ kind: name, connections: this.#numberOf(id), ends })),
    )
  }

  /** Asks each request once, then starts every client. Resolves when each of them knows the fate of its first request. */
  async start(): Promise<void> {
    const { connectTimeoutMs, responseTimeoutMs } = this.#options
    const fast: ClientContext = {
      recorder: this.recorder,
      connectTimeoutMs,
      responseTimeoutMs,
      slowReadBytes: SMALLEST_READ,
      random: Math.random,
      end: this.#end,
    }
    const bytes = await this.#askOnce(fast)
    const context = { ...fast, slowReadBytes: Math.max(SMALLEST_READ, Math.ceil(bytes / SLOW_READS)) }
    let starting: Promise<void>[] = []
    for (const { id, name, clients } of this.#kinds) {
      for (let i = 0; i < this.#numberOf(id); i++) {
        starting.push(
          new Promise((resolve, reject) => {
            const client = clients.run(context, name, resolve)
            client.catch(reject)
            this.#clients.push(client)
          }),
        )
        if (starting.length < STARTED_AT_ONCE) continue
        await Promise.all(starting)
        starting = []
      }
    }
    await Promise.all(starting)
  }

  /** Lets every client finish; resolves when all of their connections are closed. */
  async end(): Promise<void> {
    this.#end.begin()
    await Promise.all(this.#clients)
  }

  /** Sets the reference statuses; gives the size of the page's response. */
  async #askOnce(context: ClientContext): Promise<number> {
    let size = 0
    const asked = new Map<string, Ends | null>()
    for (const { name, clients } of this.#kinds) {
      if (!asked.has(clients.asks)) {
        const { bytes, ends } = await clients.ask(context)
        asked.set(clients.asks, ends)
        if (size === 0) size = bytes
      }
      const ends = asked.get(clients.asks)
      if (ends != null) this.recorder.setEnds(name, ends)
    }
    return size
  }

  #numberOf(id: KindId): number {
    const { clients, connections } = this.#options
    return clients === null ? connections : (clients[id] ?? 0)
  }
}
