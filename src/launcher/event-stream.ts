import type { ServerResponse } from 'node:http'
import { jsonLine, type Log } from '../log.js'

/** What waits for one reader at most: beyond it lines are left out, and counted. */
const MOST_BYTES = 262_144
/** Whoever asks for more has forgotten the others. */
const MOST_READERS = 32

interface Reader {
  readonly response: ServerResponse
  dropped: number
}

/**
 * The log, as it happens, to whoever has asked for it on the control socket. A reader that does not read costs 256 KiB and stands nobody
 * still; it is told how many lines it has missed.
 */
export class EventStream {
  readonly #readers = new Set<Reader>()
  readonly #followers: Log[] = []

  /** The same log, and each event to the readers as well. */
  beside(next: Log): Log {
    return (level, event, fields) => {
      next(level, event, fields)
      for (const follower of this.#followers) follower(level, event, fields)
      if (this.#readers.size > 0) this.#publish(jsonLine(level, event, fields))
    }
  }

  /** Each event from now on, to somebody in this process. */
  follow(follower: Log): void {
    this.#followers.push(follower)
  }

  /** false: there are too many already, and all of them read. */
  add(response: ServerResponse): boolean {
    if (this.#readers.size >= MOST_READERS && !this.#makeRoom()) return false
    const reader: Reader = { response, dropped: 0 }
    this.#readers.add(reader)
    response.once('close', () => this.#readers.delete(reader))
    response.on('drain', () => this.#tellDropped(reader))
    response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
    response.flushHeaders()
    return true
  }

  /** Nothing more will happen. */
  end(): void {
    for (const { response } of this.#readers) response.end()
    this.#readers.clear()
  }

  #makeRoom(): boolean {
    const stalled = [...this.#readers].find(({ dropped }) => dropped > 0)
    if (stalled === undefined) return false
    this.#readers.delete(stalled)
    stalled.response.destroy()
    return true
  }

  #publish(line: string): void {
    for (const reader of this.#readers) {
      // Until it has read all that it was given: else it would be told of gaps again and again.
      if (reader.dropped > 0 || reader.response.writableLength + line.length > MOST_BYTES) reader.dropped++
      else reader.response.write(line)
    }
  }

  #tellDropped(reader: Reader): void {
    const lines = reader.dropped
    reader.dropped = 0
    if (lines > 0) reader.response.write(jsonLine('warn', 'events.dropped', { lines }))
  }
}
