/** Longest line that is kept. */
const MAX_LINE = 64 * 1024

/** Reads the events of a stream (WHATWG HTML §9.2.6), as far as it takes to know which came: their ids. */
export class EventReader {
  /** Of the last event that was complete. */
  lastId: string | null = null
  events = 0
  readonly #onEvent: (id: string | null) => void
  #line = ''
  #id: string | null = null
  #hasData = false
  #afterReturn = false

  constructor(lastId: string | null, onEvent: (id: string | null) => void) {
    this.lastId = lastId
    this.#id = lastId
    this.#onEvent = onEvent
  }

  push(bytes: Buffer): void {
    for (const character of bytes.toString('latin1')) {
      const isFeed = character === '\n'
      // CR LF is one end of line, also when it comes in two pieces.
      if (isFeed && this.#afterReturn) this.#afterReturn = false
      else if (isFeed || character === '\r') {
        this.#afterReturn = !isFeed
        this.#onLine(this.#line)
        this.#line = ''
      } else {
        this.#afterReturn = false
        if (this.#line.length < MAX_LINE) this.#line += character
      }
    }
  }

  #onLine(line: string): void {
    if (line === '') {
      if (this.#hasData) {
        this.lastId = this.#id
        this.events++
        this.#onEvent(this.#id)
      }
      this.#hasData = false
      return
    }
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'data') this.#hasData = true
    else if (field === 'id' && !value.includes('\0')) this.#id = value
  }
}
