import { ftruncateSync, writeSync } from 'node:fs'
import type { Server } from 'node:net'
import { performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import { threadId } from 'node:worker_threads'
import { type Figures as Content, MOST_FIGURES_BYTES } from '../figures.js'
import type { Native } from '../native.js'
import { Counting } from './counting.js'
import { readRegistries } from './registries.js'

/** What this thread knows of itself, written into a file of the launcher's when that asks. There is none of it unless it has. */
export class Figures {
  readonly #native: Native
  readonly #counting = new Counting()
  #fd: number | undefined
  #registries: readonly unknown[] = []

  constructor(native: Native) {
    this.#native = native
  }

  /** From now on here; owns the descriptor. */
  into(fd: number): void {
    if (this.#fd !== undefined) this.#native.close(this.#fd)
    this.#fd = fd
  }

  /** What these answer is counted. */
  follow(servers: readonly Server[]): void {
    this.#counting.follow(servers)
  }

  /** HTTP answers since it was first asked. */
  get responses(): number {
    return this.#counting.counts.responses
  }

  /** Rejects with what is wrong with the program's registries: then they are as they were. */
  async write(withinMs: number): Promise<void> {
    try {
      this.#registries = await readRegistries(withinMs)
    } finally {
      this.writeNow()
    }
  }

  /** Without asking the program. */
  writeNow(): void {
    if (this.#fd === undefined) return
    const { counts, ms } = this.#counting
    const { active, idle } = performance.eventLoopUtilization()
    const content: Content = {
      thread: threadId,
      answered: { ...counts, ms: Number(ms.toFixed(3)) },
      loop: { activeMs: Math.round(active), idleMs: Math.round(idle) },
      heapUsed: getHeapStatistics().used_heap_size,
      registries: this.#registries,
    }
    const data = Buffer.from(JSON.stringify(content, (_, value: unknown) => asText(value)))
    if (data.length > MOST_FIGURES_BYTES) throw new RangeError(`its metrics take ${data.length} bytes`)
    for (let at = 0; at < data.length; ) at += writeSync(this.#fd, data, at, data.length - at, at)
    ftruncateSync(this.#fd, data.length)
  }
}

/** NaN and the infinities as Prometheus writes them. */
function asText(value: unknown): unknown {
  if (typeof value !== 'number' || Number.isFinite(value)) return value
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
