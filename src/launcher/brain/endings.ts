import type { Draft } from './draft.js'
import { type Ending, reasonOf } from './ending.js'
import { disownAll, listenFor } from './listeners.js'
import { abortReload } from './reload.js'
import { addExit, pauseMs } from './restart-policy.js'
import { failStart } from './start.js'
import type { Worker } from './state.js'

/** What follows the end of a worker: a failed start, an aborted reload, a respawn, or just one process less. */
export function workerEnded(draft: Draft, worker: Worker, how: Ending): void {
  const { state } = draft
  delete state.workers[worker.id]
  if (worker.failure !== null) {
    const { run } = state
    if (state.phase === 'starting') failStart(draft, worker, how)
    else if (run !== null && run.to === worker.generation && !run.committed)
      abortReload(draft, run, reasonOf(worker, how), how.stderr)
    else if (worker.generation === state.working) countExit(draft, worker)
  }
  endGeneration(draft, worker.generation)
}

function countExit(draft: Draft, worker: Worker): void {
  const slot = draft.state.slots[worker.slot]
  if (slot !== undefined) slot.tally = addExit(slot.tally, draft.at)
}

/** A generation that was replaced, or given up, is over with its last worker. */
function endGeneration(draft: Draft, number: number): void {
  const { state } = draft
  if (
    state.generations[number] === undefined ||
    number === state.working ||
    number === state.run?.to ||
    draft.of(number).length > 0
  )
    return
  disownAll(draft, number)
  delete state.generations[number]
  draft.do({ do: 'forget', generation: number })
}

/**
 * Settled after each event: every slot of the working generation has a worker, or a pause before its next start. A respawn starts what the
 * directory holds now, so it is held and proven like a candidate before it serves.
 */
export function settleSlots(draft: Draft): void {
  const { state } = draft
  if (!isSettled(draft)) return
  const workers = draft.of(state.working)
  state.slots.forEach((slot, number) => {
    if (slot.pausing || workers.some((worker) => worker.slot === number)) return
    const ms = pauseMs(slot.tally)
    if (ms === 0) draft.spawn(state.working as number, number, 'respawn')
    else {
      slot.pausing = true
      draft.timer(`respawn:${number}`, ms)
      draft.log('warn', 'slot.paused', { slot: number, ms, exits: slot.tally.exits.length })
    }
  })
  for (const worker of workers) {
    if (worker.role !== 'respawn' || worker.state !== 'ready' || draft.awaits(worker, 'admit')) continue
    listenFor(draft, [worker])
    draft.order(worker, { type: 'admit' })
  }
}

/** The pause of a slot is over: it is started again, unless a reload has filled it meanwhile. */
export function pauseOver(draft: Draft, slot: number): void {
  const { slots, working } = draft.state
  const record = slots[slot]
  if (record === undefined) return
  record.pausing = false
  if (isSettled(draft) && !draft.of(working).some((worker) => worker.slot === slot))
    draft.spawn(working as number, slot, 'respawn')
}

/** Whether the working generation is to be kept whole: not before it serves, not while another takes over, not at the end. */
function isSettled({ state }: Draft): boolean {
  return state.phase === 'running' && state.working !== null && state.run?.step !== 'handover'
}
