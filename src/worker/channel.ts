import { type Native, type Poller, READABLE, WRITABLE } from '../native.js'
import { MAX_MESSAGE_BYTES, type ToLauncher, type ToWorker } from '../protocol.js'
import { ReceivedFds } from './received-fds.js'

/**
 * sendMessage can refuse although the channel is writable: too many descriptors in flight (ETOOMANYREFS). Nothing tells when that ends,
 * so it is tried again after this time.
 */
const RETRY_MS = 20

export interface Incoming {
  /** Any `type` may come: a newer launcher knows orders that we do not. */
  readonly message: ToWorker | { readonly type: string; readonly seq?: number }
  readonly fds: ReceivedFds
}

/** A packet that is not a message: told to the other side, never guessed at. */
export interface Malformed {
  readonly malformed: string
  readonly seq: number | undefined
}

export interface ChannelEvents {
  readable(): void
  end(): void
}

/** This end of the SEQPACKET socket: one packet, one message; what the kernel does not take now waits in a queue. */
export class Channel {
  readonly #native: Native
  readonly #fd: number
  readonly #poller: Poller
  readonly #events: ChannelEvents
  readonly #unsent: { data: Buffer; fds: readonly number[] }[] = []
  #retry: NodeJS.Timeout | undefined
  #open = true

  private constructor(native: Native, fd: number, events: ChannelEvents) {
    this.#native = native
    this.#fd = fd
    this.#events = events
    this.#poller = new native.Poller(fd, (ready) => this.#onReady(ready))
  }

  /** Throws what connect(2) gives: ENOENT, ECONNREFUSED (no launcher), EAGAIN (its backlog is full), EACCES. */
  static connect(native: Native, path: string, events: ChannelEvents): Channel {
    const fd = native.socket('unix', 'seqpacket')
    try {
      native.connectUnix(fd, path)
      return new Channel(native, fd, events)
    } catch (error) {
      native.close(fd)
      throw error
    }
  }

  get isOpen(): boolean {
    return this.#open
  }

  /** Lets the event loop deliver: from now on `readable` and `end` are called. */
  start(): void {
    if (this.#open) this.#watch()
  }

  /** The descriptors stay the caller's. False: the channel has ended, or the message is too large for it. */
  send(message: ToLauncher, fds: readonly number[] = []): boolean {
    if (!this.#open) return false
    const data = Buffer.from(JSON.stringify(message))
    if (data.length > MAX_MESSAGE_BYTES) return false
    if (this.#unsent.length === 0 && this.#trySend(data, fds)) return true
    if (!this.#open) return false
    // The caller may close or swap its own before the queue moves.
    this.#unsent.push({ data, fds: fds.map((fd) => this.#native.dup(fd)) })
    this.#waitForRoom()
    return true
  }

  /** 'empty': nothing there now. 'end': the launcher is gone (the channel is closed then). */
  receive(): Incoming | Malformed | 'empty' | 'end' {
    if (!this.#open) return 'end'
    let packet: ReturnType<Native['receiveMessage']>
    try {
      packet = this.#native.receiveMessage(this.#fd, MAX_MESSAGE_BYTES)
    } catch {
      // ECONNRESET: the launcher was killed with messages of ours unread.
      packet = { data: Buffer.alloc(0), fds: [], truncated: false }
    }
    if (packet === null) return 'empty'
    if (packet.data.length === 0) {
      this.close()
      return 'end'
    }
    return this.#parse(packet)
  }

  /** Blocks this thread. False when nothing came in time. */
  waitReadable(timeoutMs: number): boolean {
    return this.#open && this.#native.pollSync(this.#fd, READABLE, timeoutMs) !== 0
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    clearTimeout(this.#retry)
    this.#poller.close()
    this.#native.close(this.#fd)
    for (const { fds } of this.#unsent.splice(0)) this.#closeAll(fds)
  }

  #parse(packet: { data: Buffer; fds: number[]; truncated: boolean }): Incoming | Malformed {
    const fds = new ReceivedFds(this.#native, packet.fds)
    const refuse = (malformed: string, seq?: unknown): Malformed => {
      fds.closeRest()
      return { malformed, seq: typeof seq === 'number' ? seq : undefined }
    }
    let message: unknown
    try {
      message = JSON.parse(packet.data.toString())
    } catch {
      return refuse('not JSON')
    }
    if (typeof message !== 'object' || message === null) return refuse('not an object')
    const { type, seq, fds: manifest = [] } = message as { type?: unknown; seq?: unknown; fds?: unknown }
    if (typeof type !== 'string') return refuse('no type', seq)
    if (packet.truncated) return refuse(`${type}: truncated`, seq)
    if (!Array.isArray(manifest) || manifest.length !== fds.count) {
      const named = Array.isArray(manifest) ? manifest.length : 'no'
      return refuse(`${type}: ${named} descriptors named, ${fds.count} attached`, seq)
    }
    return { message: message as Incoming['message'], fds }
  }

  #onReady(ready: number): void {
    if (ready & WRITABLE) this.#flush()
    // An error of the poll (negative) shows in receive().
    if (this.#open && (ready < 0 || ready & READABLE)) this.#events.readable()
  }

  #flush(): void {
    for (;;) {
      const next = this.#unsent[0]
      if (next === undefined) break
      if (!this.#trySend(next.data, next.fds)) break
      this.#unsent.shift()
      this.#closeAll(next.fds)
    }
    if (!this.#open) return
    if (this.#unsent.length > 0) this.#waitForRoom()
    else this.#watch()
  }

  #trySend(data: Buffer, fds: readonly number[]): boolean {
    try {
      return this.#native.sendMessage(this.#fd, data, fds)
    } catch {
      // EPIPE, ECONNRESET: the other end is closed. What it sent before is of no use without an answer.
      this.close()
      this.#events.end()
      return false
    }
  }

  #waitForRoom(): void {
    if (this.#native.pollSync(this.#fd, WRITABLE, 0) === 0) {
      this.#watch()
      return
    }
    this.#poller.start(READABLE)
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#flush(), RETRY_MS).unref()
  }

  #watch(): void {
    this.#poller.start(this.#unsent.length > 0 ? READABLE | WRITABLE : READABLE)
  }

  #closeAll(fds: readonly number[]): void {
    for (const fd of fds) this.#native.close(fd)
  }
}
