import type { Verdict } from '../../control-protocol.js'
import type { Event } from '../brain/events.js'
import { NO_SLOT, type State, type Worker } from '../brain/state.js'
import { type Check, isNumber, isText, pairsOf } from '../shape.js'
import { type Counter, observed, own } from './sums.js'

export type SavedCounts = readonly (readonly [Counter, number])[]
export const SAVED_COUNTS: Check = pairsOf(isText, isNumber)

const RESULTS: readonly Verdict['result'][] = ['done', 'aborted', 'undone', 'stopped']
const REASONS = ['crash', 'oom', 'unhealthy', 'reload', 'max_age', 'max_memory'] as const
type Reason = (typeof REASONS)[number]

/** What has happened since the launcher began, as numbers: known by comparing the brain's state before and after each event. */
export class Counts {
  readonly #counts: Map<Counter, number>

  constructor(saved: SavedCounts = []) {
    this.#counts = new Map(saved)
    // What is not there yet would be a gap, and an increase from nothing is none to Prometheus.
    for (const result of RESULTS) this.#add(own('reuseport_reloads_total', { result }), 0)
    this.#addAll(observed('reuseport_reload_duration_seconds', null))
    this.#addAll(observed('reuseport_drain_duration_seconds', null))
    for (const name of ['moved', 'closed', 'forced'] as const)
      this.#add(own(`reuseport_drain_${name}_connections_total`), 0)
  }

  /** `last`: the last verdict that was given. */
  stepped(event: Event, before: State, after: State, last: Verdict | null): void {
    after.slots.forEach((slot, number) => {
      const was = before.slots[number]?.working
      if (was === slot.working && number < before.slots.length) return
      for (const reason of REASONS) this.#add(restart(number, reason), 0)
      if (was != null && slot.working !== null && slot.working > was) this.#add(restart(number, 'reload'), 1)
    })
    const { relief } = after
    if (relief?.isDone === true && (before.relief?.fresh !== relief.fresh || !before.relief.isDone)) {
      const slot = after.workers[relief.fresh]?.slot
      if (slot !== undefined) this.#add(restart(slot, `max_${relief.why}`), 1)
    }
    if (event.type === 'exited') this.#ended(event, before, after)
    if (event.type === 'drained') this.#drained(event, before.workers[event.worker])
    const { run } = before
    if (run === null || run.id === after.run?.id || last?.id !== run.id) return
    this.#add(own('reuseport_reloads_total', { result: last.result }), 1)
    this.#addAll(observed('reuseport_reload_duration_seconds', Math.max(0, event.at - run.startedAt) / 1_000))
  }

  /** Whoever was not to end has an entry in the tally of its slot then. */
  #ended({ at, worker, oomKill }: Extract<Event, { type: 'exited' }>, before: State, after: State): void {
    const record = before.workers[worker]
    if (record === undefined || record.slot === NO_SLOT) return
    if (after.slots[record.slot]?.tally.exits.includes(at) !== true) return
    this.#add(restart(record.slot, oomKill === true ? 'oom' : isUnwell(record) ? 'unhealthy' : 'crash'), 1)
  }

  #drained({ at, outcome }: Extract<Event, { type: 'drained' }>, worker: Worker | undefined): void {
    if (worker?.drainsSince == null) return
    this.#addAll(observed('reuseport_drain_duration_seconds', Math.max(0, at - worker.drainsSince) / 1_000))
    this.#add(own('reuseport_drain_moved_connections_total'), outcome.moved ?? 0)
    this.#add(own('reuseport_drain_closed_connections_total'), outcome.ended + outcome.closed)
    this.#add(own('reuseport_drain_forced_connections_total'), outcome.cut)
  }

  get all(): ReadonlyMap<Counter, number> {
    return this.#counts
  }

  save(): SavedCounts {
    return [...this.#counts]
  }

  #add(counter: Counter, more: number): void {
    this.#counts.set(counter, (this.#counts.get(counter) ?? 0) + more)
  }

  #addAll(counters: readonly (readonly [Counter, number])[]): void {
    for (const [counter, more] of counters) this.#add(counter, more)
  }
}

function restart(slot: number, reason: Reason): Counter {
  return own('reuseport_worker_restarts_total', { slot, reason })
}

/** The launcher has given it up: its event loop stood still, or its health check failed. */
function isUnwell({ failure, hung }: Worker): boolean {
  return hung !== null || failure !== null
}
