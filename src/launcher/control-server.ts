import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type {
  CanaryPlan,
  Refusal,
  ReloadWait,
  ScaleVerdict,
  Status,
  UpgradeVerdict,
  Verdict,
} from '../control-protocol.js'
import type { EventStream } from './event-stream.js'
import { fdOf } from './fd-of.js'
import { parseTarget } from './http/target.js'
import { type Check, fieldsOf, isFd, isWhole, listOf, oneOf, orNull } from './shape.js'

/** What the control socket can ask of the launcher. Callers are named by number, so that the brain can hold them as plain data. */
export interface Orders {
  status(watchMs?: number): Promise<Status>
  /** Resolves when it is ordered; what could not be done has been answered by then. */
  reload(caller: number | null, wait: ReloadWait, canary?: CanaryPlan): Promise<void>
  promote(caller: number, wait: ReloadWait): void
  abort(caller: number): void
  /** `isRelative`: so many more, or fewer. */
  scale(caller: number, workers: number, isRelative: boolean): void
  upgrade(caller: number): void
  stop(caller: number): void
  readonly events: EventStream
}

export interface SavedControl {
  readonly fd: number
  readonly nextCaller: number
  /** 'answer': to what was ordered as `caller`. 'request': has said nothing yet. */
  readonly clients: readonly {
    readonly fd: number
    readonly waitsFor: 'answer' | 'status' | 'request'
    readonly caller: number | null
  }[]
}
export const SAVED_CONTROL: Check = fieldsOf({
  fd: isFd,
  nextCaller: isWhole,
  clients: listOf(fieldsOf({ fd: isFd, waitsFor: oneOf('answer', 'status', 'request'), caller: orNull(isWhole) })),
})

const PATHS: readonly string[] = ['/status', '/events', '/reload', '/promote', '/abort', '/scale', '/upgrade', '/stop']
const READING: readonly string[] = ['/status', '/events']
const WAITS: readonly string[] = ['admitted', 'baked', 'retired'] satisfies ReloadWait[]
/** A request says all it has to say in its first line; whoever takes longer to send it is not our client (reliability.md I-06). */
const REQUEST_TIMEOUT_MS = 5_000
const MOST_CONNECTIONS = 128
/** setTimeout's. */
const LONGEST_MS = 2 ** 31 - 1

/** HTTP with JSON over a unix socket of mode 0600 in a directory of mode 0700: whoever can connect is the owner, or root. */
export class ControlServer {
  readonly #server: Server
  readonly #orders: Orders
  readonly #callers = new Map<number, ServerResponse>()
  readonly #statuses = new Set<ServerResponse>()
  readonly #connections = new Set<Socket>()
  #nextCaller = 1

  constructor(orders: Orders) {
    this.#orders = orders
    this.#server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, keepAlive: false },
      (request, response) => {
        request.resume()
        const url = parseTarget(request.url)
        if (url === null) return send(response, 400, { code: 'url', message: 'no path of ours' })
        this.#route(request.method ?? '', url, response)
      },
    )
    this.#server.maxConnections = MOST_CONNECTIONS
    this.#server.on('connection', (socket) => this.#follow(socket))
  }

  #follow(socket: Socket): void {
    this.#connections.add(socket)
    socket.once('close', () => this.#connections.delete(socket))
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

  resume({ fd, nextCaller, clients }: SavedControl): void {
    this.#nextCaller = nextCaller
    this.#server.listen({ fd })
    for (const { fd, waitsFor, caller } of clients) {
      const socket = new Socket({ fd, readable: true, writable: true })
      if (waitsFor === 'request') {
        this.#server.emit('connection', socket)
        continue
      }
      this.#follow(socket)
      const response = responseTo(socket)
      if (caller === null) this.#answerStatus(response)
      else this.#keep(caller, response)
    }
  }

  /** An answer is on its way that the kernel has not taken whole. */
  get isSending(): boolean {
    return [...this.#connections].some(({ writableLength }) => writableLength > 0)
  }

  upgraded(callers: readonly number[], verdict: UpgradeVerdict): void {
    for (const caller of callers) this.#answer(caller, verdict)
  }

  verdict(callers: readonly number[], verdict: Verdict): void {
    for (const caller of callers) this.#answer(caller, verdict)
  }

  scaled(callers: readonly number[], verdict: ScaleVerdict): void {
    for (const caller of callers) this.#answer(caller, verdict)
  }

  refuse(caller: number, { code, reason, facts, next }: Refusal): void {
    const response = this.#callers.get(caller)
    if (response !== undefined) send(response, 409, { code: code ?? 'ERR_CANARY', message: reason, facts, next })
    this.#callers.delete(caller)
  }

  /** Takes no further connection. Its path is gone when this returns: it may be a successor's right after. */
  close(): void {
    this.#server.close()
  }

  /**
   * Answers whoever waits for the stop, and drops everybody else. These connections are not closed: they end with the process, so a
   * client that reads to the end knows that it has gone. Resolves when the last byte is with the kernel.
   */
  async sayGoodbye(callers: readonly number[]): Promise<void> {
    this.#orders.events.end()
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
      if (isQueued) this.#answer(caller, { queued: true })
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

  #answer(caller: number, answer: unknown): void {
    const response = this.#callers.get(caller)
    if (response !== undefined && !response.headersSent) send(response, 200, answer)
    this.#callers.delete(caller)
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
  response.end(body)
}
