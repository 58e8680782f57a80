import { connect, type Socket } from 'node:net'
import { type Bucket, bucketOfConnectError, bucketOfRequestError } from './buckets.js'
import { monotonicMs } from './clock.js'
import type { RequestPlan, Target } from './request.js'
import { ResponseReader } from './response-reader.js'

/** What became of one request. */
export interface Outcome {
  readonly bucket: Bucket
  /** Error code, or what is wrong with the response; null when ok. */
  readonly reason: string | null
  readonly status: number | null
  readonly ms: number
  /** When it ended (`monotonicMs`). */
  readonly at: number
  readonly localPort: number | null
  /** 1 for the first request on its connection. */
  readonly nth: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** The server did something to a connection, unannounced, while no request was in hand. */
export interface IdleEvent {
  /** `unasked-bytes`: it sent what belongs to no request (two processes that answer on one connection would). */
  readonly kind: 'closed' | 'unasked-bytes'
  readonly reason: string
  readonly at: number
  readonly localPort: number
  /** Requests that the connection had carried. */
  readonly requests: number
}

export interface ConnectionOptions {
  readonly target: Target
  readonly connectTimeoutMs: number
  /** Read a response in pieces of `bytes`, one every `everyMs`; null: as fast as it comes. */
  readonly slowRead: { readonly bytes: number; readonly everyMs: number } | null
  onIdleEvent(event: IdleEvent): void
}

/** Largest read. The buffer is shared: a read and its callback happen in one turn, and the reader keeps no bytes. */
const READ_BYTES = 64 * 1024
const SHARED_READ_BUFFER = Buffer.alloc(READ_BYTES)
/** How long a server may take to close after it said so; loopback needs well under a millisecond. */
const CLOSE_TIMEOUT_MS = 2000

/**
 * `idle`: nothing in hand. `busy`: a response is awaited. `answered`: the response is complete, the rest of the upload is still
 * being sent. `closing`: one side has said that this is the end. `closed`: gone.
 */
type State = 'idle' | 'busy' | 'answered' | 'closing' | 'closed'

/**
 * One TCP connection of a strict client. It never retries, and it knows what became of every request and of itself. It reads to the
 * end before it closes: a client that closes with unread data sends a reset, and the kernel's counter could not be trusted.
 */
export class Connection {
  readonly localPort: number
  /** Resolves when the socket is gone. */
  readonly over: Promise<void>
  /** Set by the server's `Keep-Alive: timeout=…`. */
  keepAliveTimeoutMs: number | null = null
  /** The server said `Connection: close` without being asked. */
  endedPolitely = false

  readonly #socket: Socket
  readonly #options: ConnectionOptions
  #state: State = 'idle'
  #requests = 0
  #reader = new ResponseReader()
  #plan: RequestPlan | null = null
  #settle: ((outcome: Outcome) => void) | null = null
  #outcome: Outcome | null = null
  #began = 0
  #sentBefore = 0
  #nextPiece = 0
  #timer: NodeJS.Timeout | undefined
  #pieceTimer: NodeJS.Timeout | undefined

  /** Gives the connection, or the outcome of the request that wanted one. */
  static open(options: ConnectionOptions): Promise<Connection | Outcome> {
    return new Promise((resolve) => {
      const began = monotonicMs()
      const failed = (bucket: Bucket, reason: string): void => {
        clearTimeout(timer)
        const at = monotonicMs()
        const sizes = { nth: 1, bytesSent: 0, bytesReceived: 0 }
        resolve({ bucket, reason, status: null, ms: at - began, at, localPort: null, ...sizes })
      }
      let connection: Connection | null = null
      const socket = connect({
        ...options.target,
        allowHalfOpen: true,
        noDelay: true,
        onread: {
          buffer: options.slowRead === null ? SHARED_READ_BUFFER : Buffer.alloc(options.slowRead.bytes),
          callback: (length, buffer) =>
            connection?.onBytes(Buffer.from(buffer.buffer, buffer.byteOffset, length)) ?? true,
        },
      })
      const timer = setTimeout(() => {
        socket.destroy()
        failed('connect-timeout', `no answer within ${options.connectTimeoutMs} ms`)
      }, options.connectTimeoutMs)
      const onError = (error: NodeJS.ErrnoException): void => {
        const code = error.code ?? error.message
        failed(bucketOfConnectError(code), code)
      }
      socket.once('error', onError)
      socket.once('connect', () => {
        clearTimeout(timer)
        socket.off('error', onError)
        connection = new Connection(socket, options)
        resolve(connection)
      })
    })
  }

  private constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.localPort = socket.localPort ?? 0
    this.over = new Promise((resolve) => {
      socket.once('close', () => {
        this.#state = 'closed'
        clearTimeout(this.#timer)
        clearTimeout(this.#pieceTimer)
        resolve()
      })
    })
    socket.on('end', () => this.#onEnd())
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onError(error.code ?? error.message))
  }

  get usable(): boolean {
    return this.#state === 'idle'
  }

  /** Sends one request and gives its outcome; for an upload that was answered early only when the rest of it has been sent. */
  exchange(plan: RequestPlan, timeoutMs: number): Promise<Outcome> {
    if (this.#state !== 'idle') throw new Error(`a request on a connection that is ${this.#state}`)
    return new Promise((resolve) => {
      this.#state = 'busy'
      this.#requests++
      this.#reader = new ResponseReader()
      this.#plan = plan
      this.#settle = resolve
      this.#outcome = null
      this.#began = monotonicMs()
      this.#sentBefore = this.#socket.bytesWritten
      this.#nextPiece = 0
      this.#timer = setTimeout(
        () => this.#fail('response-timeout', `no complete response within ${timeoutMs} ms`),
        timeoutMs + plan.pieces.length * plan.pieceEveryMs,
      )
      this.#socket.write(plan.head)
      this.#sendNextPiece(plan)
    })
  }

  /** Ends an idle connection as a good client does: end of file, then wait for the server's. */
  async finish(): Promise<void> {
    if (this.#state === 'idle') this.#close()
    await this.over
  }

  /** From the socket; false stops reading. */
  onBytes(bytes: Buffer): boolean {
    if (this.#state === 'busy') {
      const taken = this.#reader.push(bytes)
      if (this.#reader.problem !== null) this.#fail('bad-body', this.#reader.problem)
      else if (taken < bytes.length)
        this.#fail('bad-body', `${bytes.length - taken} bytes after the end of the response`)
      else if (this.#reader.complete) this.#complete()
      else if (this.#options.slowRead !== null) {
        setTimeout(() => this.#socket.resume(), this.#options.slowRead.everyMs)
        return false
      }
    } else {
      const text = bytes.toString('latin1', 0, 60)
      // A 408 is how a server announces that it closes a connection it takes for one that never sent a request (RFC 9110 §15.5.9).
      this.#idleEvent(/^HTTP\/1\.1 408 /.test(text) ? 'closed' : 'unasked-bytes', JSON.stringify(text))
    }
    return true
  }

  #onEnd(): void {
    switch (this.#state) {
      case 'busy': {
        const end = this.#reader.end()
        if (end === 'complete') this.#complete()
        else if (end === 'nothing') this.#fail('closed-before-response', 'end of file')
        else this.#fail('truncated', 'end of file')
        break
      }
      case 'idle':
      case 'answered':
        this.#idleEvent('closed', 'end of file')
        break
    }
    // Everything has been read: closing sends no reset.
    this.#socket.destroy()
  }

  #onError(code: string): void {
    if (this.#state === 'busy') this.#fail(bucketOfRequestError(code, this.#reader.received > 0), code)
    else if (this.#state === 'idle' || this.#state === 'answered') this.#idleEvent('closed', code)
  }

  #sendNextPiece(plan: RequestPlan): void {
    if (this.#nextPiece === plan.pieces.length) {
      if (this.#state === 'answered') this.#becomeIdle()
      return
    }
    this.#pieceTimer = setTimeout(() => {
      if (this.#state !== 'busy' && this.#state !== 'answered') return
      this.#socket.write(plan.pieces[this.#nextPiece++] as Buffer)
      this.#sendNextPiece(plan)
    }, plan.pieceEveryMs)
  }

  #complete(): void {
    clearTimeout(this.#timer)
    this.keepAliveTimeoutMs = this.#reader.keepAliveTimeoutMs
    const plan = this.#plan as RequestPlan
    this.#outcome = this.#makeOutcome('ok', null)
    if (plan.asksClose || !this.#reader.keepsOpen) {
      // What is left of an upload is not sent: the server has said that it will not read it.
      this.endedPolitely = !plan.asksClose
      this.#state = 'closing'
      this.#timer = setTimeout(() => this.#close(), CLOSE_TIMEOUT_MS)
      this.#resolve()
    } else if (this.#nextPiece < plan.pieces.length) this.#state = 'answered'
    else this.#becomeIdle()
  }

  #becomeIdle(): void {
    this.#state = 'idle'
    this.#resolve()
  }

  #fail(bucket: Bucket, reason: string): void {
    this.#outcome = this.#makeOutcome(bucket, reason)
    this.#state = 'closing'
    this.#socket.destroy()
    this.#resolve()
  }

  #idleEvent(kind: IdleEvent['kind'], reason: string): void {
    const answered = this.#state === 'answered'
    this.#state = 'closing'
    this.#options.onIdleEvent({ kind, reason, at: monotonicMs(), localPort: this.localPort, requests: this.#requests })
    this.#socket.destroy()
    if (answered) this.#resolve()
  }

  #close(): void {
    this.#state = 'closing'
    this.#socket.end()
    this.#timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS)
  }

  #makeOutcome(bucket: Bucket, reason: string | null): Outcome {
    const at = monotonicMs()
    return {
      bucket,
      reason,
      status: this.#reader.status === 0 ? null : this.#reader.status,
      ms: at - this.#began,
      at,
      localPort: this.localPort,
      nth: this.#requests,
      bytesSent: this.#socket.bytesWritten - this.#sentBefore,
      bytesReceived: this.#reader.received,
    }
  }

  #resolve(): void {
    const settle = this.#settle
    this.#settle = null
    settle?.(this.#outcome as Outcome)
  }
}
