import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { bucketOfRequestError } from './buckets.js'
import { monotonicMs } from './clock.js'
import { openSocket } from './open-socket.js'
import { type Outcome, outcomeOf } from './outcome.js'
import { getWebSocket, type Target } from './request.js'
import { acceptOf, BINARY, CLOSE, clientFrame, closeCode, FrameReader, PING, PONG, TEXT } from './websocket-frames.js'

export interface WebSocketOptions {
  readonly target: Target
  readonly path: string
  readonly connectTimeoutMs: number
  readonly responseTimeoutMs: number
}

/** "Service Restart" (the IANA registry of close codes): come back. */
export const SERVICE_RESTART = 1012
const NORMAL = 1000
/** How long a server may take to close the connection after both close frames. */
const CLOSE_TIMEOUT_MS = 2000
const LONGEST_HEAD = 16 * 1024

interface Awaited {
  readonly opcode: number
  readonly payload: Buffer
  readonly began: number
  readonly timer: NodeJS.Timeout
  readonly settle: (outcome: Outcome) => void
}

/** One WebSocket of a strict client. */
export class WebSocketConnection {
  /** Resolves when the socket is gone. */
  readonly over: Promise<void>
  /** Outcome of the handshake. */
  readonly opened: Outcome
  /** The server ended it as a server should that goes away: with 1012, which a client answers by coming back. */
  endedPolitely = false
  /** How the server ended it otherwise, with nothing in hand; null: it did not. */
  uncleanEnd: string | null = null

  readonly #socket: Socket
  readonly #reader = new FrameReader()
  readonly #localPort: number
  #isOpen = true
  #messages = 0
  #awaited: Awaited | null = null
  #timer: NodeJS.Timeout | undefined

  /** Gives the WebSocket, or the outcome of its handshake. */
  static open(options: WebSocketOptions): Promise<WebSocketConnection | Outcome> {
    return new Promise((resolve) => {
      const { target, path, connectTimeoutMs, responseTimeoutMs } = options
      const key = randomBytes(16).toString('base64')
      const began = monotonicMs()
      let head = ''
      let connection: WebSocketConnection | null = null
      let fail: (bucket: Outcome['bucket'], reason: string) => void = () => undefined
      let succeed: (rest: Buffer) => void = () => undefined
      const onBytes = (bytes: Buffer): boolean => {
        if (connection !== null) connection.onBytes(bytes)
        else {
          const before = head.length
          head += bytes.toString('latin1')
          const end = head.indexOf('\r\n\r\n')
          const problem = end === -1 ? null : problemOf(head.slice(0, end), key)
          if (head.length > LONGEST_HEAD) fail('bad-body', 'a head of more than 16 KiB')
          else if (problem !== null) fail(problem.bucket, problem.reason)
          else if (end !== -1) succeed(bytes.subarray(end + 4 - before))
        }
        return true
      }
      openSocket({ target, connectTimeoutMs, onBytes }, (opened) => {
        if (!(opened instanceof Socket)) {
          resolve(opened)
          return
        }
        const socket = opened
        const localPort = socket.localPort ?? 0
        fail = (bucket, reason) => {
          clearTimeout(timer)
          socket.destroy()
          const status = Number(/^HTTP\/1\.1 (\d\d\d)/.exec(head)?.[1] ?? 0)
          resolve(outcomeOf(bucket, reason, began, { localPort, status, bytesReceived: head.length }))
        }
        const onEnd = (): void => fail(head === '' ? 'closed-before-response' : 'truncated', 'end of file')
        const onError = (error: NodeJS.ErrnoException): void => {
          const code = error.code ?? error.message
          fail(bucketOfRequestError(code, head !== ''), code)
        }
        const timer = setTimeout(
          () => fail('response-timeout', `no handshake within ${responseTimeoutMs} ms`),
          responseTimeoutMs,
        )
        succeed = (rest) => {
          clearTimeout(timer)
          socket.off('end', onEnd)
          socket.off('error', onError)
          connection = new WebSocketConnection(socket, outcomeOf('ok', null, began, { localPort, status: 101 }))
          if (rest.length > 0) connection.onBytes(rest)
          resolve(connection)
        }
        socket.on('end', onEnd)
        socket.on('error', onError)
        socket.write(getWebSocket(target, path, key).head)
      })
    })
  }

  private constructor(socket: Socket, opened: Outcome) {
    this.#socket = socket
    this.opened = opened
    this.#localPort = opened.localPort ?? 0
    this.over = new Promise((resolve) => {
      socket.once('close', () => {
        clearTimeout(this.#timer)
        resolve()
      })
    })
    socket.on('end', () => {
      this.#onEnd('end of file')
      socket.destroy()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onEnd(error.code ?? error.message))
  }

  /** Neither side has said that this is the end. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Sends a message that must come back, or a ping that must be answered. */
  exchange(kind: 'message' | 'ping', timeoutMs: number): Promise<Outcome> {
    return new Promise((settle) => {
      const payload = Buffer.from(`${this.#localPort} ${++this.#messages}`)
      const timer = setTimeout(
        () => this.#settle('response-timeout', `no answer within ${timeoutMs} ms`, true),
        timeoutMs,
      )
      this.#awaited = { opcode: kind === 'ping' ? PONG : TEXT, payload, began: monotonicMs(), timer, settle }
      this.#socket.write(clientFrame(kind === 'ping' ? PING : TEXT, payload))
    })
  }

  /** Closes as a good client does: close frame, the server's close frame, end of file. */
  async finish(): Promise<void> {
    if (this.#isOpen) {
      this.#isOpen = false
      const code = Buffer.alloc(2)
      code.writeUInt16BE(NORMAL)
      this.#socket.write(clientFrame(CLOSE, code))
      this.#expectEnd()
    }
    await this.over
  }

  /** From the socket. */
  onBytes(bytes: Buffer): void {
    for (const { opcode, isFinal, payload } of this.#reader.push(bytes)) {
      // What comes after the server's close frame has no meaning (RFC 6455 §1.4).
      if (!this.#isOpen) return
      const awaited = this.#awaited
      if (opcode === CLOSE) this.#onClose(payload)
      else if (opcode === PING) this.#socket.write(clientFrame(PONG, payload))
      else if (awaited !== null && isFinal && payload.equals(awaited.payload)) {
        if (opcode === awaited.opcode || (opcode === BINARY && awaited.opcode === TEXT)) this.#settle('ok', null, false)
      }
    }
    if (this.#reader.problem !== null && this.#isOpen) {
      this.#onEnd(this.#reader.problem)
      this.#socket.destroy()
    }
  }

  #onClose(payload: Buffer): void {
    const code = closeCode(payload)
    this.#isOpen = false
    this.endedPolitely = code === SERVICE_RESTART
    const why = `close code ${code}`
    if (this.#awaited !== null) this.#settle(this.endedPolitely ? 'retried' : 'closed-before-response', why, false)
    else if (!this.endedPolitely) this.uncleanEnd = why
    // No code may be said back that was not said (1005).
    this.#socket.write(clientFrame(CLOSE, Buffer.from(payload.subarray(0, 2))))
    this.#expectEnd()
  }

  /** The socket ends: right after the close frames, wrong before them. */
  #onEnd(reason: string): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (this.#awaited === null) this.uncleanEnd = `${reason}, without a close frame (1006)`
    else this.#settle(reason === 'ECONNRESET' ? 'reset-after-request' : 'closed-before-response', reason, false)
  }

  #expectEnd(): void {
    this.#timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS)
  }

  #settle(bucket: Outcome['bucket'], reason: string | null, destroys: boolean): void {
    const awaited = this.#awaited
    if (awaited === null) return
    this.#awaited = null
    clearTimeout(awaited.timer)
    if (destroys) {
      this.#isOpen = false
      this.#socket.destroy()
    }
    const known = { localPort: this.#localPort, nth: this.#messages, status: 101 }
    awaited.settle(outcomeOf(bucket, reason, awaited.began, known))
  }
}

/** What is wrong with the server's answer to a handshake. */
function problemOf(head: string, key: string): { readonly bucket: Outcome['bucket']; readonly reason: string } | null {
  const [first = '', ...lines] = head.split('\r\n')
  if (!/^HTTP\/1\.1 \d\d\d(?: |$)/.test(first))
    return { bucket: 'bad-body', reason: JSON.stringify(first.slice(0, 80)) }
  if (!first.startsWith('HTTP/1.1 101')) return { bucket: 'bad-status', reason: first }
  const accept = lines.find((line) => /^sec-websocket-accept:/i.test(line))
  const said = accept?.slice(accept.indexOf(':') + 1).trim()
  return said === acceptOf(key) ? null : { bucket: 'bad-body', reason: `Sec-WebSocket-Accept is ${said}` }
}
