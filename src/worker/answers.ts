import { type ChannelListener, subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Http2Server, ServerHttp2Stream } from 'node:http2'
import type { Server, Socket } from 'node:net'
import { type Answered, bucketOfTime } from '../protocol.js'

/** Node's own notices of every HTTP/1 request that has come and every response that is out; they cost nothing while nobody listens. */
const STARTED = 'http.server.request.start'
const FINISHED = 'http.server.response.finish'

/**
 * Counts the connections and HTTP answers of some servers to the public, and says so again and again if it is asked to. Those of health checks are known by
 * their port, which is not the server's, and count neither way. Nothing of it is left when it has stopped.
 */
export class Answers {
  /** Each with the port that its clients come in by; undefined: a unix path. */
  readonly #servers: ReadonlyMap<object, number | undefined>
  readonly #http2: readonly Http2Server[]
  readonly #timer: NodeJS.Timeout | undefined
  /** When the request of a response came. */
  readonly #began = new WeakMap<object, number>()
  readonly #times: number[] = []
  #connections = 0
  #ms = 0
  #responses = 0
  #errors = 0
  #said = 0

  constructor(servers: readonly Server[], everyMs: number = 0, say?: (answered: Answered) => void) {
    this.#servers = new Map(servers.map((server) => [server, portOf(server)]))
    this.#http2 = servers.filter(isHttp2)
    subscribe(STARTED, this.#started)
    subscribe(FINISHED, this.#finished)
    for (const server of this.#http2) server.on('stream', this.#streamed)
    for (const server of servers) server.on('connection', this.#connected)
    if (say === undefined) return
    this.#timer = setInterval(() => {
      const now = this.#connections + this.#responses
      if (this.#said === now) return
      this.#said = now
      say(this.counts)
    }, everyMs)
    this.#timer.unref()
  }

  get counts(): Answered {
    // Of buckets that nothing has fallen into yet there are holes.
    const times = Array.from(this.#times, (count = 0) => count)
    return { connections: this.#connections, responses: this.#responses, errors: this.#errors, times }
  }

  /** How long all answers took together. */
  get ms(): number {
    return this.#ms
  }

  stop(): void {
    clearInterval(this.#timer)
    unsubscribe(STARTED, this.#started)
    unsubscribe(FINISHED, this.#finished)
    for (const server of this.#http2) server.off('stream', this.#streamed)
    for (const server of this.#servers.keys()) (server as Server).off('connection', this.#connected)
  }

  readonly #connected = (socket: Socket): void => {
    if (this.#isPublic(socket)) this.#connections += 1
  }

  readonly #started: ChannelListener = (message) => {
    const { server, response } = message as Exchange
    if (this.#servers.has(server)) this.#began.set(response, performance.now())
  }

  readonly #finished: ChannelListener = (message) => {
    const { server, socket, response } = message as Exchange
    if (!this.#servers.has(server) || this.#servers.get(server) !== socket.localPort) return
    this.#count(response.statusCode, this.#began.get(response))
  }

  readonly #streamed = (stream: ServerHttp2Stream): void => {
    const { session } = stream
    // Of a session that has closed already nothing can be asked; its stream has no answer either.
    if (session === undefined || session.destroyed || !this.#isPublic(session.socket)) return
    const began = performance.now()
    stream.once('close', () => {
      const status = stream.sentHeaders?.[':status']
      if (status !== undefined) this.#count(Number(status), began)
    })
  }

  #isPublic({ localPort }: Pick<Socket, 'localPort'>): boolean {
    return [...this.#servers.values()].includes(localPort)
  }

  /** `began`: undefined if that was before anybody counted. */
  #count(status: number, began: number | undefined): void {
    this.#responses += 1
    if (status >= 500) this.#errors += 1
    if (began === undefined) return
    const ms = performance.now() - began
    this.#ms += ms
    const bucket = bucketOfTime(ms)
    this.#times[bucket] = (this.#times[bucket] ?? 0) + 1
  }
}

interface Exchange {
  readonly server: object
  readonly socket: Socket
  readonly response: { readonly statusCode: number }
}

function portOf(server: Server): number | undefined {
  const address = server.address()
  return typeof address === 'object' ? address?.port : undefined
}

function isHttp2(server: object): server is Http2Server {
  return typeof (server as { updateSettings?: unknown }).updateSettings === 'function'
}
