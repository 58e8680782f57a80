import { Socket } from 'node:net'
import { type Native, native, READABLE } from '../../native.js'
import type { HealthOptions } from '../../options.js'
import type { Speaks } from '../../protocol.js'
import type { Connect, HandAnswer, Way } from '../agents.js'
import { type Answer, cannotAsk, describe } from './answer.js'

/** Gives the worker its end of the connection, and says what came of it. The descriptor stays the caller's. Returns what stops waiting. */
export type Hand = (fd: number, answered: (answer: HandAnswer) => void) => () => void

/** A conversation over a connection: calls `done` once. Gives what takes leave politely, at any moment of it. */
export type Ask = (connection: Socket, health: HealthOptions, done: (answer: Answer) => void) => () => void

/**
 * Until the other end has closed too. A connection that is closed with something unread, or before the last word of TLS has come, is reset,
 * and resets are what the verdict and `verify` count.
 */
const LEAVE_MS = 1_000

/** One try to get an answer. Owns its connection and its timer; after `done` or `stop` the connection is only being closed, within LEAVE_MS. */
export class Attempt {
  readonly #native: Native = native()
  readonly #health: HealthOptions
  readonly #done: (answer: Answer) => void
  readonly #timer: NodeJS.Timeout
  #way: Way | undefined
  /** Our end: a bare descriptor until it is known how to speak. */
  #fd: number | undefined
  #connection: Socket | undefined
  #leave: (() => void) | undefined
  #isOver = false

  constructor(health: HealthOptions, connect: Connect, done: (answer: Answer) => void) {
    this.#health = health
    this.#done = done
    this.#timer = setTimeout(() => this.#late(), health.timeoutMs)
    try {
      this.#way = connect((answer) => this.#taken(answer))
      this.#fd = this.#way.fd
    } catch (error) {
      // Not now: who starts an attempt wants to know it first.
      setImmediate(() => this.#end(`no connection for the health check: ${(error as Error).message}`))
    }
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#way?.stop()
    this.#close()
  }

  #close(): void {
    let connection: Socket
    try {
      connection = this.#open()
    } catch {
      if (this.#fd !== undefined) this.#native.close(this.#fd)
      return
    }
    const late = setTimeout(() => connection.destroy(), LEAVE_MS).unref()
    connection.once('close', () => clearTimeout(late))
    if (this.#leave !== undefined) return this.#leave()
    connection.end()
    connection.resume()
  }

  /** Our end as a stream, which owns it from then on. */
  #open(allowHalfOpen = false): Socket {
    if (this.#connection !== undefined) return this.#connection
    const connection = new Socket({ fd: this.#fd as number, readable: true, writable: true, allowHalfOpen })
    this.#fd = undefined
    this.#connection = connection
    // What is wrong with the connection is told by who speaks over it; this is for what comes after that.
    connection.on('error', () => {})
    return connection
  }

  #end(answer: Answer): void {
    if (this.#isOver) return
    this.stop()
    this.#done(answer)
  }

  #taken(answer: HandAnswer): void {
    if (this.#isOver) return
    if ('error' in answer) return this.#end(answer.error)
    const fd = this.#fd as number
    if (this.#health.kind === 'tcp') return this.#end(this.#isDropped(fd) ? 'it closed the connection at once' : null)
    this.#converse(answer.speaks).catch((error: Error) => this.#end(cannotAsk(this.#health, error)))
  }

  async #converse(speaks: Speaks): Promise<void> {
    const connection = this.#open(speaks === 'https' || speaks === 'h2' || speaks === 'tls')
    const ask = await askerOf(speaks)
    if (!this.#isOver) this.#leave = ask(connection, this.#health, (said) => this.#end(said))
  }

  /** It was handed over, and there is an end to be read already, without a byte before it. */
  #isDropped(fd: number): boolean {
    if (this.#native.pollSync(fd, READABLE, 0) === 0) return false
    try {
      return this.#native.receiveMessage(fd, 1)?.data.length === 0
    } catch {
      return true
    }
  }

  #late(): void {
    const { timeoutMs } = this.#health
    const what = describe(this.#health)
    this.#end(
      this.#connection === undefined
        ? `it did not take the connection of the health check within ${timeoutMs} ms: ${this.#way?.whyNot}`
        : `it did not answer ${what} within ${timeoutMs} ms`,
    )
  }
}

/** What is not asked for is not loaded: each of these brings modules of Node that the launcher does not need otherwise. */
async function askerOf(speaks: Speaks): Promise<Ask> {
  if (speaks === 'http' || speaks === 'tcp') return (await import('./http1.js')).askHttp
  if (speaks === 'h2c') return (await import('./http2.js')).askHttp2
  return (await import('./tls.js')).askOverTls
}
