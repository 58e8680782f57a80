import type { HealthOptions } from '../../options.js'
import type { WorkerEvent } from '../brain/events.js'
import { now } from '../clock.js'
import type { Answer } from './answer.js'

export type ProbeMode = 'prove' | 'watch'

export type SavedProber = readonly (readonly [number, SavedSeries])[]
export interface SavedSeries {
  readonly bakedAt: number | null
  readonly attempts: number
  readonly successes: number
  readonly failures: number
}

/** Begins one attempt; `done` is called once, unless it is stopped before. */
export type Try = (done: (answer: Answer) => void) => { stop(): void }

/** Asks workers again and again: a candidate until it has proven itself, one that serves until it is told to stop. */
export class Prober {
  readonly #healthOf: (worker: number) => HealthOptions
  readonly #bakeMs: () => number
  readonly #tryOn: (worker: number) => Try
  readonly #post: (event: Extract<WorkerEvent, { type: 'probed' }>) => void
  readonly #series = new Map<number, Series>()
  /** What is not begun now; null: all is. */
  #asleep: Map<number, SavedSeries> | null = null

  constructor(options: {
    healthOf: (worker: number) => HealthOptions
    /** A watch begins with the bake, and asks less often when that has passed. */
    bakeMs: () => number
    /** How this worker is asked once. */
    tryOn: (worker: number) => Try
    post: (event: Extract<WorkerEvent, { type: 'probed' }>) => void
  }) {
    this.#healthOf = options.healthOf
    this.#bakeMs = options.bakeMs
    this.#tryOn = options.tryOn
    this.#post = options.post
  }

  start(worker: number, mode: ProbeMode): void {
    this.stop(worker)
    const bakedAt = mode === 'watch' ? now() + this.#bakeMs() : null
    this.#begin(worker, { bakedAt, attempts: 0, successes: 0, failures: 0 })
  }

  #begin(worker: number, saved: SavedSeries): void {
    if (this.#asleep !== null) {
      this.#asleep.set(worker, saved)
      return
    }
    const series = new Series(this.#healthOf(worker), saved, this.#tryOn(worker), ({ passed, reason, attempts }) => {
      if (passed) this.#series.delete(worker)
      this.#post({ type: 'probed', worker, passed, reason, attempts })
    })
    this.#series.set(worker, series)
  }

  stop(worker: number): void {
    this.#asleep?.delete(worker)
    this.#series.get(worker)?.stop()
    this.#series.delete(worker)
  }

  /** An attempt that is under way counts for nothing: it is begun anew. */
  save(): SavedProber {
    return [...(this.#asleep ?? []), ...[...this.#series].map(([worker, series]) => [worker, series.save()] as const)]
  }

  /** Asks nobody, until `resume`. */
  suspend(): void {
    const asleep = new Map(this.save())
    this.close()
    this.#asleep = asleep
  }

  resume(saved: SavedProber = this.save()): void {
    this.#asleep = null
    for (const [worker, series] of saved) this.#begin(worker, series)
  }

  close(): void {
    for (const worker of [...this.#series.keys()]) this.stop(worker)
  }
}

interface Outcome {
  readonly passed: boolean
  readonly reason: string | null
  readonly attempts: number
}

/** The attempts on one worker, one after the other: at any time there is either one that runs or a timer for the next. */
class Series {
  readonly #health: HealthOptions
  /** null: it has to prove itself first. */
  readonly #bakedAt: number | null
  readonly #begin: Try
  readonly #tell: (outcome: Outcome) => void
  #attempt: { stop(): void } | undefined
  #timer: NodeJS.Timeout | undefined
  #isTrying = false
  #attempts: number
  #successes: number
  #failures: number

  constructor(health: HealthOptions, saved: SavedSeries, begin: Try, tell: (outcome: Outcome) => void) {
    this.#health = health
    this.#bakedAt = saved.bakedAt
    this.#attempts = saved.attempts
    this.#successes = saved.successes
    this.#failures = saved.failures
    this.#begin = begin
    this.#tell = tell
    this.#try()
  }

  save(): SavedSeries {
    const attempts = this.#isTrying ? this.#attempts - 1 : this.#attempts
    return { bakedAt: this.#bakedAt, attempts, successes: this.#successes, failures: this.#failures }
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#attempt?.stop()
  }

  #try(): void {
    this.#attempts++
    this.#isTrying = true
    this.#attempt = this.#begin((answer) => this.#answered(answer))
  }

  #answered(answer: Answer): void {
    this.#isTrying = false
    this.#successes = answer === null ? this.#successes + 1 : 0
    this.#failures = answer === null ? 0 : this.#failures + 1
    const { successes, failures, intervalMs, livenessMs = intervalMs } = this.#health
    const isProving = this.#bakedAt === null
    if (isProving && this.#successes >= successes) return this.#say(true, null)
    this.#timer = setTimeout(
      () => this.#try(),
      this.#bakedAt === null || now() < this.#bakedAt ? intervalMs : livenessMs,
    )
    if (answer !== null && (isProving || this.#failures % failures === 0)) this.#say(false, answer)
  }

  #say(passed: boolean, reason: string | null): void {
    this.#tell({ passed, reason, attempts: this.#attempts })
  }
}
