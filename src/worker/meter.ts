import type { Server } from 'node:net'
import { Counting } from './counting.js'

/**
 * Counts HTTP answers for as long as somebody watches: each look says how long until the next one comes at the latest. When none comes,
 * nothing is left of it. Whoever watches needs not say goodbye, and may be several.
 */
export class Meter {
  readonly #counting = new Counting()
  #end: NodeJS.Timeout | undefined

  /** HTTP answers since counting began. */
  look(servers: readonly Server[], forMs: number): number {
    clearTimeout(this.#end)
    this.#end = setTimeout(() => this.stop(), forMs).unref()
    this.#counting.follow(servers)
    return this.#counting.counts.responses
  }

  stop(): void {
    clearTimeout(this.#end)
    this.#counting.stop()
  }
}
