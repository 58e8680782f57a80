import { type Check, fieldsOf, isNumber, isText, pairsOf } from '../shape.js'

type Sums = Map<string, number>

export interface SavedGrowing {
  readonly gone: readonly (readonly [string, number])[]
  readonly sources: readonly (readonly [string, readonly (readonly [string, number])[]])[]
}
const NUMBERS: Check = pairsOf(isText, isNumber)
export const SAVED_GROWING: Check = fieldsOf({ gone: NUMBERS, sources: pairsOf(isText, NUMBERS) })

/**
 * Counters that processes which come and go have each for themselves, from 0 on, as sums that never fall: of those that have gone, and of those
 * that restart their counters, what they had counted is kept. A series is anything that names one.
 */
export class Growing {
  /** Of sources that have gone. */
  readonly #gone: Sums
  /** What each source has said last, by series. */
  readonly #sources: Map<string, Sums>

  constructor(saved?: SavedGrowing) {
    this.#gone = new Map(saved?.gone)
    this.#sources = new Map(saved?.sources.map(([source, last]) => [source, new Map(last)]))
  }

  take(source: string, series: string, value: number): void {
    let last = this.#sources.get(source)
    if (last === undefined) {
      last = new Map()
      this.#sources.set(source, last)
    }
    const before = last.get(series) ?? 0
    if (value < before) add(this.#gone, series, before)
    last.set(series, value)
  }

  /** All other sources have gone. */
  keep(isThere: (source: string) => boolean): void {
    for (const [source, last] of this.#sources) {
      if (isThere(source)) continue
      for (const [series, value] of last) add(this.#gone, series, value)
      this.#sources.delete(source)
    }
  }

  sums(): Map<string, number> {
    const sums = new Map(this.#gone)
    for (const last of this.#sources.values()) for (const [series, value] of last) add(sums, series, value)
    return sums
  }

  save(): SavedGrowing {
    return {
      gone: [...this.#gone],
      sources: [...this.#sources].map(([source, last]) => [source, [...last]]),
    }
  }
}

function add(sums: Sums, series: string, value: number): void {
  sums.set(series, (sums.get(series) ?? 0) + value)
}
