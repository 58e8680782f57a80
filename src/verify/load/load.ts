import { type ClientContext, runClient } from './client.js'
import { Connection } from './connection.js'
import { type ClientKind, clientKinds } from './kinds.js'
import type { LoadOptions } from './messages.js'
import { Recorder } from './recorder.js'

/** A slow reader spreads the reference response over this many reads. */
const SLOW_READS = 20
/** Smallest read: a response of a few hundred bytes is still read in several pieces. */
const SMALLEST_READ = 16

/** The request that was asked once before the load did not get a proper answer. */
export class Unfit extends Error {
  readonly request: string

  constructor(request: string, reason: string) {
    super(reason)
    this.request = request
  }
}

/** All clients of all kinds, in this process. */
export class Load {
  readonly recorder: Recorder
  readonly #options: LoadOptions
  readonly #kinds: readonly ClientKind[]
  readonly #ending = new AbortController()
  #clients: Promise<void>[] = []

  constructor(options: LoadOptions) {
    this.#options = options
    this.#kinds = clientKinds(options.target, options.paths)
    this.recorder = new Recorder(this.#kinds.map(({ name }) => ({ kind: name, connections: options.connections })))
  }

  /** Asks each request once, then starts every client. Resolves when each of them knows the fate of its first request. */
  async start(): Promise<void> {
    const { target, connectTimeoutMs, responseTimeoutMs } = this.#options
    const context: ClientContext = {
      target,
      recorder: this.recorder,
      connectTimeoutMs,
      responseTimeoutMs,
      slowReadBytes: Math.max(SMALLEST_READ, Math.ceil((await this.#askOnce()) / SLOW_READS)),
      random: Math.random,
      ending: this.#ending.signal,
    }
    const underWay: Promise<void>[] = []
    for (const kind of this.#kinds) {
      for (let i = 0; i < this.#options.connections; i++) {
        underWay.push(
          new Promise((resolve, reject) => {
            const client = runClient(context, kind, resolve)
            client.catch(reject)
            this.#clients.push(client)
          }),
        )
      }
    }
    await Promise.all(underWay)
  }

  /** Lets every client finish; resolves when all of their connections are closed. */
  async end(): Promise<void> {
    this.#ending.abort()
    await Promise.all(this.#clients)
  }

  /** Sets the reference statuses; gives the size of the page's response. */
  async #askOnce(): Promise<number> {
    let size = 0
    const plans = new Map(this.#kinds.map(({ plan }) => [plan.name, plan]))
    for (const plan of plans.values()) {
      const unfit = (reason: string): Unfit => new Unfit(plan.name, reason)
      const { target, connectTimeoutMs, responseTimeoutMs } = this.#options
      const opened = await Connection.open({ target, connectTimeoutMs, slowRead: null, onIdleEvent: () => undefined })
      if (!(opened instanceof Connection)) throw unfit(`${opened.bucket} (${opened.reason})`)
      const outcome = await opened.exchange(plan, responseTimeoutMs)
      await opened.finish()
      if (outcome.bucket !== 'ok') throw unfit(`${outcome.bucket} (${outcome.reason})`)
      const status = outcome.status as number
      if (status >= 500) throw unfit(`status ${status}`)
      this.recorder.setReference(plan.name, status)
      if (size === 0) size = outcome.bytesReceived
    }
    return size
  }
}
