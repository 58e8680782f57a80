import type { Server } from 'node:http'
import { type HttpSocket, LastResponse } from './last-response.js'
import { closeUnlessUnread, Linger } from './linger.js'
import type { ServerDrain } from './server-drain.js'

/** Node's list of HTTP/1 connections of a server (`http.server.connections`, the same in 20, 22, 24 and 26): parsers with a socket. */
interface ConnectionsList {
  all(): { readonly socket?: HttpSocket }[]
  /** Those whose last message has come in completely; it may still be answered. */
  idle(): { readonly socket?: HttpSocket }[]
}

/** HTTP/1 connections, with or without TLS. Never by server.close(): it cuts idle ones at once and stops the header timeouts. */
export class HttpDrain implements ServerDrain {
  readonly #list: ConnectionsList
  readonly #linger: Linger
  readonly #lastResponse: LastResponse

  private constructor(server: Server, list: ConnectionsList) {
    this.#list = list
    this.#linger = new Linger(server)
    this.#lastResponse = new LastResponse(server)
  }

  static of(server: object): HttpDrain | undefined {
    for (const symbol of Object.getOwnPropertySymbols(server)) {
      if (symbol.description !== 'http.server.connections') continue
      const list = (server as Record<symbol, unknown>)[symbol] as ConnectionsList | undefined
      return list && new HttpDrain(server as Server, list)
    }
    return undefined
  }

  begin(): void {
    this.#lastResponse.begin(sockets(this.#list.all()))
    this.sweep(performance.now())
  }

  sweep(now: number): number {
    return this.#linger.sweep(this.#idle(), now)
  }

  closeIdle(): number {
    return closeUnlessUnread(this.#idle())
  }

  end(): void {
    this.#lastResponse.end()
    this.#linger.clear()
  }

  /** Between two messages with nothing left to write, or open without a first byte ("fresh", browsers do that): before Node 26 not in idle(). */
  #idle(): Set<HttpSocket> {
    const between = new Set(sockets(this.#list.idle()))
    return new Set(
      sockets(this.#list.all()).filter(
        (socket) =>
          !socket.destroyed &&
          !socket._httpMessage &&
          socket.writableLength === 0 &&
          (between.has(socket) || socket.bytesRead === 0),
      ),
    )
  }
}

function sockets(connections: { readonly socket?: HttpSocket }[]): HttpSocket[] {
  return connections.flatMap(({ socket }) => socket ?? [])
}
