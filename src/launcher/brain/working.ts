import type { Draft } from './draft.js'

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
  if (before !== null) draft.generation(before).state = 'paused'
  for (const worker of draft.workers) {
    if (worker.state === 'serving' || worker.state === 'paused' || worker.state === 'draining')
      draft.order(worker, { type: 'term', term: state.term, working: number })
  }
}
