/** How often each channel is asked. Its answer costs a worker one turn of its event loop; nothing is measured per request. */
export const PING_EVERY_MS = 1_000
/** Silence that is no garbage collection and no long template any more; as long as an order may take (ORDER_TIMEOUT_MS of the brain). */
export const LOST_AFTER_MS = 2_000

/** Whether the event loop at the other end of a channel turns: it is asked, and whatever it says is an answer. */
export class Heartbeat {
  readonly #ask: () => void
  readonly #changed: (lostMs: number | null) => void
  /** Of the question that waits for an answer. */
  #askedAt: number | null = null
  #isLost = false

  /** `changed`: how long it has been silent now, or null when it is heard again. */
  constructor(ask: () => void, changed: (lostMs: number | null) => void) {
    this.#ask = ask
    this.#changed = changed
  }

  get isLost(): boolean {
    return this.#isLost
  }

  /** To be called every PING_EVERY_MS. */
  tick(now: number): void {
    const askedAt = this.#askedAt
    if (askedAt === null) {
      this.#askedAt = now
      this.#ask()
    } else if (!this.#isLost && now - askedAt >= LOST_AFTER_MS) {
      // Not before what is in our own queue has been read: it may be us who were stopped or busy (reliability.md B-08).
      setImmediate(() => {
        if (this.#askedAt !== askedAt || this.#isLost) return
        this.#isLost = true
        this.#changed(Math.round(now - askedAt))
      })
    }
  }

  /** It has said something. */
  heard(): void {
    this.#askedAt = null
    this.stop()
  }

  /** It is gone, or heard again: from now on nothing is lost. */
  stop(): void {
    if (!this.#isLost) return
    this.#isLost = false
    this.#changed(null)
  }
}
