/**
 * Things that block the event loop for a while, and of which there may be hundreds: one per turn of the loop, so that whoever waits for an
 * answer meanwhile gets it.
 */
export class OneByOne<Key> {
  readonly #waiting = new Map<Key, () => void>()
  #turn: NodeJS.Immediate | undefined

  add(key: Key, work: () => void): void {
    this.#waiting.set(key, work)
    this.#turn ??= setImmediate(() => this.#next())
  }

  /** It is not to be done after all. False: it has been. */
  drop(key: Key): boolean {
    return this.#waiting.delete(key)
  }

  clear(): void {
    this.#waiting.clear()
  }

  #next(): void {
    this.#turn = undefined
    const [first] = this.#waiting
    if (first === undefined) return
    const [key, work] = first
    this.#waiting.delete(key)
    if (this.#waiting.size > 0) this.#turn = setImmediate(() => this.#next())
    work()
  }
}
