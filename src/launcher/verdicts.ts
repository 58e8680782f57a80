import type { KernelCounters, Verdict } from '../control-protocol.js'
import { countersBetween, type NetworkCounters, readNetworkCounters } from '../kernel-counters.js'
import { type Check, fieldsOf, isNumber, isText, isWhole, orNull, pairsOf } from './shape.js'

export interface SavedVerdicts {
  readonly before: readonly (readonly [number, NetworkCounters | null])[]
  readonly last: Verdict | null
  readonly lastAt: string | null
}
export const SAVED_VERDICTS: Check = fieldsOf({
  before: pairsOf(isWhole, orNull(fieldsOf({ OutRsts: isNumber, ListenDrops: isNumber, ListenOverflows: isNumber }))),
  last: orNull(fieldsOf({ id: isWhole, result: isText })),
  lastAt: orNull(isText),
})

/** What the kernel counted during each reload that is not over, and the last verdict. */
export class Verdicts {
  readonly #before: Map<number, NetworkCounters | null>
  #last: Verdict | null
  #lastAt: Date | null

  constructor(saved?: SavedVerdicts) {
    this.#before = new Map(saved?.before)
    this.#last = saved?.last ?? null
    this.#lastAt = saved?.lastAt == null ? null : new Date(saved.lastAt)
  }

  get last(): Verdict | null {
    return this.#last
  }

  /** When it was given first: what is still draining then comes later. */
  get lastAt(): Date | null {
    return this.#lastAt
  }

  begin(run: number): void {
    this.#before.set(run, readNetworkCounters())
  }

  complete(run: number, verdict: Omit<Verdict, 'kernel'>): Verdict {
    const before = this.#before.get(run)
    const after = readNetworkCounters()
    const full: Verdict = { ...verdict, kernel: before == null || after === null ? null : change(before, after) }
    // An older one that has only now come to its end does not take the place of a newer one's.
    if (full.id > (this.#last?.id ?? 0)) this.#lastAt = new Date()
    if (full.id >= (this.#last?.id ?? 0)) this.#last = full
    if (verdict.draining === 0) this.#before.delete(run)
    return full
  }

  save(): SavedVerdicts {
    return { before: [...this.#before], last: this.#last, lastAt: this.#lastAt?.toISOString() ?? null }
  }
}

/** Whether others use this namespace too cannot be known from inside it. */
function change(before: NetworkCounters, after: NetworkCounters): KernelCounters {
  const { OutRsts, ListenDrops, ListenOverflows } = countersBetween(before, after)
  return { shared: true, OutRsts, ListenDrops, ListenOverflows }
}
