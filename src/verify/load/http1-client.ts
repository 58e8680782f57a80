import { type Asked, type ClientContext, type Clients, Unfit } from './clients.js'
import { Connection, type ConnectionOptions } from './connection.js'
import type { Outcome } from './outcome.js'
import type { RequestPlan, Target } from './request.js'

/** What one kind of HTTP/1.1 client does. */
export interface Http1Habits {
  readonly target: Target
  readonly plan: RequestPlan
  /** Several of it in one go, with new identities each time; null: one at a time. */
  readonly pipeline: (() => RequestPlan) | null
  /** Pause between a response and the next request on the same connection: evenly spread from 0 to this. */
  readonly thinkMaxMs: number
  readonly readsSlowly: boolean
}

/** Pause after a connection could not be opened, so that a dead server does not turn the client into a busy loop. */
export const AFTER_FAILED_CONNECT_MS = 10
/** A server that promises N seconds of idle time is taken at its word up to this margin, as undici does. */
const KEEP_ALIVE_MARGIN_MS = 1000
const SLOW_READ_EVERY_MS = 15

/** Requests, one after the other, on one connection for as long as the server keeps it open. */
export class Http1Clients implements Clients {
  readonly asks: string
  readonly #habits: Http1Habits
  /** The program sends X-Request-Id back: the order of a pipeline's answers can be told. */
  #sendsIdsBack = false
  #pipelines = true

  constructor(habits: Http1Habits) {
    this.#habits = habits
    const { plan, pipeline } = habits
    this.asks = `${plan.name}${pipeline === null ? '' : ', pipelined'}${plan.asksClose ? ', and close' : ''}`
  }

  async ask(context: ClientContext): Promise<Asked> {
    const { target, plan } = this.#habits
    const unfit = (why: string): Unfit => new Unfit(plan.name, why)
    const { connectTimeoutMs, responseTimeoutMs } = context
    const opened = await Connection.open({ target, connectTimeoutMs, slowRead: null, onIdleEvent: () => undefined })
    if (!(opened instanceof Connection)) throw unfit(`${opened.bucket} (${opened.reason})`)
    const [{ bucket, reason, status, bytesReceived }] = (await opened.exchange(plan, responseTimeoutMs)) as [Outcome]
    if (bucket !== 'ok' || status === null) throw unfit(`${bucket} (${reason})`)
    if (status >= 500) throw unfit(`status ${status}`)
    context.recorder.setReference(plan.name, status)
    // A program that ends its connections by itself is not to be held to more, and gets one request at a time (RFC 9112 §9.3.2).
    const ends = opened.endedPolitely ? 'anyhow' : null
    this.#pipelines = opened.usable
    if (opened.usable) await this.#askPipelined(opened, responseTimeoutMs)
    await opened.finish()
    return { bytes: bytesReceived, ends }
  }

  /**
   * When the load ends a client sends one more request, on the connection that it has: so the fate of every connection that lived
   * through the last reload is known.
   */
  async run(context: ClientContext, kind: string, onRequest: () => void): Promise<void> {
    const { recorder, end, responseTimeoutMs } = context
    const { plan } = this.#habits
    let connection: Connection | null = null
    for (let isFirst = true; ; isFirst = false) {
      const last = end.over
      connection ??= await this.#open(context, kind, !isFirst && !plan.asksClose)
      if (connection !== null) {
        for (const outcome of await connection.exchange(this.#next(), responseTimeoutMs)) {
          const found = outcome.bucket === 'retried' ? await this.#again(context, outcome) : outcome
          recorder.outcome(kind, plan.name, found)
        }
      }
      onRequest()
      if (connection === null) await end.pause(AFTER_FAILED_CONNECT_MS)
      else if (connection.usable && !last) await this.#think(context, connection)
      if (connection !== null && !connection.usable) {
        await connection.over
        if (connection.endedPolitely) recorder.endedPolitely(kind, plan.name, connection.end)
        connection = null
      }
      if (last) break
    }
    await connection?.finish()
  }

  async #open(context: ClientContext, kind: string, isAgain: boolean): Promise<Connection | null> {
    const { connectTimeoutMs, slowReadBytes, recorder } = context
    const { target, plan, readsSlowly } = this.#habits
    const options: ConnectionOptions = {
      target,
      connectTimeoutMs,
      slowRead: readsSlowly ? { bytes: slowReadBytes, everyMs: SLOW_READ_EVERY_MS } : null,
      onIdleEvent: (event) => recorder.idle(kind, plan.name, event),
    }
    const opened = await Connection.open(options)
    if (opened instanceof Connection) {
      recorder.connected(kind, isAgain)
      return opened
    }
    recorder.outcome(kind, plan.name, opened)
    return null
  }

  async #askPipelined(connection: Connection, timeoutMs: number): Promise<void> {
    const { plan, pipeline } = this.#habits
    if (pipeline === null) return
    const { ids, ...several } = pipeline()
    const outcomes = await connection.exchange({ ...several, ids: [] }, timeoutMs)
    const lost = outcomes.find(({ bucket }) => bucket !== 'ok')
    if (lost !== undefined) throw new Unfit(`${plan.name}, pipelined`, `${lost.bucket} (${lost.reason})`)
    this.#sendsIdsBack = connection.lastRequestId === ids.at(-1)
  }

  #next(): RequestPlan {
    const { plan, pipeline } = this.#habits
    if (pipeline === null || !this.#pipelines) return plan
    return this.#sendsIdsBack ? pipeline() : { ...pipeline(), ids: [] }
  }

  /** Once more, alone; it counts as retried if it is answered now. */
  async #again(context: ClientContext, before: Outcome): Promise<Outcome> {
    const { target, plan } = this.#habits
    const { connectTimeoutMs, responseTimeoutMs } = context
    const opened = await Connection.open({ target, connectTimeoutMs, slowRead: null, onIdleEvent: () => undefined })
    if (!(opened instanceof Connection)) return opened
    const [outcome] = (await opened.exchange(plan, responseTimeoutMs)) as [Outcome]
    await opened.finish()
    return outcome.bucket === 'ok' ? before : outcome
  }

  async #think({ end, random }: ClientContext, connection: Connection): Promise<void> {
    const { thinkMaxMs } = this.#habits
    const promised = connection.keepAliveTimeoutMs
    const most = promised === null ? thinkMaxMs : Math.min(thinkMaxMs, promised - KEEP_ALIVE_MARGIN_MS)
    if (most > 0) await end.pause(random() * most)
  }
}
