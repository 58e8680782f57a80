/** A launcher that is upgraded is back in 50 ms; one that a service manager restarts takes a second or more. */
const FIRST_MS = 50
/** A launcher that is started again has all its workers within a second; a connect that fails costs microseconds. */
const LONGEST_MS = 250

/** Tries again and again, later each time, without keeping the process alive. */
export class Reconnect {
  readonly #attempt: () => void
  #delayMs = FIRST_MS
  #timer: NodeJS.Timeout | undefined

  constructor(attempt: () => void) {
    this.#attempt = attempt
  }

  schedule(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#attempt()
    }, this.#delayMs).unref()
    this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_MS)
  }

  /** It worked: the next time begins anew. */
  succeeded(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#delayMs = FIRST_MS
  }
}
