import type { WarmupOptions } from '../options.js'
import type { Agents } from './agents.js'
import type { WorkerEvent } from './brain/events.js'

/** The workers that are being warmed up. */
export class WarmUps {
  readonly #plan: WarmupOptions
  readonly #agents: Agents
  readonly #post: (event: WorkerEvent) => void
  readonly #running = new Map<number, { stop(): void }>()

  constructor(plan: WarmupOptions, agents: Agents, post: (event: WorkerEvent) => void) {
    this.#plan = plan
    this.#agents = agents
    this.#post = post
  }

  start(worker: number): void {
    this.stop(worker)
    const { WarmUp } = require('./probe/warm-up.js') as typeof import('./probe/warm-up.js')
    const run = new WarmUp(this.#plan, this.#agents.wayTo(worker, this.#plan.port), (report) => {
      this.#running.delete(worker)
      this.#post({ type: 'warmed', worker, report })
    })
    this.#running.set(worker, run)
  }

  stop(worker: number): void {
    this.#running.get(worker)?.stop()
    this.#running.delete(worker)
  }

  close(): void {
    for (const worker of [...this.#running.keys()]) this.stop(worker)
  }
}
