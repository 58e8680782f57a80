import type { Draft } from './draft.js'
import { inherit } from './listeners.js'
import { EMPTY_TALLY } from './restart-policy.js'

/** The one place where the working generation changes: a new term, told to every worker. */
export function makeWorking(draft: Draft, number: number): void {
  const { state } = draft
  const before = state.working
  state.term += 1
  state.working = number
  const generation = draft.generation(number)
  generation.state = 'working'
  generation.listeners = [
    ...new Set(draft.of(number).flatMap((worker) => Object.values(worker.claims).map((claim) => claim.listener))),
  ]
  if (before !== null) {
    draft.generation(before).state = 'paused'
    inherit(draft, before, number)
  }
  // What the old version did to a slot is not held against the new one; a pause that still runs would delay its first respawn.
  state.slots.forEach((slot, index) => {
    if (slot.pausing) draft.cancel(`respawn:${index}`)
    slot.pausing = false
    slot.tally = EMPTY_TALLY
  })
  for (const worker of draft.workers) {
    if (worker.state === 'serving' || worker.state === 'paused' || worker.state === 'draining')
      draft.order(worker, { type: 'term', term: state.term, working: number })
  }
}
