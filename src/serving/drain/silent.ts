import { Socket } from 'node:net'
import type { Speaks } from '../../protocol.js'
import type { Server } from '../handles.js'
import { speaks } from '../speaks.js'
import { closeUnlessUnread, Linger } from './linger.js'
import type { ServerDrain } from './server-drain.js'

/** Listing all handles of the loop costs in proportion to them; these connections are in no hurry. */
const LOOK_EVERY_MS = 500

/**
 * Connections of a TLS server that have not begun their handshake: Node lists them nowhere. Their client never spoke, they are closed
 * after the linger like an idle one.
 */
export class SilentDrain implements ServerDrain {
  readonly kind: Speaks
  readonly #server: Server
  readonly #linger: Linger
  #lookedAt = Number.NEGATIVE_INFINITY

  private constructor(server: Server) {
    this.kind = speaks(server)
    this.#server = server
    this.#linger = new Linger(server as { keepAliveTimeout?: number })
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
    return this.#linger.sweep(this.#silent(), now)
  }

  closeIdle(): number {
    return closeUnlessUnread(this.#silent())
  }

  end(): void {
    this.#linger.clear()
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
