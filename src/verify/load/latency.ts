/** Buckets grow by 2 %: percentiles are right to 1 % in memory that does not grow with the number of requests. */
const GROWTH = Math.log(1.02)
const SMALLEST_MS = 0.01

export interface LatencySummary {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export class Latencies {
  readonly #counts = new Map<number, number>()
  #total = 0
  #max = 0

  add(ms: number): void {
    const index = Math.max(0, Math.round(Math.log(ms / SMALLEST_MS) / GROWTH))
    this.#counts.set(index, (this.#counts.get(index) ?? 0) + 1)
    this.#total++
    if (ms > this.#max) this.#max = ms
  }

  /** null when nothing was measured. */
  summary(): LatencySummary | null {
    if (this.#total === 0) return null
    return { p50: this.#quantile(0.5), p99: this.#quantile(0.99), max: round(this.#max) }
  }

  #quantile(q: number): number {
    let left = Math.ceil(this.#total * q)
    for (const index of [...this.#counts.keys()].sort((a, b) => a - b)) {
      left -= this.#counts.get(index) as number
      if (left <= 0) return round(Math.min(this.#max, SMALLEST_MS * Math.exp(index * GROWTH)))
    }
    return round(this.#max)
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100
}
