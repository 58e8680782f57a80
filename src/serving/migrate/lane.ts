import { type Fds, type Native, type Poller, READABLE } from '../../native.js'
import { type LaneAnswer, type LaneBatch, MAX_MESSAGE_BYTES } from '../../protocol.js'

export interface LanePacket {
  readonly message: unknown
  readonly fds: Fds
  /** Descriptors were lost on the way: this process may have no more. */
  readonly truncated: boolean
}

/** This worker's end of a lane. What the kernel does not take now is not sent: each side knows at once where it stands. */
export class Lane {
  readonly #native: Native
  readonly #fd: number
  readonly #poller: Poller
  #isOpen = true

  /** Owns `fd` from now on. `readable` is called when there is something to receive: a packet, or the end. */
  constructor(native: Native, fd: number, readable: () => void) {
    this.#native = native
    this.#fd = fd
    this.#poller = new native.Poller(fd, readable)
    this.#poller.start(READABLE)
  }

  /** False: nothing was sent. The descriptors stay the caller's. */
  send(message: LaneBatch | LaneAnswer, fds: Fds = []): boolean {
    try {
      return this.#isOpen && this.#native.sendMessage(this.#fd, Buffer.from(JSON.stringify(message)), fds)
    } catch {
      return false // The other end is closed, or receives no more: the end is told to who reads.
    }
  }

  /** The descriptors are the caller's. */
  receive(): LanePacket | 'empty' | 'end' {
    if (!this.#isOpen) return 'end'
    try {
      const packet = this.#native.receiveMessage(this.#fd, MAX_MESSAGE_BYTES)
      if (packet === null) return 'empty'
      if (packet.data.length === 0) return 'end'
      return { message: parse(packet.data), fds: packet.fds, truncated: packet.truncated }
    } catch {
      return 'end'
    }
  }

  /** The other end can send no more; what it has sent can still be received. */
  stopReceiving(): void {
    if (this.#isOpen) this.#native.stopReceiving(this.#fd)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#poller.close()
    this.#native.close(this.#fd)
  }
}

/** undefined is no message of any kind. */
function parse(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString())
  } catch {
    return undefined
  }
}
