import type { Server } from 'node:net'
import { Answers } from './answers.js'

/**
 * Counts HTTP answers for as long as somebody watches: each look says how long until the next one comes at the latest. When none comes,
 * nothing is left of it. Whoever watches needs not say goodbye, and may be several.
 */
export class Meter {
  #answers: Answers | undefined
  #servers: readonly Server[] = []
  /** Of servers that the program had before. */
  #before = 0
  #end: NodeJS.Timeout | undefined

  /** HTTP answers since counting began. */
  look(servers: readonly Server[], forMs: number): number {
    clearTimeout(this.#end)
    this.#end = setTimeout(() => this.stop(), forMs).unref()
    if (this.#answers === undefined || !isSame(this.#servers, servers)) {
      this.#before = this.#count()
      this.#answers?.stop()
      this.#answers = new Answers(servers)
      this.#servers = servers
    }
    return this.#count()
  }

  stop(): void {
    clearTimeout(this.#end)
    this.#answers?.stop()
    this.#answers = undefined
    this.#before = 0
  }

  #count(): number {
    return this.#before + (this.#answers?.counts.responses ?? 0)
  }
}

function isSame(one: readonly Server[], other: readonly Server[]): boolean {
  return one.length === other.length && one.every((server, index) => server === other[index])
}
