import type { Draft } from './draft.js'
import { inherit } from './listeners.js'
import { EMPTY_TALLY } from './restart-policy.js'

/**
 * The one place where the working generation of slots changes: a new term, told to every worker there. Forward it is a handover,
 * backward an undo.
 */
export function makeWorking(draft: Draft, number: number, slots: readonly number[]): void {
  const { state } = draft
  const generation = draft.generation(number)
  state.term += 1
  // What its predecessor had when *it* became working is what a successor must claim. An undo changes nothing of that.
  if (slots.some((index) => (state.slots[index]?.working ?? 0) < number)) {
    generation.listeners = [
      ...new Set([
        ...generation.listeners,
        ...draft.of(number).flatMap((worker) => Object.values(worker.claims).map((claim) => claim.listener)),
      ]),
    ]
    if (state.working !== null) inherit(draft, state.working, number)
  }
  generation.state = 'working'
  for (const index of slots) {
    const slot = state.slots[index]
    if (slot === undefined) continue
    slot.working = number
    slot.term = state.term
    // What the other version did to a slot is not held against this one; a pause that still runs would delay its first respawn.
    if (slot.pausing) draft.cancel(`respawn:${index}`)
    slot.pausing = false
    slot.tally = EMPTY_TALLY
  }
  if (state.slots.every((slot) => slot.working === number)) {
    const before = state.working
    state.working = number
    const other = before === null ? undefined : state.generations[before]
    if (before !== number && other?.state === 'working') other.state = 'paused'
  }
  tellTerm(draft, slots)
}

/** The last word of these slots, to every worker there. */
export function tellTerm(draft: Draft, slots: readonly number[]): void {
  for (const worker of draft.workers) {
    const speaks = worker.state === 'serving' || worker.state === 'paused' || worker.state === 'draining'
    const slot = draft.state.slots[worker.slot]
    if (speaks && slot?.working != null && slots.includes(worker.slot))
      draft.order(worker, { type: 'term', term: slot.term, working: slot.working })
  }
}
