import type { Draft } from './draft.js'
import type { WorkerEvent } from './events.js'
import { leave } from './lanes.js'
import type { Relief, Slot, Worker } from './state.js'

/**
 * A worn worker, above --max-memory or --max-age, is relieved by another one of its generation: that is started in the same slot, is held and
 * proven like any respawn, and when it serves the old one leaves. One at a time, and none while there is more important work: whoever is still
 * worn then is reported again.
 */

/*
 * In looks of the launcher (--limit-interval): a minute of them, and an hour. A worker that is above --max-memory so soon after it began to serve has
 * not leaked: the limit is too low for it. It serves for as long before it is relieved all the same, twice as long each time. After a relief that
 * failed the pause is the same.
 */
const FEW_LOOKS = 6
const MANY_LOOKS = 360

export function worn(draft: Draft, worker: Worker, event: Extract<WorkerEvent, { type: 'worn' }>): void {
  const { state, at } = draft
  const slot = state.slots[worker.slot]
  // After an undo it may have both orders before it still, and pause once more.
  const isPausing = draft.awaits(worker, 'pause') || draft.awaits(worker, 'resume')
  if (slot === undefined || slot.working !== worker.generation || worker.stuck || isPausing) return
  const lived = at - (worker.since ?? Number.NEGATIVE_INFINITY)
  if (event.why === 'memory' && lived < event.everyMs * FEW_LOOKS) tellTooBig(draft, worker, event)
  const { early = 0, until = 0 } = slot.wear ?? {}
  if (!isQuiet(draft) || at < until || (worker.isTooBig === true && lived < pauseMs(event.everyMs, early))) return
  // The slot has seen the end of this: whoever comes next may have to wait for longer.
  slot.wear = { early: worker.isTooBig === true ? early + 1 : 0, failed: slot.wear?.failed ?? 0, until: 0 }
  const fresh = draft.spawn(worker.generation, worker.slot, 'respawn')
  state.relief = { old: worker.id, fresh: fresh.id, why: event.why, everyMs: event.everyMs, isDone: false }
  draft.log('info', 'worker.worn', { ...place(worker), why: event.why, is: event.is, limit: event.limit })
}

/** Settled after each event, before anything that a relief must not meet. */
export function settleRelief(draft: Draft): void {
  const { state } = draft
  const { relief } = state
  if (relief === undefined) return
  const old = state.workers[relief.old]
  if (relief.isDone) {
    // The next one may need the memory of this one.
    if (old === undefined) delete state.relief
    return
  }
  const fresh = state.workers[relief.fresh]
  if (fresh === undefined || isLeaving(fresh)) return failed(draft, relief, old)
  // It has ended, or leaves for another reason: what was its relief is its respawn.
  if (state.phase !== 'running' || old?.state !== 'serving') delete state.relief
  else if (fresh.state === 'serving') done(draft, relief, old, fresh)
  else if ((state.waiting !== null || state.upgradeWaiting !== null) && !draft.awaits(fresh, 'admit')) {
    // A reload brings another one for it anyway, and needs the memory; after an upgrade there may be one at once.
    draft.kill(fresh, null)
    delete state.relief
  }
}

/** It is about to serve: a reload, or an upgrade, waits for that moment, or there would be two to take the slot over from. */
export function isRelieving(draft: Draft): boolean {
  const { relief, workers } = draft.state
  const fresh = workers[relief?.fresh ?? -1]
  return relief !== undefined && !relief.isDone && fresh !== undefined && draft.awaits(fresh, 'admit')
}

function done(draft: Draft, relief: Relief, old: Worker, fresh: Worker): void {
  const slot = draft.state.slots[fresh.slot]
  if (slot?.wear !== undefined) slot.wear = { ...slot.wear, failed: 0 }
  relief.isDone = true
  draft.log('info', 'worker.relieved', { ...place(old), by: fresh.pid, why: relief.why })
  leave(draft, old)
}

/** The old one serves on: worn is better than nobody. */
function failed(draft: Draft, relief: Relief, old: Worker | undefined): void {
  const slot = old === undefined ? undefined : draft.state.slots[old.slot]
  delete draft.state.relief
  if (slot === undefined || old === undefined || old.state !== 'serving') return
  const { early = 0, failed: before = 0 } = slot.wear ?? {}
  const ms = pauseMs(relief.everyMs, before)
  slot.wear = { early, failed: before + 1, until: draft.at + ms }
  draft.log('warn', 'worker.not-relieved', { ...place(old), why: relief.why, ms })
}

/** Said once of a generation, however many of its workers are. */
function tellTooBig(draft: Draft, worker: Worker, { is, limit }: { is: number; limit: number }): void {
  worker.isTooBig = true
  const generation = draft.generation(worker.generation)
  if (generation.isTooBig === true) return
  generation.isTooBig = true
  draft.log('error', 'worker.too-big', {
    ...place(worker),
    is,
    limit,
    text: 'it is above --max-memory right after its start, so the limit is too low for it: workers are replaced for it later each time',
  })
}

/** Nothing else is under way, and everybody is there who should be. */
function isQuiet(draft: Draft): boolean {
  const { phase, run, waiting, scale, upgrade, upgradeWaiting, relief, slots } = draft.state
  const orders = [run, waiting, scale, upgrade, upgradeWaiting]
  if (phase !== 'running' || relief !== undefined || orders.some((order) => order !== null)) return false
  const isServed = (slot: number): boolean =>
    draft.members.some((worker) => worker.slot === slot && worker.state === 'serving' && !worker.stuck)
  return slots.every((_: Slot, slot) => isServed(slot))
}

function isLeaving({ state }: Worker): boolean {
  return state === 'draining' || state === 'stopping' || state === 'exited'
}

function pauseMs(everyMs: number, times: number): number {
  return everyMs * Math.min(FEW_LOOKS * 2 ** times, MANY_LOOKS)
}

function place({ slot, generation, pid }: Worker): { slot: number; generation: number; pid: number | null } {
  return { slot, generation, pid }
}
