import { type ChannelListener, subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Http2Server, ServerHttp2Stream } from 'node:http2'
import type { Server, Socket } from 'node:net'

/** Node's own notice of every HTTP/1 response that is out; costs nothing while nobody listens. */
const FINISHED = 'http.server.response.finish'

/**
 * Counts the HTTP answers of some servers to the public, and says so again and again. Those to health checks are known by their port, which
 * is not the server's, and count neither way. Nothing of it is left when it has stopped.
 */
export class Answers {
  /** Each with the port that its clients come in by; undefined: a unix path. */
  readonly #servers: ReadonlyMap<object, number | undefined>
  readonly #http2: readonly Http2Server[]
  readonly #timer: NodeJS.Timeout
  #responses = 0
  #errors = 0
  #said = 0

  constructor(servers: readonly Server[], everyMs: number, say: (responses: number, errors: number) => void) {
    this.#servers = new Map(servers.map((server) => [server, portOf(server)]))
    this.#http2 = servers.filter(isHttp2)
    subscribe(FINISHED, this.#finished)
    for (const server of this.#http2) server.on('stream', this.#streamed)
    this.#timer = setInterval(() => {
      if (this.#said === this.#responses) return
      this.#said = this.#responses
      say(this.#responses, this.#errors)
    }, everyMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    unsubscribe(FINISHED, this.#finished)
    for (const server of this.#http2) server.off('stream', this.#streamed)
  }

  readonly #finished: ChannelListener = (message) => {
    const { server, socket, response } = message as Finished
    if (this.#servers.has(server) && this.#servers.get(server) === socket.localPort) this.#count(response.statusCode)
  }

  readonly #streamed = (stream: ServerHttp2Stream): void => {
    const { session } = stream
    // Of a session that has closed already nothing can be asked; its stream has no answer either.
    if (session === undefined || session.destroyed || !this.#isPublic(session.socket)) return
    stream.once('close', () => {
      const status = stream.sentHeaders?.[':status']
      if (status !== undefined) this.#count(Number(status))
    })
  }

  #isPublic({ localPort }: Pick<Socket, 'localPort'>): boolean {
    return [...this.#servers.values()].includes(localPort)
  }

  #count(status: number): void {
    this.#responses += 1
    if (status >= 500) this.#errors += 1
  }
}

interface Finished {
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
