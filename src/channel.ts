import { MAX_FDS_PER_MESSAGE, type Native, type Poller, READABLE, WRITABLE } from './native.js'
import { MAX_MESSAGE_BYTES } from './protocol.js'

/**
 * sendMessage can refuse although the channel is writable: too many descriptors in flight (ETOOMANYREFS), no memory (ENOBUFS). Nothing
 * tells when that ends, so it is tried again after this time.
 */
const RETRY_MS = 20

/** What the kernel has not taken yet of what was said. */
export type Unsent = readonly { readonly text: string; readonly fds: readonly number[] }[]

export type Packet = NonNullable<ReturnType<Native['receiveMessage']>>

/** One end of the SEQPACKET socket between launcher and worker: one packet, one message; what the kernel does not take now waits. */
export class Channel {
  readonly #native: Native
  readonly #fd: number
  readonly #readable: () => void
  readonly #poller: Poller
  /** Descriptors in it are copies of ours, closed once sent. */
  readonly #unsent: { data: Buffer; fds: readonly number[] }[] = []
  #retry: NodeJS.Timeout | undefined
  #isOpen = true
  /** The other end is closed; what it sent before can still be read. */
  #isBroken = false

  /** Owns the descriptor from now on. `readable` is called when there is something to receive: a message, or the end. */
  constructor(native: Native, fd: number, readable: () => void) {
    this.#native = native
    this.#fd = fd
    this.#readable = readable
    this.#poller = new native.Poller(fd, (ready) => this.#onReady(ready))
  }

  /** Throws what connect(2) gives: ENOENT, ECONNREFUSED (no launcher), EAGAIN (its backlog is full), EACCES. */
  static connect(native: Native, path: string, readable: () => void): Channel {
    const fd = native.socket('unix', 'seqpacket')
    try {
      native.connectUnix(fd, path)
      return new Channel(native, fd, readable)
    } catch (error) {
      native.close(fd)
      throw error
    }
  }

  get fd(): number {
    return this.#fd
  }

  get unsent(): Unsent {
    return this.#unsent.map(({ data, fds }) => ({ text: data.toString('utf8'), fds }))
  }

  /** To be said before anything else; owns the descriptors. */
  resume(unsent: Unsent): void {
    for (const { text, fds } of unsent) this.#unsent.push({ data: Buffer.from(text), fds })
    this.#flush()
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Lets the event loop deliver: from now on `readable` is called. */
  start(): void {
    if (this.#isOpen) this.#watch()
  }

  /**
   * The descriptors stay the caller's. False: the other end is closed, or the message is larger than MAX_MESSAGE_BYTES. Throws RangeError
   * for more than MAX_FDS_PER_MESSAGE descriptors.
   */
  send(message: object, fds: readonly number[] = []): boolean {
    if (fds.length > MAX_FDS_PER_MESSAGE) throw new RangeError(`${fds.length} descriptors in one message`)
    if (!this.#isOpen || this.#isBroken) return false
    const data = Buffer.from(JSON.stringify(message))
    if (data.length > MAX_MESSAGE_BYTES) return false
    if (this.#unsent.length === 0 && this.#trySend(data, fds)) return true
    if (this.#isBroken) return false
    // The caller may close or swap its own before the queue moves.
    this.#unsent.push({ data, fds: fds.map((fd) => this.#native.dup(fd)) })
    this.#waitForRoom()
    return true
  }

  /** 'empty': nothing there now. 'end': the other side is gone (the channel is closed then). The descriptors are the caller's. */
  receive(): Packet | 'empty' | 'end' {
    if (!this.#isOpen) return 'end'
    const packet = this.#native.receiveMessage(this.#fd, MAX_MESSAGE_BYTES)
    if (packet === null) return 'empty'
    if (packet.data.length > 0) return packet
    this.close()
    return 'end'
  }

  /** Blocks this thread. False when nothing came in time. */
  waitReadable(timeoutMs: number): boolean {
    return this.#isOpen && this.#native.pollSync(this.#fd, READABLE, timeoutMs) !== 0
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#poller.close()
    this.#dropUnsent()
    this.#native.close(this.#fd)
  }

  #onReady(ready: number): void {
    if (ready & WRITABLE) this.#flush()
    // An error of the poll (negative) shows in receive().
    if (this.#isOpen && (ready < 0 || ready & READABLE)) this.#readable()
  }

  #flush(): void {
    for (let next = this.#unsent[0]; next !== undefined; next = this.#unsent[0]) {
      if (!this.#trySend(next.data, next.fds)) break
      this.#unsent.shift()
      this.#native.closeAll(next.fds)
    }
    if (this.#unsent.length > 0) this.#waitForRoom()
    else this.#watch()
  }

  /** EPIPE, ECONNRESET: the other end is closed. The end is told to who reads, after what came before it. */
  #trySend(data: Buffer, fds: readonly number[]): boolean {
    try {
      return this.#native.sendMessage(this.#fd, data, fds)
    } catch {
      this.#isBroken = true
      this.#dropUnsent()
      return false
    }
  }

  #waitForRoom(): void {
    if (this.#native.pollSync(this.#fd, WRITABLE, 0) === 0) return this.#watch()
    this.#poller.start(READABLE)
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#flush(), RETRY_MS).unref()
  }

  #watch(): void {
    this.#poller.start(this.#unsent.length > 0 ? READABLE | WRITABLE : READABLE)
  }

  #dropUnsent(): void {
    clearTimeout(this.#retry)
    for (const { fds } of this.#unsent.splice(0)) this.#native.closeAll(fds)
  }
}
