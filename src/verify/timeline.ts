import type { ReloadRecord } from './reloads.js'

interface Step {
  readonly at: number
  readonly text: string
}

/** What the reloads did and when, to say of an incident what had happened just before it. */
export class Timeline {
  readonly #steps: readonly Step[]

  constructor(reloads: readonly ReloadRecord[]) {
    this.#steps = reloads
      .flatMap(({ number, at, answeredMs, workers }) => [
        { at, text: `reload ${number} was ordered` },
        ...workers.flatMap(({ slot, oldPid, newPid, ms }) =>
          Object.entries(ms).map(([step, after]) => ({
            at: at + after,
            text: `reload ${number}, slot ${slot}: ${step} (${oldPid ?? '-'} → ${newPid ?? '-'})`,
          })),
        ),
        { at: at + answeredMs, text: `reload ${number} was over` },
      ])
      .sort((a, b) => a.at - b.at)
  }

  /** "12 ms after reload 3, slot 1: paused (4711 → 4790)". */
  before(at: number): string {
    const last = this.#steps.findLast((step) => step.at <= at)
    return last === undefined ? 'before the first reload' : `${Math.round(at - last.at)} ms after ${last.text}`
  }
}
