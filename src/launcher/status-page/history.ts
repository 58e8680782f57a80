import type { WorkerState } from '../../control-protocol.js'
import { NO_SLOT, type State } from '../brain/state.js'

/** How many workers of a generation were in which state, from a moment on. */
export interface Sample {
  /** Milliseconds of the wall clock. */
  readonly at: number
  readonly generations: readonly {
    readonly number: number
    readonly workers: Readonly<Partial<Record<Band, number>>>
  }[]
}

/** What a worker is doing, as far as a picture of many can show it. */
type Band = 'starting' | 'held' | 'serving' | 'paused' | 'draining'
const BANDS: Readonly<Record<WorkerState, Band | null>> = {
  spawned: 'starting',
  claimed: 'starting',
  ready: 'held',
  serving: 'serving',
  paused: 'paused',
  draining: 'draining',
  stopping: 'draining',
  exited: null,
}

/** Some forty reloads of 4 workers. */
const MOST_SAMPLES = 1_000
/** What follows sooner is one step in a picture: a thousand workers start in as many events. */
const STEP_MS = 20

/** What the generations have been like, for who looks later: the latest changes. */
export class History {
  readonly #samples: Sample[] = []
  #last = ''
  /** Each new sample, and each that has become another. */
  onSample: (sample: Sample) => void = () => {}

  get samples(): readonly Sample[] {
    return this.#samples
  }

  /** After each event of the brain. */
  stepped(state: State, at: number = Date.now()): void {
    const generations = bandsOf(state)
    const text = JSON.stringify(generations)
    if (text === this.#last) return
    this.#last = text
    const before = this.#samples.at(-1)
    const isSoon = before !== undefined && at >= before.at && at - before.at < STEP_MS
    const sample = { at: isSoon ? before.at : at, generations }
    if (isSoon) this.#samples.pop()
    this.#samples.push(sample)
    if (this.#samples.length > MOST_SAMPLES) this.#samples.shift()
    this.onSample(sample)
  }
}

function bandsOf({ generations, workers }: State): Sample['generations'] {
  const counts = new Map<number, Partial<Record<Band, number>>>()
  for (const { generation, slot, state } of Object.values(workers)) {
    const band = BANDS[state]
    if (band === null || slot === NO_SLOT || generations[generation] === undefined) continue
    const count = counts.get(generation) ?? {}
    count[band] = (count[band] ?? 0) + 1
    counts.set(generation, count)
  }
  return [...counts].map(([number, count]) => ({ number, workers: count })).sort((a, b) => a.number - b.number)
}
