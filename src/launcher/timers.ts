import type { TimerId } from './brain/events.js'
import { now } from './clock.js'
import { type Check, isNumber, isText, pairsOf } from './shape.js'

/** Timers by name, with the milliseconds that are left. */
export type SavedTimers = readonly (readonly [TimerId, number])[]
export const SAVED_TIMERS: Check = pairsOf(isText, isNumber)

/** The timers that the brain has set, by name. */
export class Timers {
  readonly #running = new Map<TimerId, { readonly timer: NodeJS.Timeout; readonly at: number }>()
  readonly #ring: (id: TimerId) => void

  constructor(ring: (id: TimerId) => void, saved: SavedTimers = []) {
    this.#ring = ring
    for (const [id, leftMs] of saved) this.set(id, leftMs)
  }

  set(id: TimerId, ms: number): void {
    this.cancel(id)
    const timer = setTimeout(() => {
      // What has happened in time is known first: a worker that died in the bake may still wait to be read. It may cancel this.
      setImmediate(() => {
        if (this.#running.get(id)?.timer !== timer) return
        this.#running.delete(id)
        this.#ring(id)
      })
    }, ms)
    this.#running.set(id, { timer, at: now() + ms })
  }

  cancel(id: TimerId): void {
    clearTimeout(this.#running.get(id)?.timer)
    this.#running.delete(id)
  }

  clear(): void {
    for (const { timer } of this.#running.values()) clearTimeout(timer)
    this.#running.clear()
  }

  save(): SavedTimers {
    return [...this.#running].map(([id, { at }]) => [id, Math.max(0, at - now())])
  }
}
