import { Socket } from 'node:net'
import type { Server } from '../handles.js'
import { lingerMs, type ServerDrain } from './server-drain.js'
import { hasUnread } from './unread.js'

/** Listing all handles of the loop costs in proportion to them; these connections are in no hurry. */
const LOOK_EVERY_MS = 500

/**
 * Connections of a TLS server that have not begun their handshake: Node lists them nowhere. Their client never spoke, they are closed
 * after the linger like an idle one.
 */
export class SilentDrain implements ServerDrain {
  readonly #server: Server
  readonly #lingerMs: number
  readonly #since = new Map<Socket, number>()
  #lookedAt = Number.NEGATIVE_INFINITY

  private constructor(server: Server) {
    this.#server = server
    this.#lingerMs = lingerMs(server as { keepAliveTimeout?: number })
  }

  /** Only TLS servers have tickets. */
  static of(server: Server): SilentDrain | undefined {
    const isTls = typeof (server as { setTicketKeys?: unknown }).setTicketKeys === 'function'
    return isTls ? new SilentDrain(server) : undefined
  }

  begin(): void {
    this.sweep(performance.now())
  }

  sweep(now: number): number {
    if (now - this.#lookedAt < LOOK_EVERY_MS || this.#server._connections === 0) return 0
    this.#lookedAt = now
    const silent = this.#silent()
    for (const socket of this.#since.keys()) if (!silent.has(socket)) this.#since.delete(socket)
    let closed = 0
    for (const socket of silent) {
      const since = this.#since.get(socket)
      if (since === undefined) this.#since.set(socket, now)
      else if (now - since >= this.#lingerMs && !hasUnread(socket)) {
        socket.destroy()
        closed++
      }
    }
    return closed
  }

  closeIdle(): number {
    const silent = [...this.#silent()].filter((socket) => !hasUnread(socket))
    for (const socket of silent) socket.destroy()
    return silent.length
  }

  end(): void {
    this.#since.clear()
  }

  #silent(): Set<Socket> {
    const { _getActiveHandles } = process as unknown as { _getActiveHandles?(): unknown[] }
    const handles = _getActiveHandles?.() ?? []
    return new Set(
      handles.filter(
        (one): one is Socket =>
          one instanceof Socket &&
          (one as Socket & { server?: unknown }).server === this.#server &&
          one.bytesRead === 0 &&
          !one.destroyed,
      ),
    )
  }
}
