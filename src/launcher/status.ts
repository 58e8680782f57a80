import type { LauncherState, Status, Verdict } from '../control-protocol.js'
import type { State, Worker } from './brain/state.js'
import type { Processes } from './processes.js'
import type { Sockets } from './sockets.js'

/** What `status` shows: the brain's state, with the facts that only the hands know (inodes, queues, start times). */
export function statusOf(
  state: State,
  facts: { name: string; version: string; sockets: Sockets; processes: Processes; lastReload: Verdict | null },
): Status {
  const workers = Object.values(state.workers)
  const shown = (slot: number): Worker | undefined =>
    workers.find((worker) => worker.slot === slot && worker.generation === (state.working ?? worker.generation))
  return {
    schema: 1,
    name: facts.name,
    pid: process.pid,
    version: facts.version,
    state: launcherState(state),
    term: state.term,
    working: state.working,
    generations: Object.values(state.generations).map(({ number, state: generationState }) => ({
      number,
      state: generationState,
      workers: workers.filter((worker) => worker.generation === number).map((worker) => worker.slot),
    })),
    slots: state.slots.map((_, slot) => {
      const worker = shown(slot)
      return {
        slot,
        worker:
          worker === undefined || worker.pid === null
            ? null
            : {
                pid: worker.pid,
                generation: worker.generation,
                state: worker.state,
                startedAt: (facts.processes.get(worker.id)?.startedAt ?? new Date(0)).toISOString(),
                text: facts.processes.get(worker.id)?.statusText ?? null,
              },
        adoptedBy: adopterOf(state, slot),
      }
    }),
    listeners: Object.values(state.listeners).map((listener) => ({
      address: listener.key,
      backlog: listener.backlog,
      sockets: Object.keys(listener.sockets)
        .map(Number)
        .map((slot) => ({ listener: listener.key, slot }))
        .filter((socket) => facts.sockets.has(socket))
        .map((socket) => ({
          slot: socket.slot,
          inode: facts.sockets.inode(socket),
          queue: facts.sockets.queue(socket),
          holders: [
            process.pid,
            ...workers.flatMap((worker) => (worker.pid !== null && holds(worker, socket) ? [worker.pid] : [])),
          ],
        })),
    })),
    steering: 'none',
    lastReload: facts.lastReload,
    warnings: [],
  }
}

function launcherState(state: State): LauncherState {
  if (state.phase === 'starting') return 'starting'
  if (state.phase !== 'running') return 'stopping'
  if (state.run !== null) return 'reloading'
  const serving = Object.values(state.workers).filter(
    (worker) => worker.generation === state.working && worker.state === 'serving',
  )
  return serving.length < state.settings.slots ? 'degraded' : 'serving'
}

function adopterOf(state: State, slot: number): number | null {
  for (const listener of Object.values(state.listeners)) {
    const adopter = state.workers[listener.adoptedBy[slot] ?? -1]
    if (adopter !== undefined) return adopter.slot
  }
  return null
}

function holds(worker: Worker, socket: { listener: string; slot: number }): boolean {
  const isOwn =
    Object.values(worker.claims).some((claim) => claim.listener === socket.listener) && worker.slot === socket.slot
  return isOwn || worker.spares.includes(`${socket.slot} ${socket.listener}`)
}
