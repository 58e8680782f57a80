import { existsSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { isStaleSocket } from '../../bind.js'
import { ReuseportError } from '../../errors.js'
import { native } from '../../native.js'
import type { HttpAddress } from '../../options.js'
import { addressError } from '../address-error.js'
import { fdOf } from '../fd-of.js'
import { isMeant, isOfAnotherSite } from './host.js'
import { parseTarget } from './target.js'

/** What is answered at one path, to GET and HEAD. What it throws, or rejects with, is a 500. */
export interface Route {
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>
  /** Its answer has no end of its own: nobody waits for that. */
  readonly isStream?: true
}
export type Routes = Readonly<Record<string, Route>>

export interface SavedServer {
  readonly address: string
  readonly fd: number
  /** Connections that have said nothing yet. */
  readonly clients: readonly number[]
}

/** A request says all it has to say in its head; whoever takes longer to send it is not our client. */
const REQUEST_TIMEOUT_MS = 5_000
/** Nothing came or went for so long: whoever does not read is not waited for. */
const SILENCE_MS = 30_000
const MOST_CONNECTIONS = 64
const MOST_HEADER_BYTES = 8_192

/**
 * One HTTP server of the launcher, for whoever looks at it: it reads, and changes nothing. One request per connection. The process does not
 * stay for it.
 */
export class HttpServer {
  readonly #address: HttpAddress
  readonly #routes: Map<string, Route>
  readonly #server: Server
  /** Each with the timer that ends it if it does not ask. */
  readonly #connections = new Map<Socket, NodeJS.Timeout>()
  /** What is being answered, without the streams. */
  readonly #answering = new Set<ServerResponse>()

  constructor(address: HttpAddress) {
    this.#address = address
    this.#routes = new Map()
    this.#server = createServer(
      // Each connection has a timer of its own: Node's looks every so often whether there is one.
      {
        requestTimeout: 0,
        headersTimeout: 0,
        connectionsCheckingInterval: 2 ** 31 - 1,
        maxHeaderSize: MOST_HEADER_BYTES,
      },
      (request, response) => this.#answer(request, response),
    )
    this.#server.timeout = SILENCE_MS
    this.#server.maxConnections = MOST_CONNECTIONS
    this.#server.on('connection', (socket) => this.#follow(socket))
  }

  /** Two uses may share an address, not a path. */
  add(routes: Routes): void {
    for (const [path, route] of Object.entries(routes)) {
      if (this.#routes.has(path)) throw new Error(`two answers at ${path}`)
      this.#routes.set(path, route)
    }
  }

  /** `option`: by which the address was given. Throws ERR_ADDRESS_IN_USE, ERR_PERMISSION, ERR_ADDRESS. */
  open(option: string): Promise<void> {
    const address = this.#address
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => reject(dress(address, option, cause)))
      const opened = (): void => {
        this.#settled()
        resolve()
      }
      // Its owner's rights are there from the moment the path exists; of the others the umask decides. It is bound at once.
      const mask = process.umask()
      process.umask(mask & ~0o600)
      try {
        if (address.kind === 'unix') removeStale(address.path)
        this.#server.listen(
          address.kind === 'unix' ? address : { port: address.port, host: address.host ?? undefined },
          opened,
        )
      } catch (cause) {
        reject(dress(address, option, cause as NodeJS.ErrnoException))
      } finally {
        process.umask(mask)
      }
    })
  }

  /** For another image of this process. */
  save(): SavedServer {
    const silent = [...this.#connections.keys()].filter((socket) => socket.bytesRead === 0)
    return {
      address: nameOf(this.#address),
      fd: fdOf(this.#server) as number,
      clients: silent.flatMap((socket) => fdOf(socket) ?? []),
    }
  }

  resume({ fd, clients }: SavedServer): void {
    this.#server.listen({ fd }, () => this.#settled())
    for (const client of clients)
      this.#server.emit('connection', new Socket({ fd: client, readable: true, writable: true }))
  }

  /** Somebody would get half an answer, or none. */
  get isBusy(): boolean {
    return this.#answering.size > 0
  }

  close(): void {
    if (!this.#server.listening) return
    this.#server.close()
    for (const socket of this.#connections.keys()) socket.destroy()
    if (this.#address.kind === 'unix') removeQuietly(this.#address.path)
  }

  #settled(): void {
    this.#server.removeAllListeners('error')
    // Of one connection that could not be accepted; the next one may be.
    this.#server.on('error', () => {})
    this.#server.unref()
  }

  #follow(socket: Socket): void {
    const late = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT_MS).unref()
    this.#connections.set(socket, late)
    socket.unref()
    socket.once('close', () => {
      clearTimeout(late)
      this.#connections.delete(socket)
    })
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    clearTimeout(this.#connections.get(request.socket))
    request.resume()
    response.shouldKeepAlive = false
    response.setHeader('cache-control', 'no-store')
    response.setHeader('x-content-type-options', 'nosniff')
    response.setHeader('cross-origin-resource-policy', 'same-origin')
    const { method = '', headers, socket } = request
    const path = parseTarget(request.url)?.pathname ?? null
    const route = path === null ? undefined : this.#routes.get(path)
    if (!isMeant(headers.host, socket.localAddress))
      return refuse(response, 403, `nobody here is called ${headers.host}: ask for localhost, or by address`)
    if (isOfAnotherSite(headers)) return refuse(response, 403, 'this is not for other sites')
    if (path === null) return refuse(response, 400, 'no path')
    if (route === undefined)
      return refuse(response, 404, `there is nothing at ${path}, only at ${[...this.#routes.keys()].join(', ')}`)
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return refuse(response, 405, `${method} is not for here: this is for reading only`)
    }
    if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0')
      return refuse(response, 413, 'a request has no body here')
    if (route.isStream !== true) {
      this.#answering.add(response)
      response.once('close', () => this.#answering.delete(response))
    }
    void answerBy(route, request, response)
  }
}

async function answerBy({ answer }: Route, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await answer(request, response)
  } catch (error) {
    if (response.headersSent) response.destroy()
    else refuse(response, 500, (error as Error).message)
  }
}

function refuse(response: ServerResponse, status: number, text: string): void {
  send(response, { status, type: 'text/plain; charset=utf-8', body: `${text}\n` })
}

/** A whole answer. */
export function send(
  response: ServerResponse,
  { status = 200, type, body }: { status?: number; type: string; body: string | Buffer },
): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

/** "127.0.0.1:9090", "[::1]:9090", "*:9090", "unix:/run/status.sock". */
export function nameOf(address: HttpAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  const { host, port } = address
  return host === null ? `*:${port}` : host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function dress(address: HttpAddress, option: string, cause: NodeJS.ErrnoException): ReuseportError {
  const name = nameOf(address)
  if (address.kind === 'tcp') return addressError('tcp', name, address.port, cause, `give --${option} another port`)
  const isTaken = cause.code === 'EADDRINUSE'
  return new ReuseportError(
    isTaken ? 'ERR_ADDRESS_IN_USE' : 'ERR_ADDRESS',
    isTaken ? `${name} is in use` : `cannot listen on ${name}: ${cause.code ?? cause.message}`,
    {
      facts: { path: address.path },
      next: isTaken
        ? 'Another process listens there, or it is a file that is not a socket: move it away.'
        : `The directory must exist and let this user make files, for --${option}.`,
      cause,
    },
  )
}

/** What a launcher that was killed has left. */
function removeStale(path: string): void {
  if (existsSync(path) && isStaleSocket(native(), path)) unlinkSync(path)
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Somebody else has.
  }
}
