import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { native, type Poller, WRITABLE } from '../native.js'

/** What waits for a reader that does not read: beyond it the oldest lines are dropped, and counted (reliability.md L-01). */
const MOST_BYTES = 1_048_576
/** Until the next try, doubled up to the latter, where the kernel does not tell when somebody reads. */
const FIRST_RETRY_MS = 10
const LAST_RETRY_MS = 200
/** For what waits at the end of the launcher. */
const LAST_WORDS_MS = 500

/** There may be room again some day, and somebody who wants to know what is missing. */
const DISK: readonly (string | undefined)[] = ['ENOSPC', 'EDQUOT', 'EFBIG']

/**
 * Our stdout or stderr, without ever waiting for whoever reads it: a stopped terminal, or a pipe that nobody empties, would stand the event loop
 * still (a terminal and a pipe block in Node on Linux). Nor is it made non-blocking: the flag is everybody's who has that file open.
 */
export class Outlet {
  readonly #inherited: number
  readonly #mostBytes: number
  /** Where we write: null until the first line. */
  #target: { readonly fd: number; readonly isFile: boolean; readonly isOwn: boolean } | null = null
  readonly #waiting: { data: Buffer; readonly from: number }[] = []
  /** Of what waits, by who has written it. */
  readonly #bytesFrom = new Map<number, number>()
  #bytes = 0
  /** The first one that waits has been written in part: it cannot be dropped. */
  #isBegun = false
  #dropped = 0
  /** The last write has failed. */
  #isRefused = false
  /** Nothing more goes out for now. */
  #isFull = false
  #room: Poller | undefined
  #retryMs = FIRST_RETRY_MS
  /** Called when lines go out again, with the number of those that were dropped. */
  tellDropped: (lines: number) => void = () => {}

  constructor(fd: number, mostBytes: number = MOST_BYTES) {
    this.#inherited = fd
    this.#mostBytes = mostBytes
  }

  /** `from`: which worker says it; 0: the launcher. When too much waits, who has said the most loses the oldest of it. */
  write(text: string | Buffer, from: number = 0): void {
    const data = typeof text === 'string' ? Buffer.from(text) : text
    if (data.length === 0) return
    this.#waiting.push({ data, from })
    this.#count(from, data.length)
    if (!this.#isFull) this.#writeOut(false)
    this.#drop()
  }

  /** What is still to be written. */
  get unwritten(): Buffer {
    return Buffer.concat(this.#waiting.map(({ data }) => data))
  }

  /** Resolves when everything is written, or after half a second. */
  async flushed(): Promise<void> {
    const deadline = performance.now() + LAST_WORDS_MS
    while (this.#waiting.length > 0 && performance.now() < deadline)
      await new Promise((done) => setTimeout(done, FIRST_RETRY_MS))
  }

  /** `hasRoom`: the kernel has said so. */
  #writeOut(hasRoom: boolean): void {
    this.#isFull = false
    const before = this.#bytes
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      const { data, from } = next
      const written = this.#writeSome(data)
      this.#count(from, -written)
      this.#isBegun = written < data.length && (this.#isBegun || written > 0)
      if (written < data.length) {
        next.data = data.subarray(written)
        return this.#waitForRoom(hasRoom && this.#bytes === before)
      }
      this.#waiting.shift()
    }
    this.#retryMs = FIRST_RETRY_MS
    if (this.#isRefused) return
    const dropped = this.#dropped
    this.#dropped = 0
    if (dropped > 0) this.tellDropped(dropped)
  }

  /** `inVain`: the kernel says that there is some, and takes nothing: then it is not asked, or it would say so without end. */
  #waitForRoom(inVain: boolean): void {
    this.#isFull = true
    if (!inVain && this.#watch()) return
    setTimeout(() => this.#writeOut(false), this.#retryMs).unref()
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS)
  }

  /** False: the kernel cannot be asked about this (EPERM), or not without making it non-blocking for everybody (uv_poll_init). */
  #watch(): boolean {
    const { fd, isOwn } = this.#target as { fd: number; isOwn: boolean }
    if (!isOwn) return false
    try {
      this.#room ??= new (native().Poller)(fd, () => {
        this.#room?.start(0)
        this.#writeOut(true)
      })
      this.#room.start(WRITABLE)
      return true
    } catch {
      return false
    }
  }

  /** How much of it was written; all of it, where nobody can read it any more. */
  #writeSome(data: Buffer): number {
    try {
      this.#target ??= this.#open()
      const { fd, isFile } = this.#target
      // A disk is never stood in front of for long, and may refuse what it is not waited for.
      const written = isFile ? writeSync(fd, data) : native().writeNow(fd, data)
      if (written > 0) this.#isRefused = false
      return written
    } catch (error) {
      // EPIPE, EIO, ENOSPC: the service goes on without its log.
      this.#isRefused = true
      if (DISK.includes((error as NodeJS.ErrnoException).code)) this.#dropped += Math.max(1, linesIn(data))
      return data.length
    }
  }

  /**
   * A terminal, or a pipe, opened anew has flags of its own. Not so a socket, which needs none; nor where this user may not (a terminal
   * after su), or nobody reads (ENXIO).
   */
  #open(): { fd: number; isFile: boolean; isOwn: boolean } {
    const facts = fstatSync(this.#inherited)
    if (facts.isFile()) return { fd: this.#inherited, isFile: true, isOwn: false }
    try {
      const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
      return {
        fd: openSync(`/proc/self/fd/${this.#inherited}`, O_WRONLY | O_NONBLOCK | O_NOCTTY),
        isFile: false,
        isOwn: true,
      }
    } catch {
      return { fd: this.#inherited, isFile: false, isOwn: false }
    }
  }

  #count(from: number, bytes: number): void {
    this.#bytes += bytes
    const now = (this.#bytesFrom.get(from) ?? 0) + bytes
    if (now === 0) this.#bytesFrom.delete(from)
    else this.#bytesFrom.set(from, now)
  }

  #drop(): void {
    const keep = this.#isBegun ? 1 : 0
    while (this.#bytes > this.#mostBytes && this.#waiting.length > keep) {
      const [loudest] = [...this.#bytesFrom].reduce((most, one) => (one[1] > most[1] ? one : most))
      const at = this.#waiting.findIndex(({ from }, index) => index >= keep && from === loudest)
      const [oldest] = this.#waiting.splice(Math.max(at, keep), 1) as [{ data: Buffer; from: number }]
      this.#count(oldest.from, -oldest.data.length)
      this.#dropped += Math.max(1, linesIn(oldest.data))
    }
  }
}

export const NEWLINE = 10

export function linesIn(data: Buffer): number {
  let lines = 0
  for (let at = data.indexOf(NEWLINE); at !== -1; at = data.indexOf(NEWLINE, at + 1)) lines++
  return lines
}
