import { type Asked, type ClientContext, type Clients, Unfit } from './clients.js'
import { monotonicMs } from './clock.js'
import { AFTER_FAILED_CONNECT_MS } from './http1-client.js'
import { type Outcome, outcomeOf } from './outcome.js'
import { nameOf, type Target } from './request.js'
import { WebSocketConnection } from './websocket-connection.js'

export interface WebSocketHabits {
  readonly target: Target
  readonly path: string
  /** `message`: the program sends each message back. `ping`: whatever it does with messages, its library must answer a ping. */
  readonly says: 'message' | 'ping'
  readonly thinkMaxMs: number
}

/** Clients that speak over a WebSocket, and come back when they are told to (close code 1012). */
export class WebSocketClients implements Clients {
  readonly asks: string
  readonly #habits: WebSocketHabits

  constructor(habits: WebSocketHabits) {
    this.#habits = habits
    this.asks = `WebSocket ${nameOf('GET', habits.target, habits.path).slice('GET '.length)}`
  }

  async ask(context: ClientContext): Promise<Asked> {
    const opened = await this.#open(context)
    if (!(opened instanceof WebSocketConnection)) throw new Unfit(this.asks, `${opened.bucket} (${opened.reason})`)
    const { bucket, reason } = await opened.exchange(this.#habits.says, context.responseTimeoutMs)
    await opened.finish()
    if (bucket !== 'ok') throw new Unfit(this.asks, `a ${this.#habits.says}: ${bucket} (${reason})`)
    return { bytes: 0, ends: null }
  }

  async run(context: ClientContext, kind: string, onRequest: () => void): Promise<void> {
    const { recorder, end, random, responseTimeoutMs } = context
    const { says, thinkMaxMs } = this.#habits
    let connection: WebSocketConnection | null = null
    /** A message that crossed the server's close frame. */
    let isOwed = false
    let last = false
    for (let isFirst = true; ; isFirst = false) {
      last ||= end.over
      connection ??= await this.#connect(context, kind, !isFirst)
      if (connection?.isOpen) {
        const outcome = await connection.exchange(says, responseTimeoutMs)
        const crossed = outcome.bucket === 'retried'
        if (!crossed) recorder.outcome(kind, this.asks, isOwed ? asRetried(outcome) : outcome)
        isOwed = crossed
      }
      onRequest()
      if (connection === null) await end.pause(AFTER_FAILED_CONNECT_MS)
      else if (connection.isOpen && !last) await end.pause(random() * thinkMaxMs)
      if (connection !== null && !connection.isOpen) {
        await this.#ended(context, kind, connection)
        connection = null
      }
      if (last && !isOwed) break
    }
    await connection?.finish()
  }

  async #connect(context: ClientContext, kind: string, isAgain: boolean): Promise<WebSocketConnection | null> {
    const opened = await this.#open(context)
    const isOpened = opened instanceof WebSocketConnection
    context.recorder.outcome(kind, this.asks, isOpened ? opened.opened : opened)
    if (isOpened) context.recorder.connected(kind, isAgain)
    return isOpened ? opened : null
  }

  async #ended({ recorder }: ClientContext, kind: string, connection: WebSocketConnection): Promise<void> {
    await connection.over
    const { opened, endedPolitely, uncleanEnd } = connection
    if (endedPolitely) recorder.endedPolitely(kind, this.asks)
    if (uncleanEnd !== null) {
      const known = { localPort: opened.localPort, status: 101 }
      recorder.outcome(kind, this.asks, outcomeOf('unclean-end', uncleanEnd, monotonicMs(), known))
    }
  }

  #open({ connectTimeoutMs, responseTimeoutMs }: ClientContext): Promise<WebSocketConnection | Outcome> {
    return WebSocketConnection.open({ ...this.#habits, connectTimeoutMs, responseTimeoutMs })
  }
}

function asRetried(outcome: Outcome): Outcome {
  return outcome.bucket === 'ok' ? { ...outcome, bucket: 'retried' } : outcome
}
