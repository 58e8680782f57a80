import { type Native, READABLE } from './native.js'

/** Nothing tells when the manager has read some of its queue (unix(7): net.unix.max_dgram_qlen, 10 by default), so it is tried again. */
const RETRY_MS = 5
/** A manager that has not read for so many messages reads none any more. */
const MOST_UNSENT = 10_000

/** The socket of the service manager that started this process ($NOTIFY_SOCKET, sd_notify(3)): one datagram, one message, in order. */
export class ServiceSocket {
  readonly #native: Native
  readonly #address: string
  readonly #fd: number
  /** Descriptors in it are copies of ours, closed once sent. */
  readonly #unsent: { data: Buffer; fds: readonly number[] }[] = []
  #retry: NodeJS.Timeout | undefined

  /** `address`: a path, or with '@' first a name in the abstract namespace. */
  constructor(native: Native, address: string) {
    this.#native = native
    this.#address = address
    this.#fd = native.socket('unix', 'datagram')
  }

  /** `lines`: assignments. The descriptors stay the caller's. Whether anybody hears it does not matter (sd_notify(3): to be ignored). */
  send(lines: readonly string[], fds: readonly number[] = []): void {
    const data = Buffer.from(lines.join('\n'))
    if (this.#unsent.length === 0 && this.#trySend(data, fds)) return
    if (this.#unsent.length >= MOST_UNSENT) return
    this.#unsent.push({ data, fds: fds.map((fd) => this.#native.dup(fd)) })
    this.#retry ??= setTimeout(() => this.#flush(), RETRY_MS)
  }

  get isSending(): boolean {
    return this.#unsent.length > 0
  }

  /** Whether the manager has done all that was sent before, within this time (BARRIER=1: it closes the descriptor then). */
  barrier(timeoutMs: number): Promise<boolean> {
    const [reader, writer] = this.#native.pipe(true)
    this.send(['BARRIER=1'], [writer])
    this.#native.close(writer)
    return new Promise((done) => {
      const end = (isDone: boolean): void => {
        clearTimeout(late)
        poller.close()
        this.#native.close(reader)
        done(isDone)
      }
      const poller = new this.#native.Poller(reader, () => end(true))
      const late = setTimeout(() => end(false), timeoutMs).unref()
      poller.start(READABLE)
    })
  }

  /** What the manager has not taken by now is for nobody. */
  close(): void {
    clearTimeout(this.#retry)
    for (const { fds } of this.#unsent.splice(0)) this.#native.closeAll(fds)
    this.#native.close(this.#fd)
  }

  #flush(): void {
    this.#retry = undefined
    for (let next = this.#unsent[0]; next !== undefined; next = this.#unsent[0]) {
      if (!this.#trySend(next.data, next.fds)) {
        this.#retry = setTimeout(() => this.#flush(), RETRY_MS)
        return
      }
      this.#unsent.shift()
      this.#native.closeAll(next.fds)
    }
  }

  /** False: later. */
  #trySend(data: Buffer, fds: readonly number[]): boolean {
    try {
      return this.#native.sendDatagram(this.#fd, this.#address, data, fds)
    } catch {
      return true // Nobody is there.
    }
  }
}
