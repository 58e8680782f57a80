import type { Verdict } from '../control-protocol.js'
import { type NetworkCounters, readNetworkCounters } from '../kernel-counters.js'

/** What the kernel counted during each reload that is not over, and the last verdict. */
export class Verdicts {
  readonly #before = new Map<number, NetworkCounters | null>()
  #last: Verdict | null = null
  #lastAt: Date | null = null

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
    const change = (key: keyof NetworkCounters): number =>
      before == null || after === null ? 0 : after[key] - before[key]
    const full: Verdict = {
      ...verdict,
      // Whether others use this namespace too cannot be known from inside it.
      kernel: {
        shared: true,
        OutRsts: change('OutRsts'),
        ListenDrops: change('ListenDrops'),
        ListenOverflows: change('ListenOverflows'),
      },
    }
    // An older one that has only now come to its end does not take the place of a newer one's.
    if (full.id > (this.#last?.id ?? 0)) this.#lastAt = new Date()
    if (full.id >= (this.#last?.id ?? 0)) this.#last = full
    if (verdict.draining === 0) this.#before.delete(run)
    return full
  }
}
