import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { until } from '../until.js'

export interface RawResponse {
  readonly head: string
  readonly body: string
  /** It says `Connection: close`. */
  readonly isLast: boolean
}

/** One HTTP/1.1 connection that hides nothing: what it got, and whether and when it was closed. Never retries, never reconnects. */
export class RawConnection {
  readonly socket: Socket
  readonly responses: RawResponse[] = []
  closedAt: number | undefined
  /** The server has closed its side. */
  hasEnded = false
  error: string | undefined
  onResponse: ((response: RawResponse) => void) | undefined
  onClose: (() => void) | undefined
  /** What has come and is no whole response yet. */
  #text = ''
  /** Bytes that have come. */
  bytes = 0

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (data) => {
      this.bytes += data.length
      this.#text += data.toString('latin1')
      this.#parse()
    })
    socket.on('end', () => {
      this.hasEnded = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? error.message
    })
    socket.on('close', () => {
      this.closedAt = Date.now()
      this.onClose?.()
    })
  }

  /** To a port of 127.0.0.1, or to a path. */
  static async open(
    to: number | string,
    options: { tls?: boolean; allowHalfOpen?: boolean } = {},
  ): Promise<RawConnection> {
    const { tls, allowHalfOpen = false } = options
    const where = { ...(typeof to === 'number' ? { port: to, host: '127.0.0.1' } : { path: to }), allowHalfOpen }
    const socket = tls ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where)
    const connection = new RawConnection(socket)
    await new Promise<void>((done, fail) => {
      socket.once(tls ? 'secureConnect' : 'connect', () => done())
      socket.once('error', fail)
    })
    return connection
  }

  get text(): string {
    return this.#text
  }

  send(path = '/', headers: Record<string, string> = {}): void {
    this.write(requestText(path, headers))
  }

  write(text: string): void {
    this.socket.write(text)
  }

  async response(index: number): Promise<RawResponse> {
    return until(
      `response ${index} (closed: ${this.closedAt !== undefined}, ${this.error})`,
      () => this.responses[index],
    )
  }

  async ask(path = '/', headers: Record<string, string> = {}): Promise<RawResponse> {
    const index = this.responses.length
    this.send(path, headers)
    return this.response(index)
  }

  async closed(): Promise<number> {
    return until('close of the connection', () => this.closedAt)
  }

  #parse(): void {
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = this.#text.slice(0, end)
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
      const from = end + 4
      if (this.#text.length < from + length) return
      const response = { head, body: this.#text.slice(from, from + length), isLast: /^connection: close/im.test(head) }
      this.#text = this.#text.slice(from + length)
      this.responses.push(response)
      this.onResponse?.(response)
    }
  }
}

export function requestText(path = '/', headers: Record<string, string> = {}): string {
  const lines = Object.entries({ Host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}
