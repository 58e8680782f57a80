import type { Status, WorkerStatus } from '../control-protocol.js'
import { describeAge, describeBytes, describeDecimal } from './words.js'

/** One answer of the launcher, and when it came (milliseconds of the wall clock). */
export interface Look {
  readonly status: Status
  readonly at: number
}

/** Between columns. */
const GAP = '  '

interface Column {
  readonly title: string
  /** The lowest are left out first where the terminal is too narrow. */
  readonly worth: number
  readonly isNumber: boolean
  cell(slot: Status['slots'][number], worker: WorkerStatus | null): string
}

/**
 * One line per slot, with as many columns as there is room for. Rates: since `before`; without one the processor time is the average since the
 * start of the worker, and with `averages` the requests are, too.
 */
export function slotTable(
  look: Look,
  {
    before,
    width,
    pss,
    averages = false,
  }: { before: Look | null; width: number; pss: ReadonlyMap<number, number>; averages?: boolean },
): string[] {
  const { slots } = look.status
  if (slots.length === 0) return []
  let columns = columnsOf(look, { before, pss, averages }).map((column) => {
    const cells = slots.map((slot) => column.cell(slot, slot.worker))
    return { ...column, cells, isEmpty: cells.every((cell) => cell === '-') }
  })
  // Nobody has asked for it, or nobody may know.
  columns = columns.filter(({ worth, isEmpty }) => worth === ALWAYS || !isEmpty)
  const widthOf = ({ title, cells }: { title: string; cells: readonly string[] }): number =>
    Math.max(title.length, ...cells.map((cell) => cell.length))
  const total = (): number => columns.reduce((sum, column) => sum + widthOf(column) + GAP.length, -GAP.length)
  while (total() > width) {
    const least = columns.reduce((one, other) => (other.worth < one.worth ? other : one))
    if (least.worth === ALWAYS) break
    columns = columns.filter((column) => column !== least)
  }
  const row = (cellOf: (column: (typeof columns)[number]) => string): string =>
    columns
      .map((column) => {
        const cell = cellOf(column)
        return column.isNumber ? cell.padStart(widthOf(column)) : cell.padEnd(widthOf(column))
      })
      .join(GAP)
      .trimEnd()
  return [row(({ title }) => title), ...slots.map((_, index) => row(({ cells }) => cells[index] as string))]
}

const ALWAYS = 9

function columnsOf(
  { status, at }: Look,
  { before, pss, averages }: { before: Look | null; pss: ReadonlyMap<number, number>; averages: boolean },
): Column[] {
  const queues = queuesOf(status)
  const earlier = new Map(before?.status.slots.flatMap(({ worker }) => (worker === null ? [] : [[worker.pid, worker]])))
  const seconds = before === null ? 0 : (at - before.at) / 1_000
  const ofWorker =
    (text: (worker: WorkerStatus) => string | null): Column['cell'] =>
    (_, worker) =>
      (worker === null ? null : text(worker)) ?? '-'
  const column = (title: string, worth: number, isNumber: boolean, cell: Column['cell']): Column => ({
    title,
    worth,
    isNumber,
    cell,
  })
  return [
    column('slot', ALWAYS, true, ({ slot }) => String(slot)),
    column(
      'pid',
      ALWAYS,
      true,
      ofWorker(({ pid }) => String(pid)),
    ),
    column(
      'gen',
      8,
      true,
      ofWorker(({ generation }) => String(generation)),
    ),
    column('state', ALWAYS, false, (_, worker) => (worker === null ? 'no worker' : stateOf(worker))),
    column(
      'up',
      4,
      true,
      ofWorker(({ startedAt }) => describeAge(Math.max(0, at - Date.parse(startedAt)))),
    ),
    column(
      'memory',
      7,
      true,
      ofWorker(({ rss }) => (rss === null ? null : describeBytes(rss))),
    ),
    column(
      'pss',
      1,
      true,
      ofWorker(({ pid }) => {
        const bytes = pss.get(pid)
        return bytes === undefined ? null : describeBytes(bytes)
      }),
    ),
    column(
      'cpu',
      5,
      true,
      ofWorker((worker) => cpuOf(worker, earlier.get(worker.pid), seconds, at)),
    ),
    column(
      'conns',
      ALWAYS,
      true,
      ofWorker(({ connections }) => (connections === null ? null : String(connections))),
    ),
    column(
      'req/s',
      6,
      true,
      ofWorker((worker) => (averages ? averageOf(worker, at) : rateOf(worker, earlier.get(worker.pid), seconds))),
    ),
    column('queue', 3, true, ({ slot }) => String(queues.get(slot) ?? '-')),
    column(
      'lag',
      2,
      true,
      ofWorker(({ lagMs }) => (lagMs === null ? null : `${describeDecimal(lagMs)} ms`)),
    ),
  ]
}

function stateOf({ state, stuck }: WorkerStatus): string {
  return stuck === null ? state : `${state}, stuck`
}

function cpuOf(
  { cpuMs, startedAt }: WorkerStatus,
  before: WorkerStatus | undefined,
  seconds: number,
  at: number,
): string | null {
  if (cpuMs === null) return null
  const [ms, over] =
    before?.cpuMs == null || seconds <= 0
      ? [cpuMs, (at - Date.parse(startedAt)) / 1_000]
      : [cpuMs - before.cpuMs, seconds]
  return over <= 0 ? null : `${Math.round(Math.max(0, ms) / 10 / over)} %`
}

function rateOf({ requests }: WorkerStatus, before: WorkerStatus | undefined, seconds: number): string | null {
  if (requests === null || before?.requests == null || seconds <= 0) return null
  return describeDecimal(Math.max(0, requests - before.requests) / seconds)
}

/** While they are counted from the start on (`--metrics`). */
function averageOf({ requests, startedAt }: WorkerStatus, at: number): string | null {
  const seconds = (at - Date.parse(startedAt)) / 1_000
  return requests === null || seconds <= 0 ? null : describeDecimal(requests / seconds)
}

/** Connections that wait to be accepted, by slot, over all listeners. */
function queuesOf({ listeners }: Status): Map<number, number> {
  const queues = new Map<number, number>()
  // Of a UDP socket it is bytes.
  for (const { sockets } of listeners)
    for (const { slot, queue, dropped } of sockets)
      if (queue !== null && dropped === null) queues.set(slot, (queues.get(slot) ?? 0) + queue)
  return queues
}
