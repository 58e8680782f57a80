import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Refusal } from '../control-protocol.js'
import type { State } from './brain/state.js'

/**
 * Whether a reload's overlap fits into the memory that is left: old and new workers at a time. What a new one will need nobody knows; it is taken
 * for as large as the largest of the old ones. Loaded with --memory-check.
 */

/** Share of the last 10 s (%) in which somebody waited for memory (PSI, "some avg10") above which nothing more is started. */
const MOST_PRESSURE = 10

interface Room {
  readonly bytes: number
  /** Whose limit it is. */
  readonly limit: string
}

/** null: it fits, as far as anybody can tell. `root`: where /proc and /sys are. */
export function memoryRefusal(state: State, root = ''): Refusal | null {
  const { settings, slots, run } = state
  const { strategy, surge } = settings
  const workers = (strategy === 'all' ? slots.length : (surge ?? 1)) + (run?.canary == null ? 0 : 1)
  const perWorker = Math.max(0, ...servingPids(state).map((pid) => ownMemory(pid, root)))
  const needed = perWorker * workers
  const room = roomOf(root)
  const pressure = pressureOf(root)
  const isTight = pressure !== null && pressure > MOST_PRESSURE
  if (!isTight && (room === null || needed <= room.bytes)) return null
  const facts = {
    workers,
    perWorker,
    needed,
    ...(room === null ? {} : { available: room.bytes, limit: room.limit }),
    ...(pressure === null ? {} : { someAvg10: pressure }),
  }
  const reason = isTight
    ? `processes wait for memory (${pressure} % of the last 10 s; at most ${MOST_PRESSURE} % is allowed)`
    : `${workers} more ${workers === 1 ? 'worker needs' : 'workers need'} ${inMegabytes(needed)}, and ${inMegabytes(room?.bytes ?? 0)} are left (${room?.limit})`
  return { code: 'ERR_MEMORY', reason, facts, next: nextOf(strategy, surge) }
}

function nextOf(strategy: 'all' | 'rolling', surge: number | null): string {
  if (strategy === 'rolling' && (surge ?? 1) === 1)
    return 'Run fewer workers (reuseport-run scale), or give it more memory.'
  return 'Go slot by slot: --strategy rolling --surge 1, which a reload reads from the config file; or run fewer workers (reuseport-run scale).'
}

function servingPids({ workers, slots }: State): number[] {
  return Object.values(workers).flatMap(({ pid, slot, generation, state }) =>
    pid !== null && state === 'serving' && slots[slot]?.working === generation ? pid : [],
  )
}

/** What it does not share with the next one: no pages of files. */
function ownMemory(pid: number, root: string): number {
  const status = read(`${root}/proc/${pid}/status`) ?? ''
  return [...status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)].reduce((sum, [, kb]) => sum + Number(kb) * 1_024, 0)
}

/** The least of all that limits us: this machine, and every control group (v2) from ours up. */
function roomOf(root: string): Room | null {
  const free = /^MemAvailable:\s+(\d+) kB$/m.exec(read(`${root}/proc/meminfo`) ?? '')?.[1]
  const machine = free === undefined ? [] : [{ bytes: Number(free) * 1_024, limit: 'MemAvailable' }]
  const rooms = [...machine, ...groupsOf(root).flatMap(roomIn)]
  return rooms.sort((a, b) => a.bytes - b.bytes)[0] ?? null
}

function groupsOf(root: string): string[] {
  const path = /^0::(\/.*)$/m.exec(read(`${root}/proc/self/cgroup`) ?? '')?.[1]
  if (path === undefined) return []
  const groups: string[] = []
  for (let at = path; ; at = dirname(at)) {
    groups.push(join(root, '/sys/fs/cgroup', at))
    if (at === '/') return groups
  }
}

/** What the kernel would take back before it kills or throttles is left, too. */
function roomIn(group: string): Room[] {
  const used = Number(read(join(group, 'memory.current')) ?? Number.NaN)
  if (Number.isNaN(used)) return []
  const cache = Number(/^inactive_file (\d+)$/m.exec(read(join(group, 'memory.stat')) ?? '')?.[1] ?? 0)
  return ['memory.max', 'memory.high'].flatMap((name) => {
    const limit = read(join(group, name))?.trim()
    if (limit === undefined || limit === 'max') return []
    return { bytes: Math.max(0, Number(limit) - used + cache), limit: join(group, name) }
  })
}

/** Of our control group; of the machine where that has none. */
function pressureOf(root: string): number | null {
  const paths = [...groupsOf(root).map((group) => join(group, 'memory.pressure')), `${root}/proc/pressure/memory`]
  for (const path of paths) {
    const share = /^some avg10=([\d.]+)/m.exec(read(path) ?? '')?.[1]
    if (share !== undefined) return Number(share)
  }
  return null
}

function inMegabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MB`
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
