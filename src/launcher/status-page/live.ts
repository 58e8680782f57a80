import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Status } from '../../control-protocol.js'

/** How often the status is sent at most; and at most this part of the time is spent on finding it out, however many workers there are. */
const EACH_MS = 1_000
const SHARE = 0.1
/** Answers of workers are counted for so long after the last look. */
const COUNTED_MS = 5_000
/** What waits for one watcher at most: beyond it he is cut off, and comes again. */
const MOST_BYTES = 4 * 1_048_576
const MOST_WATCHERS = 16

/**
 * Server-Sent Events for the page. While nobody watches there is no timer, and nobody is asked anything. The stream is as long as its
 * connection, without chunks: an end of this process is a clean end of it.
 */
export class Live {
  readonly #status: (watchMs: number) => Promise<Status>
  readonly #first: () => Readonly<Record<string, unknown>>
  readonly #watchers = new Set<ServerResponse>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false

  /** `first`: events for who comes, by name. */
  constructor(status: (watchMs: number) => Promise<Status>, first: () => Readonly<Record<string, unknown>>) {
    this.#status = status
    this.#first = first
  }

  add({ method }: IncomingMessage, response: ServerResponse): void {
    const isFull = this.#watchers.size >= MOST_WATCHERS
    response.useChunkedEncodingByDefault = false
    response.writeHead(isFull ? 503 : 200, { 'content-type': 'text/event-stream; charset=utf-8' })
    if (isFull || method === 'HEAD') return void response.end()
    this.#watchers.add(response)
    response.once('close', () => this.#leave(response))
    response.write('retry: 1000\n\n')
    for (const [name, data] of Object.entries(this.#first())) response.write(textOf(name, data))
    void this.#tell()
  }

  /** To everybody who watches. */
  send(name: string, data: unknown): void {
    if (this.#watchers.size > 0) this.#write(textOf(name, data))
  }

  #leave(response: ServerResponse): void {
    this.#watchers.delete(response)
    if (this.#watchers.size === 0) clearTimeout(this.#timer)
  }

  async #tell(): Promise<void> {
    if (this.#isAsking) return
    clearTimeout(this.#timer)
    this.#isAsking = true
    const begun = performance.now()
    try {
      const status = await this.#status(COUNTED_MS)
      this.#write(textOf('status', { at: Date.now(), status }))
    } catch (error) {
      // No descriptor is left to look around with (EMFILE), mostly.
      this.#write(textOf('failed', (error as Error).message))
    }
    this.#isAsking = false
    if (this.#watchers.size === 0) return
    const ms = performance.now() - begun
    this.#timer = setTimeout(() => void this.#tell(), Math.max(EACH_MS - ms, ms / SHARE)).unref()
  }

  #write(text: string): void {
    for (const watcher of this.#watchers)
      if (watcher.writableLength + text.length > MOST_BYTES) watcher.destroy()
      else watcher.write(text)
  }
}

/** JSON has no line ends of its own. */
function textOf(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
