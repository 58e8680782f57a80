import net from 'node:net'
import { native } from '../../native.js'
import type { Server } from '../../serving/handles.js'

/**
 * Stands for a program that accepts by itself: it has the socket and accepts nothing. What connections there are only the program knows, so it
 * counts as one, until it is closed.
 */
export class BareServer extends net.Server {
  constructor() {
    super()
    this.#count(1)
  }

  /** A copy of the socket, which is the caller's. */
  descriptor(): number {
    return native().dup((this as unknown as Server)._handle?.fd ?? -1)
  }

  /** By its program, which had it open still. */
  answered(): void {
    this.#count(0)
  }

  override close(done?: (error?: Error) => void): this {
    this.#count(0)
    return super.close(done)
  }

  #count(connections: number): void {
    Object.assign(this, { _connections: connections })
  }
}
