import type { Figures } from '../../figures.js'
import { TIME_BUCKETS, timeOfBucket } from '../../protocol.js'
import type { Told } from '../figure-files.js'
import { type Check, fieldsOf, isAnything, isNumber, isText, isWhole, listOf, pairsOf } from '../shape.js'
import { type Family, type MetricType, seriesOf } from './exposition.js'
import { Growing, SAVED_GROWING, type SavedGrowing } from './growing.js'
import { appFamilies } from './registry-families.js'
import { counterOf, own, partsOf } from './sums.js'
import { isOurs, METRICS } from './table.js'

const FIGURES: Check = fieldsOf({
  thread: isWhole,
  answered: fieldsOf({
    connections: isWhole,
    responses: isWhole,
    errors: isWhole,
    times: listOf(isWhole),
    ms: isNumber,
  }),
  loop: fieldsOf({ activeMs: isNumber, idleMs: isNumber }),
  heapUsed: isNumber,
  registries: listOf(isAnything),
})

/** Shorter times say too much of the moment in which they were taken. */
const LOOP_MS = 1_000

export interface SavedWorkerFigures {
  readonly growing: SavedGrowing
  /** Of the program's metrics that grow: type and help, by name. */
  readonly families: readonly (readonly [string, readonly [MetricType, string]])[]
}
export const SAVED_WORKER_FIGURES: Check = fieldsOf({
  growing: SAVED_GROWING,
  families: pairsOf(isText, listOf(isText)),
})

/** What is known of one thread that listens, and does not grow. */
interface Thread {
  readonly pid: number
  readonly heapUsed: number
  readonly loop: { readonly activeMs: number; readonly idleMs: number }
  /** Between the last two looks; null: there were not two. */
  readonly utilization: number | null
  /** Of the program's metrics: family, series, value. */
  readonly gauges: readonly (readonly [string, string, number])[]
}

/** What the workers say of themselves, over the end of each of them. */
export class WorkerFigures {
  readonly #growing: Growing
  readonly #families: Map<string, readonly [MetricType, string]>
  readonly #threads = new Map<string, Thread>()

  constructor(saved?: SavedWorkerFigures) {
    this.#growing = new Growing(saved?.growing)
    this.#families = new Map(saved?.families)
  }

  /** Of a worker in this slot. What makes no sense is left out: the program may have written it. */
  told({ pid, text }: Told, slot: number): void {
    const figures = parse(text)
    if (figures === null) return
    const source = `${pid}/${figures.thread}`
    for (const [counter, value] of answeredOf(figures, slot)) this.#growing.take(source, counter, value)
    const gauges: [string, string, number][] = []
    for (const { name, type, help, values } of appFamilies(figures.registries, slot)) {
      if (isOurs(name)) continue
      this.#families.set(name, [type, help])
      for (const { series, value, grows } of values) {
        if (grows) this.#growing.take(source, counterOf(name, series), value)
        else gauges.push([name, series, value])
      }
    }
    const { heapUsed, loop } = figures
    const before = this.#threads.get(source)
    this.#threads.set(source, { pid, heapUsed, gauges, ...loopOf(loop, before) })
  }

  /** Processor time, or anything else that a process counts from its start on. */
  take(pid: number, counter: string, value: number): void {
    this.#growing.take(String(pid), counter, value)
  }

  /** All other processes have gone. */
  keep(isThere: (pid: number) => boolean): void {
    this.#growing.keep((source) => isThere(Number.parseInt(source, 10)))
    for (const [source, { pid }] of this.#threads) if (!isThere(pid)) this.#threads.delete(source)
  }

  /** Of one process, over its threads; null: not known. */
  loopAndHeap(pid: number): { readonly utilization: number | null; readonly heapUsed: number } | null {
    const threads = [...this.#threads.values()].filter((thread) => thread.pid === pid)
    if (threads.length === 0) return null
    const known = threads.flatMap(({ utilization }) => utilization ?? [])
    return {
      utilization: known.length === 0 ? null : Math.max(...known),
      heapUsed: threads.reduce((sum, { heapUsed }) => sum + heapUsed, 0),
    }
  }

  /** What grows: ours, by family. */
  get own(): ReadonlyMap<string, number> {
    return new Map([...this.#growing.sums()].filter(([counter]) => isOurs(partsOf(counter).family)))
  }

  /** The program's own metrics; of those that do not grow, what these processes say. */
  app(pids: ReadonlySet<number>): Family[] {
    const values = new Map<string, Map<string, number>>()
    const put = (family: string, series: string, value: number): void => {
      const all = values.get(family) ?? new Map<string, number>()
      // Threads of one process have one slot.
      all.set(series, (all.get(series) ?? 0) + value)
      values.set(family, all)
    }
    for (const [counter, value] of this.#growing.sums()) {
      const { family, series } = partsOf(counter)
      if (!isOurs(family)) put(family, series, value)
    }
    for (const { pid, gauges } of this.#threads.values())
      if (pids.has(pid)) for (const [family, series, value] of gauges) put(family, series, value)
    return [...values].map(([name, all]) => {
      const [type, help] = this.#families.get(name) ?? ['untyped', '']
      return { name, type, help, values: all }
    })
  }

  save(): SavedWorkerFigures {
    return { growing: this.#growing.save(), families: [...this.#families] }
  }
}

function parse(text: string): Figures | null {
  try {
    const figures: unknown = JSON.parse(text)
    return FIGURES(figures, '') === null ? (figures as Figures) : null
  } catch {
    // It has ended while it wrote.
    return null
  }
}

function loopOf(loop: Figures['loop'], before: Thread | undefined): Pick<Thread, 'loop' | 'utilization'> {
  if (before === undefined) return { loop, utilization: null }
  const active = loop.activeMs - before.loop.activeMs
  const all = active + loop.idleMs - before.loop.idleMs
  if (all < LOOP_MS) return before
  return { loop, utilization: Math.min(1, Math.max(0, active / all)) }
}

function answeredOf({ answered }: Figures, slot: number): [string, number][] {
  const { connections = 0, responses, errors, times = [], ms } = answered
  const counts: [string, number][] = [
    [own('reuseport_connections_accepted_total', { slot }), connections],
    [own('reuseport_http_responses_total', { slot }), responses],
    [own('reuseport_http_errors_total', { slot }), errors],
  ]
  const name = 'reuseport_http_response_duration_seconds'
  const bucket = (le: number | string): string => counterOf(name, seriesOf(`${name}_bucket`, { le, slot }))
  for (const most of METRICS[name]?.buckets ?? []) counts.push([bucket(most), upTo(times, most * 1_000)])
  const timed = upTo(times, Number.POSITIVE_INFINITY)
  counts.push([bucket('+Inf'), timed])
  counts.push([counterOf(name, seriesOf(`${name}_sum`, { slot })), ms / 1_000])
  counts.push([counterOf(name, seriesOf(`${name}_count`, { slot })), timed])
  return counts
}

/** Answers that took so long at most. The last bucket of the workers has no upper end. */
function upTo(times: readonly number[], ms: number): number {
  return times.reduce(
    (sum, count, bucket) =>
      sum + (ms === Number.POSITIVE_INFINITY || (bucket < TIME_BUCKETS - 1 && timeOfBucket(bucket) <= ms) ? count : 0),
    0,
  )
}
