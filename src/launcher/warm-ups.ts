import type { WarmupOptions } from '../options.js'
import type { Agents } from './agents.js'
import type { WorkerEvent } from './brain/events.js'

/** The workers that are being warmed up. */
export class WarmUps {
  readonly #plan: WarmupOptions
  readonly #agents: Agents
  readonly #post: (event: WorkerEvent) => void
  readonly #running = new Map<number, { stop(): void }>()
  /** Those that are not begun now; null: all are. */
  #asleep: Set<number> | null = null

  constructor(plan: WarmupOptions, agents: Agents, post: (event: WorkerEvent) => void) {
    this.#plan = plan
    this.#agents = agents
    this.#post = post
  }

  start(worker: number): void {
    this.stop(worker)
    if (this.#asleep !== null) return void this.#asleep.add(worker)
    const { WarmUp } = require('./probe/warm-up.js') as typeof import('./probe/warm-up.js')
    const run = new WarmUp(this.#plan, this.#agents.wayTo(worker, this.#plan.port), (report) => {
      this.#running.delete(worker)
      this.#post({ type: 'warmed', worker, report })
    })
    this.#running.set(worker, run)
  }

  stop(worker: number): void {
    this.#asleep?.delete(worker)
    this.#running.get(worker)?.stop()
    this.#running.delete(worker)
  }

  /** Whoever is being warmed up; it begins anew. */
  save(): number[] {
    return [...(this.#asleep ?? []), ...this.#running.keys()]
  }

  /** Begins none, until `resume`. */
  suspend(): void {
    const asleep = new Set(this.save())
    this.close()
    this.#asleep = asleep
  }

  resume(saved: readonly number[] = this.save()): void {
    this.#asleep = null
    for (const worker of saved) this.start(worker)
  }

  close(): void {
    for (const worker of [...this.#running.keys()]) this.stop(worker)
  }
}
