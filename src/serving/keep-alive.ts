import { clearInterval, setInterval } from 'node:timers'

/** The longest interval there is (2^31 - 1 ms): the timer is only there to be counted by the event loop. */
const NEVER_MS = 2 ** 31 - 1

/** A handle that is held or paused does not keep the event loop alive as a listening one does (facts: node.md §2): this does. */
export class KeepAlive {
  readonly #holders = new Set<object>()
  #timer: NodeJS.Timeout | undefined

  set(holder: object, holds: boolean): void {
    if (holds) this.#holders.add(holder)
    else this.#holders.delete(holder)
    if (this.#holders.size > 0) {
      this.#timer ??= setInterval(() => {}, NEVER_MS)
    } else if (this.#timer !== undefined) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}
