import type { Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import { EventStream } from '../launcher/event-stream.js'
import { Launcher } from '../launcher/launcher.js'
import { type Notes, readNotes } from '../launcher/notebook.js'
import { holdersAmong, leftOf } from '../launcher/orphans.js'
import { openLog } from '../launcher/stderr.js'
import { type Visited, visit } from '../launcher/visit.js'
import type { Log } from '../log.js'
import { DEFAULTS, type LauncherOptions } from '../options.js'
import { addressOfKey, listenerKey } from '../protocol.js'
import { notesOf, takeRuntimeDir } from '../runtime-dir.js'
import { VERSION } from '../version.js'
import type { CommandLine } from './parse.js'
import { launcherName, text } from './values.js'

/** Workers whose launcher was killed, and that serve on. */
export interface Orphans {
  readonly name: string
  readonly runtimeDir: string | undefined
  readonly notes: Notes
  readonly pids: readonly number[]
}

/** undefined: there are none of this name. */
export function findOrphans({ values }: CommandLine, directory: string): Orphans | undefined {
  const name = launcherName(values, directory)
  const runtimeDir = text(values, 'runtime-dir')
  for (const path of notesOf(name, runtimeDir)) {
    const notes = readNotes(path)
    const pids = notes === null ? [] : holdersAmong(leftOf(notes), notes.inodes)
    if (notes !== null && pids.length > 0) return { name, runtimeDir, notes, pids }
  }
  return undefined
}

/** For an order that only a launcher can take. */
export function noLauncherBut({ name, pids, notes }: Orphans, cause: unknown): ReuseportError {
  const from = Object.values(notes.specs).at(-1)?.directory
  return new ReuseportError(
    'ERR_NO_LAUNCHER',
    `the launcher called ${JSON.stringify(name)} was killed; its workers serve on: pid ${pids.join(', ')}`,
    {
      facts: { name, pids: pids.map(String), startedFrom: from ?? null },
      next: `Start it again${from === undefined ? '' : ` in ${from}`}: it takes them over as they are. \`status\` and \`stop\` work without it.`,
      cause,
    },
  )
}

/** Takes them over, to end them as their launcher would. */
export async function stopOrphans({ name, runtimeDir, notes }: Orphans): Promise<void> {
  const real = openLog('text')
  const options: LauncherOptions = {
    ...DEFAULTS,
    ...notes.ends,
    name,
    runtimeDir,
    command: [process.execPath],
    workers: notes.asked,
  }
  const log: Log = (level, event, fields) => {
    if (level === 'error') real(level, event, fields)
  }
  const launcher = await Launcher.start(options, { log, events: new EventStream(), saveSignals: neverUpgraded })
  // Before anything is started in place of what is missing.
  launcher.stop()
  await launcher.ended
}

function neverUpgraded(): never {
  throw new Error('it only ends them')
}

/** What they say of themselves. Nothing changes by it. */
export async function statusOfOrphans({ name, runtimeDir, notes, pids }: Orphans, directory: string): Promise<Status> {
  const runtime = takeRuntimeDir(name, { runtimeDir, startedFrom: directory, visits: true, user: notes.ends.user })
  try {
    return composed(name, notes, pids, await visit(runtime, pids, notes.ends.user?.uid))
  } finally {
    runtime.release('notes')
  }
}

function composed(name: string, notes: Notes, pids: readonly number[], visited: readonly Visited[]): Status {
  const last = visited.map(({ rejoin }) => rejoin).sort((a, b) => b.term - a.term)[0]
  const silent = pids.filter((pid) => !visited.some((one) => one.pid === pid))
  const numbers = [...new Set(visited.map(({ rejoin }) => rejoin.generation))].sort((a, b) => a - b)
  const isWorking = (generation: number): boolean => generation === last?.working
  const keys = new Set(visited.flatMap(({ rejoin }) => rejoin.claims.map(({ address }) => listenerKey(address))))
  return {
    schema: 1,
    name,
    pid: null,
    version: VERSION,
    node: process.version,
    upgradedAt: null,
    startedAt: isoOf(Math.min(...visited.map(({ rejoin }) => rejoin.startedAt), Date.now())),
    state: 'orphaned',
    term: last?.term ?? 0,
    working: last?.working ?? null,
    generations: numbers.map((number) => ({
      number,
      state: isWorking(number) ? 'working' : 'retiring',
      workers: visited.flatMap(({ rejoin }) => (rejoin.generation === number ? rejoin.slot : [])),
    })),
    slots: Array.from({ length: notes.slots }, (_, slot) => {
      const found = visited.find(({ rejoin }) => rejoin.slot === slot && isWorking(rejoin.generation))
      return { slot, worker: found === undefined ? null : workerOf(found), adoptedBy: null }
    }),
    beside: [],
    standby: [],
    leaving: visited
      .filter(({ rejoin }) => rejoin.state === 'draining')
      .map(({ pid, rejoin: { slot, generation } }) => ({
        slot,
        pid,
        generation,
        state: 'draining',
        ms: null,
        leftMs: null,
        held: {},
      })),
    listeners: [...keys].map((address) => ({
      address,
      backlog: 0,
      shared: addressOfKey(address)?.kind === 'unix',
      activated: false,
      sockets: [],
    })),
    steering: 'none',
    scale: null,
    reload: null,
    lastReload: null,
    lastReloadAt: null,
    warnings: silent.map((pid) => ({
      code: 'silent',
      text: `pid ${pid} has sockets of this launcher, and does not come`,
    })),
  }
}

const isoOf = (ms: number): string => new Date(ms).toISOString()

const UNKNOWN = { connections: null, requests: null, lagMs: null, rss: null, cpuMs: null, text: null, stuck: null }

function workerOf({ pid, rejoin: { generation, state, startedAt } }: Visited): Status['slots'][number]['worker'] {
  const is = state === 'held' ? 'claimed' : state
  return { pid, generation, state: is, startedAt: isoOf(startedAt), ...UNKNOWN }
}
