/** When the load shall end: told to whoever pauses, or holds a connection open that would never end by itself. */
export class LoadEnd {
  readonly #toTell = new Set<() => void>()
  #over = false

  get over(): boolean {
    return this.#over
  }

  /** Every client finishes what it has in hand; those that pause go on at once. */
  begin(): void {
    this.#over = true
    for (const tell of this.#toTell) tell()
    this.#toTell.clear()
  }

  /** Calls back when the load ends; gives what takes that back. */
  onBegin(tell: () => void): () => void {
    if (this.#over) tell()
    else this.#toTell.add(tell)
    return () => this.#toTell.delete(tell)
  }

  /** Waits so long, or until the load ends. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over || ms <= 0) {
        resolve()
        return
      }
      const wake = (): void => {
        clearTimeout(timer)
        this.#toTell.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#toTell.add(wake)
    })
  }
}
