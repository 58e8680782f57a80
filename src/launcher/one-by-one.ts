/**
 * Things that block the event loop for a while, and of which there may be hundreds: one per turn of the loop, so that whoever waits for an
 * answer meanwhile gets it.
 */
export class OneByOne<Key, Thing> {
  readonly #work: (thing: Thing) => void
  readonly #waiting = new Map<Key, Thing>()
  #turn: NodeJS.Immediate | undefined

  constructor(work: (thing: Thing) => void) {
    this.#work = work
  }

  add(key: Key, thing: Thing): void {
    this.#waiting.set(key, thing)
    this.#turn ??= setImmediate(() => this.#next())
  }

  /** It is not to be done after all. False: it has been. */
  drop(key: Key): boolean {
    return this.#waiting.delete(key)
  }

  get waiting(): Thing[] {
    return [...this.#waiting.values()]
  }

  clear(): void {
    this.#waiting.clear()
  }

  #next(): void {
    this.#turn = undefined
    const [first] = this.#waiting
    if (first === undefined) return
    const [key, thing] = first
    this.#waiting.delete(key)
    if (this.#waiting.size > 0) this.#turn = setImmediate(() => this.#next())
    this.#work(thing)
  }
}
