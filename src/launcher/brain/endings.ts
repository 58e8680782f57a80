import { fail, isBaking } from './bake.js'
import type { Draft } from './draft.js'
import { type Ending, nameOf, reasonOf } from './ending.js'
import { leave } from './lanes.js'
import { admit, disownAll, forgetAdoptions } from './listeners.js'
import { addExit, pauseMs } from './restart-policy.js'
import { joinFailed } from './scale.js'
import { readySpare, settleStandby, sparePauseOver, takeSlot } from './standby.js'
import { failStart } from './start.js'
import { NO_SLOT, type Worker } from './state.js'

/** What follows the end of a worker: a failed start, a reload that is aborted or undone, a respawn, or just one process less. */
export function workerEnded(draft: Draft, worker: Worker, how: Ending): void {
  const { state } = draft
  delete state.workers[worker.id]
  if (worker.failure === null) return
  const { run } = state
  if (state.phase === 'starting') return failStart(draft, worker, how)
  if (run !== null && run.to === worker.generation) fail(draft, run, reasonOf(worker, how), how.stderr)
  joinFailed(draft, worker, reasonOf(worker, how))
  const slot = state.slots[worker.slot]
  const at = worker.slot === NO_SLOT ? state.standby : slot?.working === worker.generation ? slot : null
  if (at !== null) at.tally = addExit(at.tally, draft.at)
}

/** Its process is dead or as good as dead, though its end is not there yet: a wrapper holds it. The bake does not wait for that. */
export function workerLost(draft: Draft, worker: Worker, why: string): void {
  const { run } = draft.state
  if (run !== null && isBaking(draft, worker)) fail(draft, run, `${nameOf(worker)} ${why}`, [])
}

/** Settled after each event: a generation that was replaced, or given up, is over with its last worker. */
export function settleGenerations(draft: Draft): void {
  const { generations, slots, run, phase } = draft.state
  if (phase === 'starting') return
  for (const { number } of Object.values(generations)) {
    const isNeeded = slots.some((slot) => slot.working === number) || number === run?.from || number === run?.to
    if (isNeeded || draft.of(number).length > 0) continue
    disownAll(draft, number)
    delete generations[number]
    draft.do({ do: 'forget', generation: number })
  }
}

/**
 * Settled after each event: every slot has a worker of its working generation, or a pause before its next start. A respawn starts what the
 * directory holds now, so it is held and proven like a candidate before it serves.
 */
export function settleSlots(draft: Draft): void {
  replaceStuck(draft)
  settleStandby(draft)
  killHung(draft)
  const workers = draft.members
  draft.state.slots.forEach((slot, number) => {
    if (slot.pausing || !isSettled(draft, number) || workers.some((worker) => fills(worker, number))) return
    const ms = pauseMs(slot.tally)
    if (ms === 0) {
      const generation = slot.working as number
      if (!takeSlot(draft, number, generation)) draft.spawn(generation, number, 'respawn')
    } else {
      slot.pausing = true
      draft.timer(`respawn:${number}`, ms)
      draft.log('warn', 'slot.paused', { slot: number, ms, exits: slot.tally.exits.length })
    }
  })
  for (const worker of workers) {
    if (worker.role !== 'respawn' || !isSettled(draft, worker.slot)) continue
    if (worker.state === 'ready' && worker.proof === 'proven') admit(draft, [worker])
  }
}

/**
 * One that was told to resume and has not said so in time gives its slot up, as soon as a sibling can carry on: when it comes to itself it
 * finishes what it has. While there is no sibling it is the best there is.
 */
function replaceStuck(draft: Draft): void {
  if (draft.state.phase !== 'running' || draft.state.run !== null) return
  const { members } = draft
  if (!members.some((worker) => worker.state === 'serving' && !worker.stuck)) return
  for (const worker of members) {
    if (worker.state !== 'paused' || !worker.stuck || !draft.awaits(worker, 'resume')) continue
    draft.log('warn', 'worker.replaced', {
      slot: worker.slot,
      generation: worker.generation,
      pid: worker.pid,
      reason: 'it has not resumed in time',
    })
    leave(draft, worker)
  }
}

/**
 * One that has not come back in all this time is killed, and its slot started again: what it has in hand is lost, and would be for as long
 * as it hangs. But only while another worker is well: a fault that has stopped them all would only stop the next ones (reliability.md E-02).
 */
function killHung(draft: Draft): void {
  if (draft.state.phase !== 'running') return
  const { members } = draft
  let isReplaced = false
  const isAnyWell = members.some((worker) => worker.state === 'serving' && !worker.stuck)
  for (const worker of members) {
    // A spare takes the place of one, where that is not a reload's to fill.
    const hasSpare = !isReplaced && isSettled(draft, worker.slot) && readySpare(draft, worker.generation) !== undefined
    if (!isAnyWell && !hasSpare) continue
    if (worker.hung === null || (worker.state !== 'serving' && worker.state !== 'paused')) continue
    draft.log('error', 'worker.hung', {
      slot: worker.slot,
      generation: worker.generation,
      pid: worker.pid,
      reason: worker.hung,
    })
    forgetAdoptions(draft, worker)
    draft.kill(worker, worker.hung)
    isReplaced = true
  }
}

/** A worker that drains leaves its slot to the next one at once: it may take as long as its clients. */
function fills(worker: Worker, slot: number): boolean {
  return worker.slot === slot && worker.state !== 'draining'
}

/** The pause of a slot is over: it is started again, unless a reload has filled it meanwhile. */
export function pauseOver(draft: Draft, number: number): void {
  if (number === NO_SLOT) return sparePauseOver(draft)
  const slot = draft.state.slots[number]
  if (slot === undefined) return
  slot.pausing = false
  if (isSettled(draft, number) && !draft.members.some((worker) => fills(worker, number)))
    draft.spawn(slot.working as number, number, 'respawn')
}

/** Whether a slot is to be kept filled: not before it serves, not while another generation takes it over or is judged, not at the end. */
function isSettled({ state }: Draft, slot: number): boolean {
  const { phase, run, slots } = state
  if (phase !== 'running' || slots[slot]?.working == null) return false
  if (run === null) return true
  if (run.undo !== null) return false
  if (run.step === 'handover' && !run.committed && run.deferred === null) return !run.batch.includes(slot)
  // A death in the bake is the end of it. Only where nothing can be gone back to is a new worker started again.
  return slots[slot].working !== run.to || run.kept
}
