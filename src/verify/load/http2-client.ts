import { type Asked, type ClientContext, type Clients, Unfit } from './clients.js'
import { monotonicMs } from './clock.js'
import { AFTER_FAILED_CONNECT_MS } from './http1-client.js'
import { Http2Connection } from './http2-connection.js'
import { type Outcome, outcomeOf } from './outcome.js'
import { hostOf, type Target } from './request.js'

export interface Http2Habits {
  readonly target: Target
  readonly path: string
  /** Streams that are open at the same time on each connection. */
  readonly streams: number
  readonly thinkMaxMs: number
}

/**
 * Clients of HTTP/2. A stream that the server refuses unprocessed is asked for once more, as every client may and should do; such a
 * request counts as retried.
 */
export class Http2Clients implements Clients {
  readonly asks: string
  readonly #habits: Http2Habits

  constructor(habits: Http2Habits) {
    this.#habits = habits
    this.asks = `HTTP/2 GET ${hostOf(habits.target)}${habits.path}`
  }

  async ask(context: ClientContext): Promise<Asked> {
    const { target, path } = this.#habits
    const opened = await Http2Connection.open(target, context.connectTimeoutMs)
    if (!(opened instanceof Http2Connection)) throw new Unfit(this.asks, `${opened.bucket} (${opened.reason})`)
    const { bucket, reason, status, bytesReceived } = await opened.get(path, context.responseTimeoutMs)
    await opened.finish()
    if (bucket !== 'ok' || status === null) throw new Unfit(this.asks, `${bucket} (${reason})`)
    if (status >= 500) throw new Unfit(this.asks, `status ${status}`)
    context.recorder.setReference(this.asks, status)
    return { bytes: bytesReceived, ends: null }
  }

  async run(context: ClientContext, kind: string, onRequest: () => void): Promise<void> {
    const connections = new Connections(context, kind, this.#habits.target, this.asks)
    const lanes = Array.from({ length: this.#habits.streams }, () => this.#lane(context, kind, connections, onRequest))
    await Promise.all(lanes)
    await connections.finish()
  }

  async #lane(context: ClientContext, kind: string, connections: Connections, onRequest: () => void): Promise<void> {
    const { recorder, end, random, responseTimeoutMs } = context
    const { path, thinkMaxMs } = this.#habits
    for (;;) {
      const last = end.over
      const first = await (await connections.current())?.get(path, responseTimeoutMs)
      const outcome =
        first?.bucket === 'retried' ? await this.#again(await connections.current(), first, responseTimeoutMs) : first
      if (outcome !== undefined) recorder.outcome(kind, this.asks, outcome)
      onRequest()
      if (outcome === undefined) await end.pause(AFTER_FAILED_CONNECT_MS)
      else if (!last) await end.pause(random() * thinkMaxMs)
      if (last) return
    }
  }

  async #again(connection: Http2Connection | null, before: Outcome, timeoutMs: number): Promise<Outcome | undefined> {
    const outcome = await connection?.get(this.#habits.path, timeoutMs)
    if (outcome?.bucket === 'ok') return { ...before, status: outcome.status }
    // Refused twice: the second connection was told to end, too.
    return outcome?.bucket === 'retried' ? { ...outcome, bucket: 'closed-before-response' } : outcome
  }
}

/** The connection of one client, which all of its streams share; a new one when the server has ended the last. */
class Connections {
  readonly #context: ClientContext
  readonly #kind: string
  readonly #target: Target
  readonly #request: string
  readonly #ends: Promise<void>[] = []
  #current: Promise<Http2Connection | null> | null = null
  #opened = 0

  constructor(context: ClientContext, kind: string, target: Target, request: string) {
    this.#context = context
    this.#kind = kind
    this.#target = target
    this.#request = request
  }

  /** null: it could not be opened, which has been counted. */
  async current(): Promise<Http2Connection | null> {
    const before = this.#current
    const connection = await before
    if (connection?.isOpen) return connection
    // The first stream that finds it ended opens the next one, the others wait for it.
    if (this.#current === before) this.#current = this.#open()
    return this.#current
  }

  async finish(): Promise<void> {
    await (await this.#current)?.finish()
    await Promise.all(this.#ends)
  }

  async #open(): Promise<Http2Connection | null> {
    const { recorder, connectTimeoutMs } = this.#context
    const opened = await Http2Connection.open(this.#target, connectTimeoutMs)
    if (opened instanceof Http2Connection) {
      recorder.connected(this.#kind, this.#opened++ > 0)
      this.#ends.push(this.#ended(opened))
      return opened
    }
    recorder.outcome(this.#kind, this.#request, opened)
    return null
  }

  async #ended(connection: Http2Connection): Promise<void> {
    await connection.over
    const { recorder } = this.#context
    if (connection.endedPolitely) recorder.endedPolitely(this.#kind, this.#request)
    if (connection.uncleanEnd !== null) {
      const known = { localPort: connection.localPort }
      const outcome = outcomeOf('unclean-end', connection.uncleanEnd, monotonicMs(), known)
      recorder.outcome(this.#kind, this.#request, outcome)
    }
  }
}
