import type { Server } from 'node:net'
import { type Answered, addAnswered } from '../protocol.js'
import { Answers } from './answers.js'

/** Counts what the servers of a program answer, whichever it has meanwhile. */
export class Counting {
  #answers: Answers | undefined
  #servers: readonly Server[] = []
  /** Of servers that the program had before. */
  #before: Required<Answered> = addAnswered([])
  #msBefore = 0

  /** From now on these. */
  follow(servers: readonly Server[]): void {
    if (this.#answers !== undefined && isSame(this.#servers, servers)) return
    this.#before = this.counts
    this.#msBefore = this.ms
    this.#answers?.stop()
    this.#answers = new Answers(servers)
    this.#servers = servers
  }

  get counts(): Required<Answered> {
    return addAnswered(this.#answers === undefined ? [this.#before] : [this.#before, this.#answers.counts])
  }

  /** How long all of them took together. */
  get ms(): number {
    return this.#msBefore + (this.#answers?.ms ?? 0)
  }

  stop(): void {
    this.#answers?.stop()
    this.#answers = undefined
    this.#before = addAnswered([])
    this.#msBefore = 0
  }
}

function isSame(one: readonly Server[], other: readonly Server[]): boolean {
  return one.length === other.length && one.every((server, index) => server === other[index])
}
