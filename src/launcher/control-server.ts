import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { CanaryPlan, Refusal, ReloadWait } from '../control-protocol.js'
import { isTrusted } from '../file-rights.js'
import type { Log } from '../log.js'
import { native } from '../native.js'
import type { Orders, SavedControl } from './control.js'
import { fdOf } from './fd-of.js'
import { parseTarget } from './http/target.js'

const PATHS: readonly string[] = ['/status', '/events', '/reload', '/promote', '/abort', '/scale', '/upgrade', '/stop']
const READING: readonly string[] = ['/status', '/events']
const WAITS: readonly string[] = ['admitted', 'baked', 'retired'] satisfies ReloadWait[]
/** A request says all it has to say in its first line; whoever takes longer to send it is not our client (reliability.md I-06). */
const REQUEST_TIMEOUT_MS = 5_000
/** An answer that is there, and that nobody reads. */
const UNREAD_MS = 30_000
const MOST_CONNECTIONS = 128
/** Between two lines about clients that are not heard. */
const QUIET_MS = 1_000
/** setTimeout's. */
const LONGEST_MS = 2 ** 31 - 1

/** HTTP with JSON on the control socket. */
export class ControlServer {
  readonly #server: Server
  readonly #orders: Orders
  readonly #log: Log
  readonly #callers = new Map<number, ServerResponse>()
  readonly #statuses = new Set<ServerResponse>()
  readonly #connections = new Set<Socket>()
  /** Those that have not said yet what they want, the oldest first, each with what ends it. */
  readonly #silent = new Map<Socket, NodeJS.Timeout>()
  /** Clients that were refused since the last line about one; undefined: the next one is told at once. */
  #refused: number | undefined
  #nextCaller: number

  /** Owns its descriptor. `saved`: as it was in another image of this process, or as a new one is. */
  constructor(orders: Orders, log: Log, { fd, nextCaller, clients }: SavedControl) {
    this.#orders = orders
    this.#log = log
    this.#nextCaller = nextCaller
    this.#server = createServer(
      // Node would look for who is late every 30 s, whether anybody is there or not.
      { requestTimeout: 0, headersTimeout: 0, connectionsCheckingInterval: LONGEST_MS, keepAlive: false },
      (request, response) => {
        this.#hasAsked(request.socket)
        request.resume()
        const url = parseTarget(request.url)
        if (url === null) return send(response, 400, { code: 'url', message: 'no path of ours' })
        this.#route(request.method ?? '', url, response)
      },
    )
    this.#server.on('connection', (socket) => this.#follow(socket))
    this.#server.listen({ fd })
    for (const client of clients) this.#goOnWith(client)
  }

  #goOnWith({ fd, waitsFor, caller }: SavedControl['clients'][number]): void {
    const socket = new Socket({ fd, readable: true, writable: true })
    if (waitsFor === 'request') {
      this.#server.emit('connection', socket)
      return
    }
    this.#follow(socket)
    this.#hasAsked(socket)
    const response = responseTo(socket)
    if (caller === null) this.#answerStatus(response)
    else this.#keep(caller, response)
  }

  /** Nothing has been read of it yet. */
  #follow(socket: Socket): void {
    if (!this.#isHeard(socket) || !this.#hasRoom()) {
      socket.destroy()
      return
    }
    this.#connections.add(socket)
    this.#silent.set(socket, setTimeout(() => socket.destroy(), REQUEST_TIMEOUT_MS).unref())
    socket.once('close', () => this.#forget(socket))
  }

  /** The modes of the socket and of its directories keep others away; if somebody has opened them, the kernel still knows who it is. */
  #isHeard(socket: Socket): boolean {
    const fd = fdOf(socket)
    if (fd === undefined) return false
    const { pid, uid } = native().peerCredentials(fd)
    if (isTrusted(uid)) return true
    if (this.#refused === undefined) {
      this.#log('warn', 'control.refused', { pid, uid })
      setTimeout(() => this.#tellRefused(), QUIET_MS).unref()
    }
    this.#refused = (this.#refused ?? -1) + 1
    return false
  }

  #tellRefused(): void {
    if ((this.#refused as number) > 0) this.#log('warn', 'control.refused', { clients: this.#refused })
    this.#refused = undefined
  }

  /** Whoever asks is served before whoever only keeps a place: our own clients ask at once. */
  #hasRoom(): boolean {
    if (this.#connections.size < MOST_CONNECTIONS) return true
    const [oldest] = this.#silent.keys()
    if (oldest === undefined) return false
    this.#forget(oldest)
    oldest.destroy()
    return true
  }

  #hasAsked(socket: Socket): void {
    clearTimeout(this.#silent.get(socket))
    this.#silent.delete(socket)
  }

  #forget(socket: Socket): void {
    this.#hasAsked(socket)
    this.#connections.delete(socket)
  }

  /**
   * What another image of this process goes on with. A connection on which a request has come in part is not in it, as it could not be
   * read on: our own clients send theirs in one piece.
   */
  save(): SavedControl {
    const callers = new Map([...this.#callers].map(([caller, { socket }]) => [socket, caller]))
    const statuses = new Set([...this.#statuses].map(({ socket }) => socket))
    const clients = [...this.#connections].flatMap((socket): SavedControl['clients'][number][] => {
      const fd = fdOf(socket)
      if (fd === undefined) return []
      const caller = callers.get(socket) ?? null
      if (caller !== null) return [{ fd, waitsFor: 'answer', caller }]
      if (statuses.has(socket)) return [{ fd, waitsFor: 'status', caller }]
      return socket.bytesRead === 0 ? [{ fd, waitsFor: 'request', caller }] : []
    })
    return { fd: fdOf(this.#server) as number, nextCaller: this.#nextCaller, clients }
  }

  /** An answer is on its way that the kernel has not taken whole. */
  get isSending(): boolean {
    return [...this.#connections].some(({ writableLength }) => writableLength > 0)
  }

  answer(caller: number, answer: unknown): void {
    const response = this.#callers.get(caller)
    if (response !== undefined && !response.headersSent) send(response, 200, answer)
    this.#callers.delete(caller)
  }

  refuse(caller: number, { code, reason, facts, next }: Refusal): void {
    const response = this.#callers.get(caller)
    if (response !== undefined) send(response, 409, { code: code ?? 'ERR_CANARY', message: reason, facts, next })
    this.#callers.delete(caller)
  }

  close(): void {
    this.#server.close()
  }

  async sayGoodbye(callers: readonly number[]): Promise<void> {
    const waiting = callers.flatMap((caller) => this.#callers.get(caller) ?? [])
    const kept = new Set(waiting.map(({ socket }) => socket))
    for (const connection of this.#connections) if (!kept.has(connection)) connection.destroy()
    await Promise.all(
      waiting.map(
        (response) =>
          new Promise<void>((done) => {
            response.once('close', done)
            // No length and no chunks: the answer is as long as the connection.
            response.useChunkedEncodingByDefault = false
            response.writeHead(200, { 'content-type': 'application/json', connection: 'close' })
            response.write(JSON.stringify({ stopped: true }), () => done())
            response.socket?.unref()
          }),
      ),
    )
  }

  #route(method: string, { pathname, searchParams }: URL, response: ServerResponse): void {
    if (!PATHS.includes(pathname))
      return send(response, 404, { code: 'not-found', message: `no such path: ${pathname}` })
    if (method !== (READING.includes(pathname) ? 'GET' : 'POST'))
      return send(response, 405, { code: 'method', message: `${method} ${pathname}` })
    if (pathname === '/status') return this.#status(searchParams, response)
    if (pathname === '/events') {
      if (this.#orders.events.add(response)) return
      return send(response, 503, { code: 'events', message: 'too many read the events already' })
    }
    if (pathname === '/upgrade') return this.#orders.upgrade(this.#wait(response))
    if (pathname === '/stop') return this.#orders.stop(this.#wait(response))
    if (pathname === '/scale') return this.#scale(searchParams, response)
    if (pathname === '/abort') return this.#orders.abort(this.#wait(response))
    this.#reload(pathname, searchParams, response)
  }

  #status(params: URLSearchParams, response: ServerResponse): void {
    const watch = params.get('watch') ?? undefined
    if (watch !== undefined && !(/^\d{1,5}$/.test(watch) && Number(watch) > 0))
      return send(response, 400, { code: 'watch', message: 'watch=5000: milliseconds, at most 99999' })
    this.#answerStatus(response, watch === undefined ? undefined : Number(watch))
  }

  #answerStatus(response: ServerResponse, watchMs?: number): void {
    this.#statuses.add(response)
    response.once('close', () => this.#statuses.delete(response))
    this.#orders
      .status(watchMs)
      .then(
        (status) => send(response, 200, status),
        // No descriptor is left to look around with (EMFILE), mostly.
        (error: Error) => send(response, 500, { code: 'status', message: error.message }),
      )
      .finally(() => this.#statuses.delete(response))
  }

  #reload(pathname: string, params: URLSearchParams, response: ServerResponse): void {
    const wait = params.get('wait') ?? 'baked'
    const isQueued = wait === 'none' && pathname === '/reload'
    if (!isQueued && !WAITS.includes(wait))
      return send(response, 400, { code: 'wait', message: `wait=${wait}; one of none, ${WAITS.join(', ')}` })
    if (pathname === '/promote') return this.#orders.promote(this.#wait(response), wait as ReloadWait)
    const canary = params.has('canary') ? parseCanary(params) : undefined
    if (canary === null)
      return send(response, 400, {
        code: 'canary',
        message: 'canary=0.1&for=120000, by=client, max5xx=0.01, maxLatency=2',
      })
    const caller = this.#wait(response)
    void this.#orders.reload(caller, isQueued ? 'admitted' : (wait as ReloadWait), canary).then(() => {
      if (isQueued) this.answer(caller, { queued: true })
    })
  }

  #scale(params: URLSearchParams, response: ServerResponse): void {
    const [[key, value] = [], ...more] = [...params]
    const isRelative = key === 'by'
    // Too many are the brain's to refuse, in words.
    const pattern = isRelative ? /^-?\d{1,9}$/ : /^\d{1,9}$/
    if ((key !== 'to' && !isRelative) || value === undefined || more.length > 0 || !pattern.test(value))
      return send(response, 400, { code: 'scale', message: 'to=4, by=1 or by=-1' })
    this.#orders.scale(this.#wait(response), Number(value), isRelative)
  }

  #wait(response: ServerResponse): number {
    return this.#keep(this.#nextCaller++, response)
  }

  #keep(caller: number, response: ServerResponse): number {
    this.#callers.set(caller, response)
    // Whoever goes away does not end what was asked for; there is just nobody to tell.
    response.once('close', () => this.#callers.delete(caller))
    return caller
  }
}

/** The answer to a request that another image of this process has read. */
function responseTo(socket: Socket): ServerResponse {
  const request = { method: 'POST', httpVersionMajor: 1, httpVersionMinor: 1, headers: {} }
  const response = new ServerResponse(request as unknown as IncomingMessage)
  response.assignSocket(socket)
  response.once('finish', () => socket.destroySoon())
  socket.on('error', () => {})
  // To see its end.
  socket.resume()
  return response
}

/** null: it cannot be meant. */
function parseCanary(params: URLSearchParams): CanaryPlan | null {
  const number = (key: string): number | null => (params.has(key) ? Number(params.get(key) || Number.NaN) : null)
  const [share, forMs, max5xx, maxLatency] = ['canary', 'for', 'max5xx', 'maxLatency'].map(number)
  const by = params.get('by') ?? 'random'
  const isIn = (value: number | null | undefined, least: number, most: number): value is number =>
    value != null && value >= least && value <= most
  if (!isIn(share, 0.0001, 0.9999) || !isIn(forMs, 1, LONGEST_MS) || (by !== 'random' && by !== 'client')) return null
  if ((max5xx !== null && !isIn(max5xx, 0, 1)) || (maxLatency !== null && !isIn(maxLatency, 1, 1_000))) return null
  return { share, by, forMs, max5xx, maxLatency }
}

function send(response: ServerResponse, status: number, answer: unknown): void {
  const body = JSON.stringify(answer)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  })
  const { socket } = response
  socket?.setTimeout(UNREAD_MS, () => socket.destroy())
  response.end(body)
}
