import type { State, Worker } from '../brain/state.js'

/** Why the service is not ready, in words; null: every slot has somebody who accepts. */
export function notReady(state: State): string | null {
  const { phase, slots, listeners, workers } = state
  if (phase === 'starting') return 'starting'
  if (phase !== 'running') return 'stopping'
  const adopters = new Map(
    Object.values(listeners).flatMap(({ adoptedBy }) =>
      Object.entries(adoptedBy).map(([slot, worker]) => [Number(slot), worker] as const),
    ),
  )
  const all = Object.values(workers)
  const empty = slots.flatMap(({ working, isJoining }, slot) => {
    const own = all.some((worker) => worker.slot === slot && worker.generation === working && accepts(worker))
    const adopter = workers[adopters.get(slot) ?? -1]
    return isJoining || own || (adopter !== undefined && accepts(adopter)) ? [] : slot
  })
  return empty.length === 0 ? null : `nobody accepts in slot ${empty.join(', ')}`
}

function accepts({ state, stuck }: Worker): boolean {
  return state === 'serving' && !stuck
}
