import type { Readable } from 'node:stream'

const KEPT_LINES = 40
/** A line without an end must not fill the memory. */
const LONGEST = 4096

/** Reads a stream to its end and keeps its last lines, for the moment when something fails. */
export class LastLines {
  readonly #lines: string[] = []
  #open = ''

  constructor(stream: Readable | null) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => this.#add(text))
    // The other side was killed: what was read until then is what there is.
    stream?.on('error', () => undefined)
  }

  lines(): string[] {
    return this.#open === '' ? [...this.#lines] : [...this.#lines, this.#open]
  }

  text(): string {
    return this.lines().join('\n')
  }

  #add(text: string): void {
    const lines = (this.#open + text).split('\n')
    this.#open = (lines.pop() as string).slice(-LONGEST)
    this.#lines.push(...lines)
    this.#lines.splice(0, Math.max(0, this.#lines.length - KEPT_LINES))
  }
}
