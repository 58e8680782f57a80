import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { bucketOfConnectError } from './buckets.js'
import { monotonicMs } from './clock.js'
import { type Outcome, outcomeOf } from './outcome.js'
import { hostOf, type Target } from './request.js'

/** How long a connection may take to be gone after its last stream. */
const CLOSE_TIMEOUT_MS = 2000

/** One HTTP/2 connection of a strict client. Node's own client: what it hides is only what it never sent. */
export class Http2Connection {
  /** Resolves when it is gone. */
  readonly over: Promise<void>
  readonly localPort: number
  /** The server said GOAWAY, without an error. */
  endedPolitely = false
  /** How the server ended it otherwise, with nothing in hand; null: it did not. */
  uncleanEnd: string | null = null

  readonly #session: ClientHttp2Session
  #isFinishing = false
  #goaway: { readonly code: number; readonly lastId: number } | null = null
  #error: string | null = null
  /** The end has been counted as that of a stream. */
  #hasLostStream = false
  #requests = 0

  /** Gives the connection, or the outcome of the request that wanted one. */
  static open(target: Target, connectTimeoutMs: number): Promise<Http2Connection | Outcome> {
    return new Promise((resolve) => {
      const began = monotonicMs()
      const session = connect(`${target.tls ? 'https' : 'http'}://${hostOf(target)}`, { rejectUnauthorized: false })
      const fail = (bucket: Outcome['bucket'], reason: string): void => {
        clearTimeout(timer)
        session.destroy()
        resolve(outcomeOf(bucket, reason, began, {}))
      }
      const timer = setTimeout(
        () => fail('connect-timeout', `no connection within ${connectTimeoutMs} ms`),
        connectTimeoutMs,
      )
      const onError = (error: NodeJS.ErrnoException): void => {
        const code = error.code ?? error.message
        fail(bucketOfConnectError(code), code)
      }
      const onClose = (): void => fail('reset-connecting', 'closed before it was open')
      session.once('error', onError)
      session.once('close', onClose)
      session.once('connect', () => {
        clearTimeout(timer)
        session.off('close', onClose)
        session.on('error', () => undefined)
        session.off('error', onError)
        resolve(new Http2Connection(session))
      })
    })
  }

  private constructor(session: ClientHttp2Session) {
    this.#session = session
    this.localPort = session.socket.localPort ?? 0
    session.on('error', (error: NodeJS.ErrnoException) => {
      this.#error ??= error.code ?? error.message
    })
    session.on('goaway', (code, lastId) => {
      this.#goaway ??= { code, lastId }
    })
    this.over = new Promise((resolve) => {
      session.once('close', () => {
        this.endedPolitely = this.#goaway?.code === constants.NGHTTP2_NO_ERROR
        if (!this.endedPolitely && !this.#isFinishing && !this.#hasLostStream) this.uncleanEnd = this.#why
        resolve()
      })
    })
  }

  /** New streams may be begun. */
  get isOpen(): boolean {
    return this.#goaway === null && !this.#session.closed && !this.#session.destroyed
  }

  get(path: string, timeoutMs: number): Promise<Outcome> {
    return new Promise((resolve) => {
      const began = monotonicMs()
      const nth = ++this.#requests
      let status: number | null = null
      let received = 0
      let isTimedOut = false
      const settle = (bucket: Outcome['bucket'], reason: string | null): void =>
        resolve(outcomeOf(bucket, reason, began, { localPort: this.localPort, nth, status, bytesReceived: received }))
      let stream: ClientHttp2Stream
      try {
        stream = this.#session.request({ ':path': path })
      } catch (error) {
        // Never sent: the connection was told to end in the same turn.
        settle('retried', (error as NodeJS.ErrnoException).code ?? (error as Error).message)
        return
      }
      const timer = setTimeout(() => {
        isTimedOut = true
        stream.close(constants.NGHTTP2_CANCEL)
      }, timeoutMs)
      let isComplete = false
      let errorCode: string | null = null
      stream.on('response', (headers) => {
        status = Number(headers[':status'])
      })
      stream.on('data', (bytes: Buffer) => {
        received += bytes.length
      })
      stream.once('end', () => {
        isComplete = true
      })
      stream.on('error', (error: NodeJS.ErrnoException) => {
        errorCode = error.code ?? error.message
      })
      stream.once('close', () => {
        clearTimeout(timer)
        const { rstCode } = stream
        if (isTimedOut) settle('response-timeout', `no complete response within ${timeoutMs} ms`)
        else if (isComplete && status !== null && rstCode === constants.NGHTTP2_NO_ERROR && errorCode === null)
          settle('ok', null)
        else if (this.#isUnprocessed(stream, status)) settle('retried', `refused (code ${rstCode})`)
        else {
          this.#hasLostStream = true
          const why = `${this.#why}, stream closed with code ${rstCode}${errorCode === null ? '' : ` (${errorCode})`}`
          if (this.#error === 'ECONNRESET') settle('reset-after-request', why)
          else settle(status === null ? 'closed-before-response' : 'truncated', why)
        }
      })
    })
  }

  /** Ends it as a good client does: GOAWAY, when its streams have ended. */
  async finish(): Promise<void> {
    this.#isFinishing = true
    const timer = setTimeout(() => this.#session.destroy(), CLOSE_TIMEOUT_MS)
    if (!this.#session.closed) this.#session.close()
    await this.over
    clearTimeout(timer)
  }

  /** The server has said that it will not look at this stream (RFC 9113 §8.7). */
  #isUnprocessed(stream: ClientHttp2Stream, status: number | null): boolean {
    if (status !== null) return false
    if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) return true
    const isAbove = stream.id === undefined || (this.#goaway !== null && stream.id > this.#goaway.lastId)
    return this.#goaway !== null && isAbove
  }

  get #why(): string {
    const said = this.#goaway === null ? 'no GOAWAY' : `GOAWAY ${this.#goaway.code} up to ${this.#goaway.lastId}`
    return this.#error === null ? said : `${said}, ${this.#error}`
  }
}
