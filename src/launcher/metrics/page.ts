import { readdirSync } from 'node:fs'
import type { Status } from '../../control-protocol.js'
import { readMigrations, readNetworkCounters } from '../../kernel-counters.js'
import type { Sockets } from '../sockets.js'
import { type Family, type Labels, seriesOf } from './exposition.js'
import { partsOf } from './sums.js'
import { METRICS } from './table.js'
import type { WorkerFigures } from './worker-figures.js'

/** What one scrape shows. */
export interface Facts {
  readonly status: Status
  readonly isReady: boolean
  readonly states: ReadonlyMap<string, number>
  readonly counts: ReadonlyMap<string, number>
  readonly figures: WorkerFigures
  readonly sockets: Pick<Sockets, 'room'>
  /** Threads of workers that did not answer. */
  readonly missing: number
}

/** Our own families, in the order of the table, and after them those of the program. */
export function pageOf(facts: Facts): Family[] {
  const values = new Map<string, Map<string, number>>(Object.keys(METRICS).map((name) => [name, new Map()]))
  const set = (name: string, value: number | null | undefined, labels: Labels = {}): void => {
    if (value != null) values.get(name)?.set(seriesOf(name, labels), value)
  }
  launcher(facts, set)
  for (const { slot, worker } of facts.status.slots) if (worker !== null) workerOf(facts, slot, worker, set)
  listeners(facts, set)
  for (const counts of [facts.counts, facts.figures.own])
    for (const [counter, value] of counts) {
      const { family, series } = partsOf(counter)
      values.get(family)?.set(series, value)
    }
  const ours = Object.entries(METRICS).map(([name, { type, help }]) => ({
    name,
    type,
    help,
    values: bySlot(values.get(name) as Map<string, number>),
  }))
  const pids = new Set(facts.status.slots.flatMap(({ worker }) => worker?.pid ?? []))
  return [...ours, ...facts.figures.app(pids)]
}

/** Whoever was heard of first would come first. */
function bySlot(values: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const slotOf = (series: string): number => Number(/[{,]slot="(\d+)"/.exec(series)?.[1] ?? 0)
  return new Map([...values].sort(([one], [other]) => slotOf(one) - slotOf(other)))
}

type Set = (name: string, value: number | null | undefined, labels?: Labels) => void

function launcher({ status, isReady, states, missing }: Facts, set: Set): void {
  const { version, node, startedAt, working, warnings, lastReload, lastReloadAt } = status
  set('reuseport_info', 1, { version, node })
  set('reuseport_start_time_seconds', Date.parse(startedAt) / 1_000)
  set('reuseport_ready', Number(isReady))
  set('reuseport_generation', working)
  for (const [state, count] of states) set('reuseport_workers', count, { state })
  for (const { code } of warnings) set('reuseport_warning', 1, { code })
  if (lastReload !== null) set('reuseport_last_reload_success', Number(lastReload.result === 'done'))
  if (lastReloadAt !== null) set('reuseport_last_reload_timestamp_seconds', Date.parse(lastReloadAt) / 1_000)
  const kernel = readNetworkCounters()
  set('reuseport_listen_drops_total', kernel?.ListenDrops)
  set('reuseport_listen_overflows_total', kernel?.ListenOverflows)
  const migrations = readMigrations()
  set('reuseport_tcp_migrate_success_total', migrations?.success)
  set('reuseport_tcp_migrate_failure_total', migrations?.failure)
  set('reuseport_scrape_missing_workers', missing)
}

type Shown = NonNullable<Status['slots'][number]['worker']>

function workerOf({ figures }: Facts, slot: number, worker: Shown, set: Set): void {
  const { pid, connections, lagMs, rss, startedAt } = worker
  set('reuseport_connections', connections, { slot })
  set('process_resident_memory_bytes', rss, { slot })
  set('process_open_fds', openFilesOf(pid), { slot })
  set('process_start_time_seconds', Date.parse(startedAt) / 1_000, { slot })
  set('nodejs_eventloop_lag_seconds', lagMs === null ? null : lagMs / 1_000, { slot })
  const { utilization = null, heapUsed = null } = figures.loopAndHeap(pid) ?? {}
  set('nodejs_eventloop_utilization', utilization, { slot })
  set('nodejs_heap_size_used_bytes', heapUsed, { slot })
}

function listeners({ status, sockets }: Facts, set: Set): void {
  for (const { address: listener, sockets: all } of status.listeners)
    for (const { slot, dropped } of all) {
      const room = sockets.room({ listener, slot })
      set('reuseport_accept_queue_length', room?.length, { listener, slot })
      set('reuseport_accept_queue_limit', room?.limit, { listener, slot })
      set('reuseport_udp_dropped_datagrams', dropped, { listener, slot })
    }
}

/** null: it has ended, or is another user's. */
function openFilesOf(pid: number): number | null {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return null
  }
}
