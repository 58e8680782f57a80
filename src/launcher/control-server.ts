import { createServer, type Server, type ServerResponse } from 'node:http'
import type { ReloadWait, Status, Verdict } from '../control-protocol.js'

/** What the control socket can ask of the launcher. Callers are named by number, so that the brain can hold them as plain data. */
export interface Orders {
  status(): Status
  reload(caller: number | null, wait: ReloadWait): void
  stop(caller: number): void
}

const WAITS: readonly string[] = ['admitted', 'baked', 'retired'] satisfies ReloadWait[]
/** A request says all it has to say in its first line; whoever takes longer to send it is not our client (reliability.md I-06). */
const REQUEST_TIMEOUT_MS = 5_000
const MOST_CONNECTIONS = 128

/** HTTP with JSON over a unix socket of mode 0600 in a directory of mode 0700: whoever can connect is the owner, or root. */
export class ControlServer {
  readonly #server: Server
  readonly #orders: Orders
  readonly #callers = new Map<number, ServerResponse>()
  #nextCaller = 1

  constructor(orders: Orders) {
    this.#orders = orders
    this.#server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, keepAlive: false },
      (request, response) => {
        request.resume()
        const url = new URL(request.url ?? '/', 'http://launcher')
        this.#route(request.method ?? '', url, response)
      },
    )
    this.#server.maxConnections = MOST_CONNECTIONS
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      // The mode is right from the moment the path exists.
      const mask = process.umask(0o177)
      this.#server.listen(path, () => {
        this.#server.off('error', reject)
        resolve()
      })
      process.umask(mask)
    })
  }

  verdict(callers: readonly number[], verdict: Verdict): void {
    for (const caller of callers) this.#answer(caller, verdict)
  }

  /** Answers whoever waits for the stop, and ends; resolves when the last byte is with the kernel. */
  async close(callers: readonly number[]): Promise<void> {
    await Promise.all(
      callers.map((caller) => {
        const response = this.#callers.get(caller)
        return response === undefined
          ? undefined
          : new Promise<void>((done) => {
              response.once('close', done)
              send(response, 200, { stopped: true })
            })
      }),
    )
    for (const response of this.#callers.values()) response.destroy()
    await new Promise<void>((done) => {
      this.#server.close(() => done())
      this.#server.closeAllConnections()
    })
  }

  #route(method: string, { pathname, searchParams }: URL, response: ServerResponse): void {
    const isKnown = pathname === '/status' || pathname === '/reload' || pathname === '/stop'
    if (!isKnown) return send(response, 404, { code: 'not-found', message: `no such path: ${pathname}` })
    if (method !== (pathname === '/status' ? 'GET' : 'POST'))
      return send(response, 405, { code: 'method', message: `${method} ${pathname}` })
    if (pathname === '/status') return send(response, 200, this.#orders.status())
    if (pathname === '/stop') return this.#orders.stop(this.#wait(response))
    const wait = searchParams.get('wait') ?? 'baked'
    if (wait === 'none') {
      this.#orders.reload(null, 'admitted')
      return send(response, 200, { queued: true })
    }
    if (!WAITS.includes(wait))
      return send(response, 400, { code: 'wait', message: `wait=${wait}; one of none, ${WAITS.join(', ')}` })
    this.#orders.reload(this.#wait(response), wait as ReloadWait)
  }

  #wait(response: ServerResponse): number {
    const caller = this.#nextCaller++
    this.#callers.set(caller, response)
    // Whoever goes away does not end what was asked for; there is just nobody to tell.
    response.once('close', () => this.#callers.delete(caller))
    return caller
  }

  #answer(caller: number, answer: unknown): void {
    const response = this.#callers.get(caller)
    if (response !== undefined) send(response, 200, answer)
  }
}

function send(response: ServerResponse, status: number, answer: unknown): void {
  const body = JSON.stringify(answer)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  })
  response.end(body)
}
