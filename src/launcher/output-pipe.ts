import { closeSync, readSync } from 'node:fs'
import { type Native, native, type Poller, READABLE } from '../native.js'
import { type Line, Lines } from './lines.js'

/** Read at a time: whoever writes a lot takes turns with the others. The capacity of a pipe (pipe(7)). */
const CHUNK_BYTES = 65_536
/** In which what was in a pipe when its writer ended is read, even if it had been made larger: others may go on writing. */
const MOST_CHUNKS = 16

/** One for all: what is read is taken out of it at once. */
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)

/** Where it goes: as it came, or line by line. */
export type Sink =
  | { readonly by: 'bytes'; readonly write: (data: Buffer) => void }
  | { readonly by: 'lines'; readonly write: (lines: readonly Line[]) => void }

/** Our end of a pipe that a worker writes to. Ends with the last process that has the other end. */
export class OutputPipe {
  readonly reader: number
  readonly #sink: Sink
  readonly #lines: Lines
  readonly #native: Native = native()
  #poller: Poller | null

  /** Owns the descriptor, which does not block. `before`: what was read when another image of this process had it. */
  constructor(reader: number, sink: Sink, before?: { readonly partial: string; readonly last: readonly string[] }) {
    this.reader = reader
    this.#sink = sink
    this.#lines = new Lines(before?.partial, before?.last)
    this.#poller = new this.#native.Poller(reader, () => void this.#copy())
  }

  start(): void {
    this.#poller?.start(READABLE)
  }

  get isOpen(): boolean {
    return this.#poller !== null
  }

  /** Of a line that has not ended. */
  get partial(): string {
    return this.#lines.partial
  }

  /** The last lines. */
  get last(): readonly string[] {
    return this.#lines.last
  }

  /** The worker has ended: all that it wrote, its last line too. */
  finish(): void {
    for (let read = 0; read < MOST_CHUNKS && this.#copy(); read++);
    this.#endLine()
  }

  close(): void {
    if (this.#poller === null) return
    this.#poller.close()
    this.#poller = null
    closeSync(this.reader)
  }

  /** False: there was nothing, or it has ended. */
  #copy(): boolean {
    if (this.#poller === null) return false
    let length = 0
    try {
      length = readSync(this.reader, chunk)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false
    }
    if (length === 0) {
      this.#endLine()
      this.close()
      return false
    }
    const data = chunk.subarray(0, length)
    const lines = this.#lines.take(data)
    if (this.#sink.by === 'lines') this.#sink.write(lines)
    else this.#sink.write(Buffer.from(data))
    return true
  }

  #endLine(): void {
    const rest = this.#lines.end()
    if (this.#sink.by === 'lines') this.#sink.write(rest)
  }
}
