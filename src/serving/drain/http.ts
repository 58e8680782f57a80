import type { Server } from 'node:http'
import { type ConnectionsList, connectionsOf, idleOf, socketsOf } from '../migrate/idle.js'
import { Sender } from '../migrate/sender.js'
import { speaks } from '../speaks.js'
import { type HttpSocket, LastResponse } from './last-response.js'
import { closeUnlessUnread, Linger } from './linger.js'
import type { ServerDrain } from './server-drain.js'

/** HTTP/1 connections, with or without TLS. Never by server.close(): it cuts idle ones at once and stops the header timeouts. */
export class HttpDrain implements ServerDrain {
  readonly kind: 'http' | 'https'
  readonly #server: Server
  readonly #list: ConnectionsList
  readonly #linger: Linger
  readonly #lastResponse: LastResponse
  /** Connections moved at the last look. When that changes, so does what clients are told. */
  #hadLane = false
  #hurries = false

  private constructor(server: Server, list: ConnectionsList) {
    this.#server = server
    this.kind = speaks(server) === 'http' ? 'http' : 'https'
    this.#list = list
    this.#linger = new Linger(server)
    this.#lastResponse = new LastResponse(server, (socket) => !this.#hurries && (this.#sender?.moves(socket) ?? false))
  }

  static of(server: object): HttpDrain | undefined {
    const list = connectionsOf(server)
    return list && new HttpDrain(server as Server, list)
  }

  begin(): void {
    this.#lastResponse.begin(socketsOf(this.#list.all()))
    this.sweep(performance.now())
  }

  sweep(now: number): number {
    const hasLane = this.#sender?.isOpen ?? false
    if (hasLane !== this.#hadLane) this.#lastResponse.tell(socketsOf(this.#list.all()))
    this.#hadLane = hasLane
    this.#sender?.sweep()
    const staying = idleOf(this.#list, (socket) => this.#isOurs(socket) && !this.#sender?.moves(socket))
    return this.#linger.sweep(new Set(staying), now)
  }

  /** What has never been idle long enough to move is told to close. What becomes idle still moves. */
  hurry(): void {
    if (this.#hurries) return
    this.#hurries = true
    this.#lastResponse.hurry(socketsOf(this.#list.all()))
  }

  closeIdle(): number {
    this.#sender?.end()
    return closeUnlessUnread(idleOf(this.#list, (socket) => this.#isOurs(socket)))
  }

  end(): void {
    this.#sender?.end()
    this.#lastResponse.end()
    this.#linger.clear()
  }

  #isOurs(socket: HttpSocket): boolean {
    return !(this.#sender?.hasLeft(socket) ?? false)
  }

  /** A lane may come later than the drain, and after another one. */
  get #sender(): Sender | undefined {
    return Sender.of(this.#server)
  }
}
