import type { TimerId } from './brain/events.js'

/** The timers that the brain has set, by name. */
export class Timers {
  readonly #running = new Map<TimerId, NodeJS.Timeout>()
  readonly #ring: (id: TimerId) => void

  constructor(ring: (id: TimerId) => void) {
    this.#ring = ring
  }

  set(id: TimerId, ms: number): void {
    clearTimeout(this.#running.get(id))
    const timer = setTimeout(() => {
      // What has happened in time is known first: a worker that died in the bake may still wait to be read. It may cancel this.
      setImmediate(() => {
        if (this.#running.get(id) !== timer) return
        this.#running.delete(id)
        this.#ring(id)
      })
    }, ms)
    this.#running.set(id, timer)
  }

  cancel(id: TimerId): void {
    clearTimeout(this.#running.get(id))
    this.#running.delete(id)
  }

  clear(): void {
    for (const timer of this.#running.values()) clearTimeout(timer)
    this.#running.clear()
  }
}
