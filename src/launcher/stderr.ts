import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { createLog, type Log } from '../log.js'
import { native } from '../native.js'

/** What waits for a reader that does not read: beyond it the oldest lines are dropped, and counted (reliability.md L-01). */
const MOST_BYTES = 1_048_576
/** Until the next try, doubled up to the latter: a slow reader is served well, one that never reads costs nothing to speak of. */
const FIRST_RETRY_MS = 10
const LAST_RETRY_MS = 200
/** For what waits at the end of the launcher. */
const LAST_WORDS_MS = 500

/**
 * Our stderr, without ever waiting for whoever reads it: a stopped terminal, or a pipe that nobody empties, would stand the event loop
 * still (a terminal and a pipe block in Node on Linux). Nor is it made non-blocking: the flag is everybody's who has that file open.
 */
export class Stderr {
  readonly #inherited: number
  readonly #mostBytes: number
  /** Where we write: null until the first line. */
  #target: { readonly fd: number; readonly isFile: boolean } | null = null
  readonly #waiting: Buffer[] = []
  #bytes = 0
  /** The first one that waits has been written in part: it cannot be dropped. */
  #isBegun = false
  #dropped = 0
  #retry: NodeJS.Timeout | undefined
  #retryMs = FIRST_RETRY_MS
  /** Called when somebody reads again, with the number of lines that were dropped. */
  tellDropped: (lines: number) => void = () => {}

  constructor(fd: number = 2, mostBytes: number = MOST_BYTES) {
    this.#inherited = fd
    this.#mostBytes = mostBytes
  }

  write(text: string | Buffer): void {
    const data = Buffer.from(text)
    if (data.length === 0) return
    this.#waiting.push(data)
    this.#bytes += data.length
    if (this.#retry === undefined) this.#writeOut()
    this.#drop()
  }

  /** What is still to be written. */
  get unwritten(): Buffer {
    return Buffer.concat(this.#waiting)
  }

  /** Resolves when everything is written, or after half a second. */
  async flushed(): Promise<void> {
    const deadline = performance.now() + LAST_WORDS_MS
    while (this.#waiting.length > 0 && performance.now() < deadline)
      await new Promise((done) => setTimeout(done, FIRST_RETRY_MS))
  }

  #writeOut(): void {
    this.#retry = undefined
    const before = this.#bytes
    for (let [data] = this.#waiting; data !== undefined; [data] = this.#waiting) {
      const written = this.#writeSome(data)
      this.#bytes -= written
      this.#isBegun = written < data.length && (this.#isBegun || written > 0)
      if (written < data.length) {
        this.#waiting[0] = data.subarray(written)
        this.#retryMs = this.#bytes < before ? FIRST_RETRY_MS : Math.min(this.#retryMs * 2, LAST_RETRY_MS)
        this.#retry = setTimeout(() => this.#writeOut(), this.#retryMs).unref()
        return
      }
      this.#waiting.shift()
    }
    this.#retryMs = FIRST_RETRY_MS
    const dropped = this.#dropped
    this.#dropped = 0
    if (dropped > 0) this.tellDropped(dropped)
  }

  /** How much of it was written; all of it, where nobody can read it any more. */
  #writeSome(data: Buffer): number {
    try {
      this.#target ??= this.#open()
      const { fd, isFile } = this.#target
      // A disk is never stood in front of for long, and may refuse what it is not waited for.
      return isFile ? writeSync(fd, data) : native().writeNow(fd, data)
    } catch {
      // EPIPE, EIO, ENOSPC: the service goes on without its log.
      return data.length
    }
  }

  /**
   * A terminal, or a pipe, opened anew has flags of its own. Not so a socket, which needs none; nor where this user may not (a terminal
   * after su), or nobody reads (ENXIO).
   */
  #open(): { fd: number; isFile: boolean } {
    const facts = fstatSync(this.#inherited)
    if (facts.isFile()) return { fd: this.#inherited, isFile: true }
    try {
      const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
      return { fd: openSync(`/proc/self/fd/${this.#inherited}`, O_WRONLY | O_NONBLOCK | O_NOCTTY), isFile: false }
    } catch {
      return { fd: this.#inherited, isFile: false }
    }
  }

  #drop(): void {
    const keep = this.#isBegun ? 1 : 0
    while (this.#bytes > this.#mostBytes && this.#waiting.length > keep) {
      const [oldest] = this.#waiting.splice(keep, 1) as [Buffer]
      this.#bytes -= oldest.length
      this.#dropped += Math.max(
        1,
        oldest.reduce((lines, byte) => lines + (byte === NEWLINE ? 1 : 0), 0),
      )
    }
  }
}

const NEWLINE = 10

/** This process's. */
export const stderr: Stderr = new Stderr()

/** The launcher's log, on stderr. */
export function openLog(format: 'text' | 'json'): Log {
  const log = createLog(format, (text) => stderr.write(text))
  stderr.tellDropped = (lines) => log('warn', 'log.dropped', { lines })
  return log
}
