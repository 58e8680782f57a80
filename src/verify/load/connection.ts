import { Socket } from 'node:net'
import { type Bucket, bucketOfRequestError } from './buckets.js'
import { monotonicMs } from './clock.js'
import { openSocket } from './open-socket.js'
import type { IdleEvent, Outcome } from './outcome.js'
import type { RequestPlan, Target } from './request.js'
import { ResponseReader } from './response-reader.js'

export interface ConnectionOptions {
  readonly target: Target
  readonly connectTimeoutMs: number
  /** Read a response in pieces of `bytes`, one every `everyMs`; null: as fast as it comes. */
  readonly slowRead: { readonly bytes: number; readonly everyMs: number } | null
  onIdleEvent(event: IdleEvent): void
}

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
  /** `X-Request-Id` of the last response. */
  lastRequestId: string | null = null
  /** The server said `Connection: close` without being asked. */
  endedPolitely = false

  readonly #socket: Socket
  readonly #options: ConnectionOptions
  #state: State = 'idle'
  #requests = 0
  #reader = new ResponseReader()
  #plan: RequestPlan | null = null
  #settle: ((outcomes: readonly Outcome[]) => void) | null = null
  #outcomes: Outcome[] = []
  #began = 0
  #sentBefore = 0
  #nextPiece = 0
  #timer: NodeJS.Timeout | undefined
  #pieceTimer: NodeJS.Timeout | undefined

  /** Gives the connection, or the outcome of the request that wanted one. */
  static open(options: ConnectionOptions): Promise<Connection | Outcome> {
    return new Promise((resolve) => {
      let connection: Connection | null = null
      const { target, connectTimeoutMs, slowRead } = options
      const onBytes = (bytes: Buffer): boolean => connection?.onBytes(bytes) ?? true
      openSocket({ target, connectTimeoutMs, readBytes: slowRead?.bytes, onBytes }, (opened) => {
        if (opened instanceof Socket) connection = new Connection(opened, options)
        resolve(connection ?? (opened as Outcome))
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

  /** When its last response had come, and how many there were. */
  get end(): { readonly at: number; readonly localPort: number; readonly requests: number } {
    return { at: this.#outcomes.at(-1)?.at ?? this.#began, localPort: this.localPort, requests: this.#requests }
  }

  get usable(): boolean {
    return this.#state === 'idle'
  }

  /**
   * Sends what is planned and gives the outcome of each request of it; for an upload that was answered early only when the rest of it
   * has been sent.
   */
  exchange(plan: RequestPlan, timeoutMs: number): Promise<readonly Outcome[]> {
    if (this.#state !== 'idle') throw new Error(`a request on a connection that is ${this.#state}`)
    return new Promise((resolve) => {
      this.#state = 'busy'
      this.#requests++
      this.#reader = new ResponseReader()
      this.#plan = plan
      this.#settle = resolve
      this.#outcomes = []
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
      else if (taken < bytes.length && (this.#isLast || !this.#reader.keepsOpen))
        this.#fail('bad-body', `${bytes.length - taken} bytes after the end of the response`)
      else if (this.#reader.complete) this.#complete()
      else if (this.#options.slowRead !== null) {
        setTimeout(() => this.#socket.resume(), this.#options.slowRead.everyMs)
        return false
      }
      return taken === bytes.length || !this.#isBusy || this.onBytes(bytes.subarray(taken))
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

  /** Asked after a call that may have changed it. */
  get #isBusy(): boolean {
    return this.#state === 'busy'
  }

  /** The response that is read is that of the last request. */
  get #isLast(): boolean {
    return this.#outcomes.length === (this.#plan as RequestPlan).requests - 1
  }

  #complete(): void {
    const plan = this.#plan as RequestPlan
    const wanted = plan.ids[this.#outcomes.length]
    const { requestId, keepsOpen } = this.#reader
    if (wanted !== undefined && requestId !== wanted)
      return this.#fail('bad-body', `the answer to request ${wanted} is that to ${requestId ?? 'an unknown one'}`)
    this.#outcomes.push(this.#makeOutcome('ok', null))
    if (this.#outcomes.length < plan.requests && keepsOpen) {
      this.#requests++
      this.#reader = new ResponseReader()
      return
    }
    // "Close" says that nothing behind it in the pipeline was processed (RFC 9112 §9.6): it may be sent again.
    while (this.#outcomes.length < plan.requests)
      this.#outcomes.push(this.#makeOutcome('retried', 'behind an answer that said Connection: close'))
    clearTimeout(this.#timer)
    this.keepAliveTimeoutMs = this.#reader.keepAliveTimeoutMs
    this.lastRequestId = requestId
    if (plan.asksClose || !keepsOpen) {
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

  /** What is not answered yet is lost. */
  #fail(bucket: Bucket, reason: string): void {
    clearTimeout(this.#timer)
    const { requests } = this.#plan as RequestPlan
    while (this.#outcomes.length < requests) this.#outcomes.push(this.#makeOutcome(bucket, reason))
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
    settle?.(this.#outcomes)
  }
}
