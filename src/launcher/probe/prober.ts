import type { HealthOptions } from '../../options.js'
import type { WorkerEvent } from '../brain/events.js'
import type { Answer } from './answer.js'

export type ProbeMode = 'prove' | 'watch'

/** Begins one attempt; `done` is called once, unless it is stopped before. */
export type Try = (done: (answer: Answer) => void) => { stop(): void }

/** Asks workers again and again: a candidate until it has proven itself, one that serves until it is told to stop. */
export class Prober {
  readonly #healthOf: (worker: number) => HealthOptions
  readonly #bakeMs: () => number
  readonly #tryOn: (worker: number) => Try
  readonly #post: (event: Extract<WorkerEvent, { type: 'probed' }>) => void
  readonly #series = new Map<number, Series>()

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
    const bakedAt = mode === 'watch' ? performance.now() + this.#bakeMs() : Number.POSITIVE_INFINITY
    const series = new Series(this.#healthOf(worker), bakedAt, this.#tryOn(worker), ({ passed, reason, attempts }) => {
      if (passed) this.#series.delete(worker)
      this.#post({ type: 'probed', worker, passed, reason, attempts })
    })
    this.#series.set(worker, series)
  }

  stop(worker: number): void {
    this.#series.get(worker)?.stop()
    this.#series.delete(worker)
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
  /** Infinity: never, it has to prove itself first. */
  readonly #bakedAt: number
  readonly #begin: Try
  readonly #tell: (outcome: Outcome) => void
  #attempt: { stop(): void } | undefined
  #timer: NodeJS.Timeout | undefined
  #attempts = 0
  #successes = 0
  #failures = 0

  constructor(health: HealthOptions, bakedAt: number, begin: Try, tell: (outcome: Outcome) => void) {
    this.#health = health
    this.#bakedAt = bakedAt
    this.#begin = begin
    this.#tell = tell
    this.#try()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#attempt?.stop()
  }

  #try(): void {
    this.#attempts++
    this.#attempt = this.#begin((answer) => this.#answered(answer))
  }

  #answered(answer: Answer): void {
    this.#successes = answer === null ? this.#successes + 1 : 0
    this.#failures = answer === null ? 0 : this.#failures + 1
    const { successes, failures, intervalMs, livenessMs = intervalMs } = this.#health
    const isProving = this.#bakedAt === Number.POSITIVE_INFINITY
    if (isProving && this.#successes >= successes) return this.#say(true, null)
    this.#timer = setTimeout(() => this.#try(), performance.now() < this.#bakedAt ? intervalMs : livenessMs)
    if (answer !== null && (isProving || this.#failures % failures === 0)) this.#say(false, answer)
  }

  #say(passed: boolean, reason: string | null): void {
    this.#tell({ passed, reason, attempts: this.#attempts })
  }
}
