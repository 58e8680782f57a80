import type {
  LauncherState,
  LeavingWorker,
  ReloadPhase,
  ReloadProgress,
  Status,
  Verdict,
  WorkerStatus,
} from '../control-protocol.js'
import type { Held } from '../protocol.js'
import type { Load } from './agents.js'
import { canaryReport } from './brain/canary-report.js'
import { NO_SLOT, type Run, type State, type Worker } from './brain/state.js'
import { usageOf } from './process-usage.js'
import type { Processes } from './processes.js'
import type { Sockets } from './sockets.js'

/** What `status` shows: the brain's state, with the facts that only the hands know (inodes, queues, start times). */
export function statusOf(
  state: State,
  facts: {
    name: string
    version: string
    startedAt: string
    upgradedAt: string | null
    sockets: Sockets
    processes: Processes
    lastReload: Verdict | null
    lastReloadAt: Date | null
    /** Connections of a draining worker, by kind. */
    held: (worker: number) => Held
    loads: ReadonlyMap<number, Load>
    warnings: Status['warnings']
    now: number
  },
): Status {
  const workers = Object.values(state.workers)
  const shown = (slot: number): Worker | undefined => {
    const there = workers.filter(
      (worker) => worker.slot === slot && worker.generation === (state.slots[slot]?.working ?? worker.generation),
    )
    return (
      there.find((worker) => worker.state === 'serving' || worker.state === 'paused') ??
      there.find((worker) => worker.state !== 'draining' && worker.state !== 'stopping') ??
      there[0]
    )
  }
  return {
    schema: 1,
    name: facts.name,
    pid: process.pid,
    version: facts.version,
    node: process.version,
    startedAt: facts.startedAt,
    upgradedAt: facts.upgradedAt,
    state: launcherState(state),
    term: state.term,
    working: state.working,
    generations: Object.values(state.generations).map(({ number, state: generationState }) => ({
      number,
      state: generationState,
      workers: workers
        .filter(({ generation, slot }) => generation === number && slot !== NO_SLOT)
        .map(({ slot }) => slot),
    })),
    slots: state.slots.map((_, slot) => {
      const worker = shown(slot)
      return {
        slot,
        worker: worker === undefined || worker.pid === null ? null : workerOf({ ...worker, pid: worker.pid }, facts),
        adoptedBy: adopterOf(state, slot),
      }
    }),
    beside: workers.flatMap((worker) =>
      worker.slot === NO_SLOT || worker.pid === null || worker === shown(worker.slot)
        ? []
        : { slot: worker.slot, ...workerOf({ ...worker, pid: worker.pid }, facts) },
    ),
    standby: workers
      .filter(({ slot, pid }) => slot === NO_SLOT && pid !== null)
      .map(({ pid, generation, state: workerState, proof }) => ({
        pid: pid as number,
        generation,
        isReady: workerState === 'ready' && proof === 'proven',
      })),
    leaving: workers
      .filter(({ slot }) => slot !== NO_SLOT)
      .filter(({ state: workerState }) => workerState === 'draining' || workerState === 'stopping')
      .map((worker) => leavingOf(state, worker, facts)),
    listeners: Object.values(state.listeners).map((listener) => ({
      address: listener.key,
      backlog: listener.backlog,
      shared: listener.shared,
      activated: facts.sockets.isGiven(listener.key),
      sockets: Object.keys(listener.sockets)
        .map(Number)
        .map((slot) => ({ listener: listener.key, slot }))
        .filter((socket) => facts.sockets.has(socket))
        .map((socket) => ({
          slot: socket.slot,
          inode: facts.sockets.inode(socket),
          queue: facts.sockets.queue(socket),
          dropped: facts.sockets.dropped(socket),
          parked: state.parked[socket.slot] !== undefined,
          holders: [
            process.pid,
            ...workers.flatMap((worker) =>
              worker.pid !== null && holds(worker, socket, listener.shared) ? [worker.pid] : [],
            ),
            ...(state.parked[socket.slot]?.holders ?? []),
          ],
        })),
    })),
    steering: state.steers ? 'cbpf' : 'none',
    scale: state.scale === null ? null : { from: state.scale.from, to: state.scale.to },
    reload: state.run === null ? null : progressOf(state, state.run, facts.now),
    lastReload: facts.lastReload,
    lastReloadAt: facts.lastReloadAt?.toISOString() ?? null,
    warnings: facts.warnings,
  }
}

function workerOf(
  { id, pid, generation, state, stuck, doubt }: Worker & { pid: number },
  { processes, loads }: { processes: Processes; loads: ReadonlyMap<number, Load> },
): WorkerStatus {
  const process = processes.get(id)
  const { connections = null, requests = null, lagMs = null } = loads.get(id) ?? {}
  const { rss = null, cpuMs = null } = usageOf(pid) ?? {}
  return {
    pid,
    generation,
    state,
    startedAt: (process?.startedAt ?? new Date(0)).toISOString(),
    connections,
    requests,
    lagMs,
    rss,
    cpuMs,
    text: process?.statusText ?? null,
    stuck: stuck ? (doubt ?? 'it has not answered an order in time') : null,
  }
}

function leavingOf(
  { settings }: State,
  { id, slot, pid, generation, state, drainsSince }: Worker,
  { held, now }: { held: (worker: number) => Held; now: number },
): LeavingWorker {
  const ms = drainsSince === null ? null : Math.round(now - drainsSince)
  const leftMs = ms === null || state !== 'draining' ? null : Math.max(0, settings.drainTimeoutMs - ms)
  return { slot, pid, generation, state, ms, leftMs, held: held(id) }
}

function launcherState(state: State): LauncherState {
  if (state.phase === 'starting') return 'starting'
  if (state.phase !== 'running') return 'stopping'
  if (state.run !== null) return state.run.step === 'bake' ? 'baking' : 'reloading'
  const serving = Object.values(state.workers).filter(
    (worker) => worker.generation === state.slots[worker.slot]?.working && worker.state === 'serving' && !worker.stuck,
  )
  return serving.length < state.slots.filter(({ isJoining }) => !isJoining).length ? 'degraded' : 'serving'
}

function adopterOf(state: State, slot: number): number | null {
  for (const listener of Object.values(state.listeners)) {
    const adopter = state.workers[listener.adoptedBy[slot] ?? -1]
    if (adopter !== undefined) return adopter.slot
  }
  return null
}

function holds(worker: Worker, socket: { listener: string; slot: number }, isShared: boolean): boolean {
  const isOwn = Object.values(worker.claims).some((claim) => claim.listener === socket.listener)
  return (
    (isOwn && (isShared || worker.slot === socket.slot)) || worker.spares.includes(`${socket.slot} ${socket.listener}`)
  )
}

function progressOf(state: State, run: Run, now: number): ReloadProgress {
  return {
    id: run.id,
    step: run.undo?.step ?? run.step,
    from: run.from,
    to: run.to,
    ms: Math.round(now - run.startedAt),
    canary: canaryOf(state, run, now),
    waiting: state.waiting?.length ?? 0,
    slots: state.slots.map((_, slot) => {
      const entry = run.workers.find((one) => one.slot === slot)
      const worker = state.workers[entry?.newId ?? -1]
      const old = Object.values(state.workers).find((one) => one.slot === slot && one.generation === run.from)
      const phase = entry === undefined ? 'waiting' : phaseOf(run, slot, worker)
      return { slot, oldPid: entry?.oldPid ?? old?.pid ?? null, newPid: entry?.newPid ?? null, phase }
    }),
  }
}

function canaryOf({ workers }: State, run: Run, now: number): ReloadProgress['canary'] {
  const report = canaryReport(run, now)
  if (
    report === null ||
    !Object.values(workers).some(({ role, generation }) => role === 'canary' && generation === run.to)
  )
    return null
  const isWatched = report.ms !== null && report.promoted === null
  const leftMs = isWatched ? Math.max(0, (run.canary?.plan.forMs ?? 0) - (report.ms ?? 0)) : null
  return { ...report, leftMs }
}

function phaseOf(run: Run, slot: number, worker: Worker | undefined): ReloadPhase {
  switch (worker?.state) {
    case undefined:
    case 'exited':
      return 'ended'
    case 'spawned':
      return 'starting'
    case 'ready':
      return worker.proof === 'probing' ? 'probing' : 'ready'
    case 'serving':
      if (!run.batch.includes(slot)) return 'done'
      return run.step === 'bake' ? 'baking' : 'serving'
    case 'draining':
    case 'stopping':
      return 'leaving'
    default:
      return 'claimed'
  }
}
