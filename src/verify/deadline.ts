import { ReuseportError } from '../errors.js'

/** Thrown into whatever is awaited when `verify` is told to end (Ctrl-C). */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`)
    this.signal = signal
  }
}

/** Bounds every await of a run: by its own limit, by what is left of the whole, and by an interruption. */
export class Deadline {
  readonly #end: number
  readonly #interruption: AbortSignal

  constructor(totalMs: number, interruption: AbortSignal) {
    this.#end = performance.now() + totalMs
    this.#interruption = interruption
  }

  /** Waits for `work`, at most `ms`; throws ERR_TIMED_OUT that says what did not happen, or Interrupted. */
  async within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
    // What is not awaited to its end may fail later, unseen.
    work.catch(() => undefined)
    this.#interruption.throwIfAborted()
    const left = Math.max(0, this.#end - performance.now())
    const limit = Math.round(Math.min(ms, left))
    const ending = new AbortController()
    try {
      return await Promise.race([work, this.#passes(limit, left < ms, what, ending.signal)])
    } finally {
      ending.abort()
    }
  }

  #passes(limit: number, total: boolean, what: string, over: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      const onInterruption = (): void => reject(this.#interruption.reason)
      const timer = setTimeout(() => {
        const whose = total ? ' (what was left of the deadline of the whole run)' : ''
        reject(
          new ReuseportError('ERR_TIMED_OUT', `${what} did not happen within ${limit} ms${whose}`, {
            facts: { ms: limit },
          }),
        )
      }, limit)
      this.#interruption.addEventListener('abort', onInterruption, { once: true })
      over.addEventListener('abort', () => {
        clearTimeout(timer)
        this.#interruption.removeEventListener('abort', onInterruption)
      })
    })
  }
}
