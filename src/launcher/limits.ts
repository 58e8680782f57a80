import type { LauncherOptions } from '../options.js'
import type { State, Worker } from './brain/state.js'
import type { NewEvent } from './event-queue.js'
import { ageOf, usageOf } from './process-usage.js'

/**
 * Looks at every worker that serves, and says which are above --max-memory or --max-age. Whether one is relieved is for the brain to say; whoever
 * is still there at the next look is named again. Loaded, and running, only where there is a limit.
 */

/** Workers that began together leave over the last fifth of --max-age, the slots one after the other. */
const SPREAD = 0.2

export type LimitOptions = Pick<LauncherOptions, 'maxMemory' | 'maxAgeMs' | 'limitIntervalMs'>

interface Parts {
  readonly state: () => State
  readonly post: (event: NewEvent) => void
}

export class Limits {
  readonly #parts: Parts
  #options: LimitOptions
  #timer: NodeJS.Timeout | undefined

  constructor(options: LimitOptions, parts: Parts) {
    this.#parts = parts
    this.#options = options
    this.set(options)
  }

  /** From now on these. */
  set(options: LimitOptions): void {
    this.close()
    this.#options = options
    if (options.maxMemory === undefined && options.maxAgeMs === undefined) return
    this.#timer = setInterval(() => this.look(), options.limitIntervalMs).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Those that are furthest above come first: only one can be relieved at a time. */
  look(): void {
    const { slots, workers, relief } = this.#parts.state()
    // Reading /proc of everybody for nothing.
    if (relief !== undefined) return
    const found = Object.values(workers)
      .filter(({ state, slot, generation }) => state === 'serving' && slots[slot]?.working === generation)
      .flatMap((worker) => this.#wornOf(worker, slots.length) ?? [])
      .sort((a, b) => b.is / b.limit - a.is / a.limit)
    for (const event of found) this.#parts.post(event)
  }

  #wornOf(worker: Worker, slots: number): Worn | undefined {
    if (worker.pid === null) return undefined
    const { maxMemory, maxAgeMs, limitIntervalMs: everyMs } = this.#options
    const rss = maxMemory === undefined ? undefined : usageOf(worker.pid)?.rss
    if (maxMemory !== undefined && rss !== undefined && rss > maxMemory)
      return { type: 'worn', worker: worker.id, why: 'memory', is: rss, limit: maxMemory, everyMs }
    const age = maxAgeMs === undefined ? null : ageOf(worker.pid)
    if (maxAgeMs === undefined || age === null) return undefined
    const limit = Math.round(maxAgeMs * spreadOf(worker, slots))
    return age > limit ? { type: 'worn', worker: worker.id, why: 'age', is: age, limit, everyMs } : undefined
  }
}

type Worn = Extract<NewEvent, { type: 'worn' }>

/** Its share of --max-age: by its slot, so that siblings are apart, and within that by its pid, so that hosts are. */
export function spreadOf({ slot, pid }: Pick<Worker, 'slot' | 'pid'>, slots: number): number {
  const chance = (Math.imul(pid ?? 0, 0x9e37_79b1) >>> 0) / 2 ** 32
  return 1 - (SPREAD * (slot + chance)) / slots
}
