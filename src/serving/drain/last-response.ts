import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Pipelines } from './pipelines.js'

interface RequestStart {
  readonly request: IncomingMessage
  readonly response: Response
  readonly socket: HttpSocket
  readonly server: Server
}
interface ResponseFinish {
  readonly request: IncomingMessage
  readonly response: Response
  readonly socket: HttpSocket
  readonly server: Server
}

/** ServerResponse with what Node's http module keeps in it (the same in 20, 22, 24, 26). */
export interface Response extends ServerResponse {
  shouldKeepAlive: boolean
  /** The connection is closed after this response. */
  _last: boolean
  /** The head, once it is made: null before. */
  readonly _header: string | null
  /** Not for HEAD, 204 and 304. */
  readonly _hasBody: boolean
}
export interface HttpSocket extends Socket {
  /** The response that is being written now; others of the same connection (pipelining) wait behind it. */
  _httpMessage?: Response | null
  parser?: { readonly incoming: IncomingMessage | null; getCurrentBuffer?(): Buffer | undefined } | null
}

const REQUEST_START = 'http.server.request.start'
const RESPONSE_FINISH = 'http.server.response.finish'

/**
 * Makes the last response of each connection of a draining server say `Connection: close`, and Node close after it. With requests
 * in a pipeline it is the last one's that has to say it: Node drops everything behind a response that closes.
 */
export class LastResponse {
  readonly #server: Server
  readonly #stays: (socket: HttpSocket) => boolean
  /** The newest response of each connection. */
  readonly #newest = new WeakMap<Socket, Response>()
  readonly #pipelines = new Pipelines()
  #hurries = false
  /** Those that would not have said `close` by themselves. */
  readonly #wouldKeep = new WeakSet<Response>()

  /** `stays`: this connection is not to be closed, as it is asked at each of its requests. */
  constructor(server: Server, stays: (socket: HttpSocket) => boolean = () => false) {
    this.#server = server
    this.#stays = stays
  }

  begin(sockets: readonly HttpSocket[]): void {
    subscribe(REQUEST_START, this.#onRequest)
    subscribe(RESPONSE_FINISH, this.#onFinish)
    this.tell(sockets)
  }

  /** What is being answered now is answered with `close`, or not any more if the connection stays, where that can still be said. */
  tell(sockets: readonly HttpSocket[]): void {
    for (const socket of sockets) {
      if (this.#stays(socket)) this.#keepOpen(socket)
      else this.#closeAfterCurrent(socket)
    }
  }

  /** The next response of each connection is its last, whatever has come behind it: some clients always have a request on its way. */
  hurry(sockets: readonly HttpSocket[]): void {
    this.#hurries = true
    for (const socket of sockets) {
      const { _httpMessage: response } = socket
      if (response && !response.headersSent) this.#tellToClose(socket, response)
    }
  }

  end(): void {
    unsubscribe(REQUEST_START, this.#onRequest)
    unsubscribe(RESPONSE_FINISH, this.#onFinish)
  }

  readonly #onRequest = (message: unknown): void => {
    const { request, response, socket, server } = message as RequestStart
    if (server !== this.#server) return
    if (this.#stays(socket)) return
    const before = this.#newest.get(socket)
    // It has said `close`: nothing may follow it. Its client knows that this request was not answered (RFC 9112 §9.6).
    if (before?.headersSent && before._last) return
    if (this.#hurries) return this.#tellToClose(socket, response)
    if (before !== undefined) keepOpenAfter(before)
    if (!this.#pipelines.isLast(socket, request)) {
      this.#newest.delete(socket)
      return
    }
    this.#tellToClose(socket, response)
  }

  readonly #onFinish = (message: unknown): void => {
    const { request, response, socket, server } = message as ResponseFinish
    if (server !== this.#server) return
    // The next one in the pipeline gets the connection right after this message.
    if (!response._last) setImmediate(() => this.#closeAfterCurrent(socket))
    else if (!request.complete) closeAfterBody(request, response, socket)
  }

  #keepOpen(socket: HttpSocket): void {
    const told = this.#newest.get(socket)
    if (told === undefined || told.headersSent || !this.#wouldKeep.has(told)) return
    this.#newest.delete(socket)
    keepOpenAfter(told)
  }

  #closeAfterCurrent(socket: HttpSocket): void {
    const response = socket._httpMessage
    if (!response || response.headersSent || this.#stays(socket)) return
    const newestRequest = socket.parser?.incoming
    if (newestRequest && newestRequest !== response.req) return
    this.#tellToClose(socket, response)
  }

  #tellToClose(socket: Socket, response: Response): void {
    if (response.shouldKeepAlive) this.#wouldKeep.add(response)
    this.#newest.set(socket, response)
    closeAfter(response)
  }
}

function closeAfter(response: Response): void {
  response.shouldKeepAlive = false
  const { writeHead } = response
  // A `Connection: keep-alive` that the program sets itself would win over shouldKeepAlive. Every header goes through writeHead.
  response.writeHead = function (this: Response, ...args: unknown[]) {
    delete (this as Partial<Response>).writeHead
    if (isKeepAlive(this.getHeader('connection'))) this.setHeader('Connection', 'close')
    return (writeHead as (...args: unknown[]) => Response).apply(this, args.map(withoutKeepAlive))
  } as Response['writeHead']
}

/**
 * An upload that is answered before its end. Node would close with the rest of the body unread or on its way: the kernel answers that with
 * a reset, and the client may lose the response over it. So only the sending side is closed, and the body is read until it or the client
 * ends (RFC 9112 §9.6). Node's keepAliveTimeout ends a client that does neither.
 */
function closeAfterBody(request: IncomingMessage, response: Response, socket: HttpSocket): void {
  response._last = false
  request.once('end', () => socket.destroySoon())
  socket.end()
}

function keepOpenAfter(response: Response): void {
  delete (response as Partial<Response>).writeHead
  response.shouldKeepAlive = true
  response._last = false
}

/** The headers argument of writeHead: an object, a flat list of names and values, or a list of pairs. */
function withoutKeepAlive(headers: unknown): unknown {
  if (typeof headers !== 'object' || headers === null) return headers
  if (!Array.isArray(headers)) {
    return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, closed(name, value)]))
  }
  if (Array.isArray(headers[0])) return headers.map(([name, value]) => [name, closed(name, value)])
  return headers.map((value, index) => (index % 2 === 1 ? closed(headers[index - 1], value) : value))
}

function closed(name: unknown, value: unknown): unknown {
  return String(name).toLowerCase() === 'connection' && isKeepAlive(value) ? 'close' : value
}

function isKeepAlive(value: unknown): boolean {
  return typeof value === 'string' && /keep-alive/i.test(value)
}
