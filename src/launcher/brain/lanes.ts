import { isDatagram, type ListenerKey } from '../../protocol.js'
import type { Draft } from './draft.js'
import { isResuming, listensOn } from './listeners.js'
import type { Worker } from './state.js'

/**
 * Where the idle connections of a worker that leaves go: by a lane, one per listener, to the worker that serves in its slot now. The two
 * settle between them what moves; nothing of it passes through the launcher, which may die meanwhile.
 */

/** Drains a worker. It hears of its lanes before: what it says to a client depends on them. */
export function leave(draft: Draft, worker: Worker): void {
  layLanes(draft, worker)
  draft.drain(worker, false)
}

/** The same of one that nobody takes the place of: it accepts what waits for it before. */
export function leaveForGood(draft: Draft, worker: Worker): void {
  layLanes(draft, worker)
  draft.drain(worker, true)
}

/** Settled after each event: one that drains, and whose receiver has gone, gets the next one. */
export function settleLanes(draft: Draft): void {
  for (const worker of draft.workers)
    if (worker.state === 'draining' || movesInBake(draft, worker)) layLanes(draft, worker)
}

/** --bake-migrate: it has paused, and what is idle goes to the version on trial, as new connections do. An undo brings back what lives. */
function movesInBake({ state: { run, settings } }: Draft, { state, generation, slot }: Worker): boolean {
  if (!settings.bakeMigrate || run === null || run.step !== 'bake' || run.undo !== null) return false
  return state === 'paused' && generation === run.from && run.batch.includes(slot)
}

function layLanes(draft: Draft, worker: Worker): void {
  const { phase, settings } = draft.state
  if (phase !== 'running' || !settings.migrate) return
  for (const { listener, listening } of Object.values(worker.claims)) {
    if (!listening || isDatagram(listener) || hasReceiver(draft, worker, listener)) continue
    const receiver = receiverFor(draft, worker, listener)
    if (receiver === undefined) continue
    worker.lanes[listener] = receiver.id
    draft.do({ do: 'lane', listener, from: worker.id, to: receiver.id })
  }
}

/** One that pauses takes on what comes: it has a successor of its own. One that drains does not. */
function hasReceiver({ state }: Draft, worker: Worker, listener: ListenerKey): boolean {
  const receiver = state.workers[worker.lanes[listener] ?? -1]
  return receiver !== undefined && (receiver.state === 'serving' || receiver.state === 'paused')
}

/** The worker of its own slot, else the one that has the fewest to take. */
function receiverFor(draft: Draft, worker: Worker, listener: ListenerKey): Worker | undefined {
  const able = draft.members.filter((other) => other.id !== worker.id && takes(draft, other, listener))
  // What is about to go itself takes only what nobody else can.
  const staying = able.filter(({ slot }) => slot < (draft.state.scale?.to ?? Number.POSITIVE_INFINITY))
  const takers = staying.length > 0 ? staying : able
  const burden = (taker: Worker): number =>
    draft.workers.filter((other) => Object.values(other.lanes).includes(taker.id)).length
  return (
    takers.find(({ slot }) => slot === worker.slot) ??
    takers.sort((a, b) => burden(a) - burden(b) || a.slot - b.slot)[0]
  )
}

function takes(draft: Draft, other: Worker, listener: ListenerKey): boolean {
  const serves = (other.state === 'serving' && !other.stuck && !draft.awaits(other, 'pause')) || isResuming(other)
  return serves && listensOn(other, listener) && !isOnTrial(draft, other)
}

/** What has moved dies with who has it: not to a version that may still turn out to be bad, unless that was asked for. */
function isOnTrial({ state: { run, settings } }: Draft, { generation, slot }: Worker): boolean {
  if (settings.bakeMigrate && run?.step === 'bake') return false
  if (run === null || run.undo !== null || run.kept || run.to !== generation) return false
  return run.step !== 'retire' && run.batch.includes(slot)
}
