import { readSync, writeSync } from 'node:fs'
import { type Native, type Poller, READABLE } from '../native.js'
import type { OutputStream } from '../protocol.js'

/** How often it is looked whether a stream has written what it had queued; only while a change waits for it. */
const LOOK_MS = 10
/** Whoever reads copies the pipe on all the time; a queue that does not move for so long means that nobody can. */
const FLUSH_MS = 2_000
const CHUNK_BYTES = 65_536
/** Copied without a pause: more than a pipe holds. */
const MOST_CHUNKS = 16

const TARGETS: Readonly<Record<OutputStream, 1 | 2>> = { stdout: 1, stderr: 2 }

/**
 * Where this process's fd 1 and fd 2 lead, as far as they are pipes to the launcher. The read ends are open here, too: without them a write
 * would be EPIPE once the launcher is dead, and a full pipe would stand the program still.
 */
export class Output {
  readonly #native: Native
  /** `real`: what the fd is to be when nobody reads the pipe any more. */
  readonly #piped = new Map<OutputStream, { readonly reader: number; readonly real: number }>()
  /** One change at a time. */
  #last: Promise<void> = Promise.resolve()

  constructor(native: Native) {
    this.#native = native
  }

  /** It is a pipe already. Takes the descriptors. */
  isPiped(stream: OutputStream, reader: number, real: number): void {
    this.#forget(stream)
    this.#piped.set(stream, { reader, real })
  }

  /** From now on it is `fd` (taken). Rejects with EBUSY. */
  become(stream: OutputStream, fd: number): Promise<void> {
    return this.#next(async () => {
      await this.#replace(stream, fd, FLUSH_MS)
      this.#forget(stream)
    })
  }

  /** From now on it is a pipe to the launcher. Takes the descriptors. Rejects with EBUSY. */
  pipe(
    stream: OutputStream,
    { writer, reader, real }: { writer: number; reader: number; real: number },
  ): Promise<void> {
    return this.#next(async () => {
      try {
        await this.#replace(stream, writer, FLUSH_MS)
      } catch (error) {
        for (const fd of [reader, real]) this.#native.close(fd)
        throw error
      }
      this.isPiped(stream, reader, real)
    })
  }

  /** Nobody reads the pipes any more, and they would be full some day. What is in them is for whom the launcher wrote. */
  leave(): void {
    for (const [stream, { reader, real }] of this.#piped) {
      this.#piped.delete(stream)
      const target = TARGETS[stream]
      let now = real
      // Also of who has inherited the other end; until nobody has it any more.
      const relay = new Relay(this.#native, reader, () => now)
      // At once: the next line must find room.
      relay.copy()
      void this.#next(async () => {
        // What is queued goes into the pipe first, and out of it. There is nobody to hear that it takes long.
        await this.#replace(stream, real, Number.POSITIVE_INFINITY, () => relay.copy())
        now = target
      })
    }
  }

  #next(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change)
    this.#last = done.catch(() => {})
    return done
  }

  #forget(stream: OutputStream): void {
    for (const fd of Object.values(this.#piped.get(stream) ?? {})) this.#native.close(fd)
    this.#piped.delete(stream)
  }

  /**
   * A stream that exists goes on with its number, whatever is behind it: libuv writes at once and asks the loop only when the kernel says
   * EAGAIN. But a write that already waits in the loop would wait for ever: epoll forgets a descriptor that dup2 replaces, and libuv does
   * not know. So the queue has to be empty; if it does not get empty nothing is changed.
   */
  async #replace(stream: OutputStream, fd: number, patienceMs: number, before: () => void = () => {}): Promise<void> {
    const target = TARGETS[stream]
    try {
      const deadline = performance.now() + patienceMs
      for (before(); isWriting(target); before()) {
        if (performance.now() > deadline)
          throw Object.assign(new Error(`fd ${target} has unwritten output`), { code: 'EBUSY' })
        await new Promise((done) => setTimeout(done, LOOK_MS).unref())
      }
      before()
      this.#native.dup2(fd, target)
    } finally {
      this.#native.close(fd)
    }
  }
}

/** Copies what comes out of a pipe, to its end. */
class Relay {
  readonly #native: Native
  readonly #reader: number
  readonly #to: () => number
  #poller: Poller | null

  constructor(native: Native, reader: number, to: () => number) {
    this.#native = native
    this.#reader = reader
    this.#to = to
    this.#poller = new native.Poller(reader, () => this.copy())
    this.#poller.start(READABLE)
  }

  /** What is there. */
  copy(): void {
    if (this.#poller === null) return
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    for (let read = 0; read < MOST_CHUNKS; read++) {
      let length = 0
      try {
        length = readSync(this.#reader, chunk)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return
      }
      if (length === 0) return this.#close()
      try {
        writeSync(this.#to(), chunk, 0, length)
      } catch {
        // Nobody reads that either.
      }
    }
  }

  #close(): void {
    this.#poller?.close()
    this.#poller = null
    this.#native.close(this.#reader)
  }
}

/** A write request of a stream on this fd waits in this thread's loop. The stream is not asked: that would create it. */
function isWriting(target: 1 | 2): boolean {
  const { _getActiveRequests } = process as unknown as { _getActiveRequests?(): { handle?: { fd?: number } }[] }
  return _getActiveRequests?.().some((request) => request.handle?.fd === target) ?? false
}
