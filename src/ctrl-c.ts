/**
 * A Ctrl-C reaches us from the terminal and, where npm, npx or another wrapper passes it on, from that too: a few milliseconds later, more
 * on a busy machine. Nobody who means it presses twice so fast.
 */
const SAME_PRESS_MS = 500

/** Tells one press from the next. */
export class CtrlC {
  readonly #now: () => number
  #pressedAt = Number.NEGATIVE_INFINITY

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** For each SIGINT: false when it is the last press again. */
  isPress(): boolean {
    const now = this.#now()
    if (now - this.#pressedAt < SAME_PRESS_MS) return false
    this.#pressedAt = now
    return true
  }
}
