import type { Refusal } from '../../control-protocol.js'
import { COUNT_EVERY_MS, fail, giveUpOne, tooManyErrors } from './bake.js'
import { servedBy } from './canary-report.js'
import type { Draft } from './draft.js'
import { disownGone } from './listeners.js'
import { park } from './parking.js'
import type { Caller, Canary, Counts, Run, Worker } from './state.js'

/**
 * The first part of a reload that is asked for with --canary: one candidate, in a slot of its own beyond the others, gets a share of the new
 * connections and is watched. When its time has passed, or when it is promoted, the reload goes on with all slots; it serves on until they
 * have baked. Whatever it does wrong undoes the reload. It adopts nothing and takes no idle connections: nothing reaches it but its share.
 */

/** p95 is only compared when both sides have given so many answers: the first ones of a new process are slow. */
const LEAST_TIMED = 500
/** Times below this are all the same, in ms: twice as long as next to nothing is no fault. */
const LEAST_TIME_MS = 5

/** Why there can be no canary. `isShared`: others are in one of our groups. */
export function whyNoCanary({ state, listeners }: Draft, isShared = false): Refusal | null {
  if (!state.settings.agent)
    return {
      reason: 'with --listen nobody can hold a worker back, so it has no share that could be set',
      facts: { agent: false },
      next: 'Reload without --canary (a bake undoes a version that ends, too).',
    }
  if (!state.steers)
    return {
      reason: 'the kernel takes no steering program here, so no share of the connections can be set',
      facts: { steering: 'none' },
      next: 'A seccomp filter forbids SO_ATTACH_REUSEPORT_CBPF: allow it, or reload without --canary (a bake undoes a bad version, too).',
    }
  if (isShared)
    return {
      reason: 'another process listens on one of our ports, so no share of the connections is certain',
      facts: { shared: true },
      next: '`reuseport-run status` names it: stop it, or reload without --canary.',
    }
  if (state.phase === 'running' && !listeners.some(({ shared }) => !shared))
    return {
      reason:
        'the program listens on no TCP port, and a unix socket is one queue for all workers; so is a socket that systemd has given',
      facts: { listeners: listeners.length },
      next: 'Reload without --canary.',
    }
  return null
}

/** The last one who asked for a canary says what it is like. */
export function newCanary(draft: Draft, callers: readonly Caller[]): Canary | null {
  const plan = callers.flatMap(({ canary }) => canary ?? []).at(-1)
  if (plan === undefined) return null
  return { plan, slot: freeSlot(draft), since: null, promoted: null, ms: null, counts: {} }
}

/** A slot that nothing is left of: what a sibling still accepts from cannot be the canary's alone. */
function freeSlot(draft: Draft): number {
  const { slots, parked } = draft.state
  const isFree = (slot: number): boolean =>
    parked[slot] === undefined &&
    draft.listeners.every(({ sockets }) => sockets[slot] === undefined) &&
    draft.workers.every((worker) => worker.slot !== slot)
  let slot = slots.length
  while (!isFree(slot)) slot += 1
  return slot
}

/** It has been admitted. */
export function beginCanary(draft: Draft, run: Run, canary: Canary): void {
  const { share, by, forMs: ms } = canary.plan
  const worker = canaryOf(draft, run)
  run.step = 'canary'
  canary.since = draft.at
  draft.timer(`canary:${run.id}`, ms)
  draft.log('info', 'canary.serving', { id: run.id, slot: canary.slot, pid: worker?.pid, share, by, ms })
  if (worker !== undefined && draft.state.settings.probes) draft.do({ do: 'probe', worker: worker.id, mode: 'watch' })
}

/** Its time has passed. */
export function canaryOver(draft: Draft, id: number): void {
  const { run } = draft.state
  if (run !== null && run.id === id) promote(draft, run, 'time')
}

/** `reload --promote`: the caller gets the verdict of the reload. False: there is no canary. */
export function requestPromotion(draft: Draft, caller: Caller): boolean {
  const { run } = draft.state
  if (run === null || !isWatched(run)) return false
  run.callers.push(caller)
  promote(draft, run, 'order')
  return true
}

function promote(draft: Draft, run: Run, by: 'time' | 'order'): void {
  const { canary } = run
  if (canary?.since == null || !isWatched(run)) return
  canary.promoted = by
  canary.ms = Math.round(draft.at - canary.since)
  draft.cancel(`canary:${run.id}`)
  const { responses, errors } = servedBy(run, canary, true)
  if (responses === 0) run.notes.push('the canary gave no HTTP answer that could be judged')
  draft.log('info', 'canary.promoted', { id: run.id, by, ms: canary.ms, responses, errors })
}

function isWatched(run: Run): boolean {
  return run.step === 'canary' && run.undo === null && run.canary !== null && run.canary.promoted === null
}

/** A canary whose run does not want it any more leaves: its socket as that of a slot that is gone, its connections to the others. */
export function settleCanary(draft: Draft): void {
  const { phase, parked, run, slots } = draft.state
  if (phase !== 'running') return
  const wanted = run !== null && run.undo === null && run.deferred === null ? run.canary : null
  const sockets = draft.listeners.flatMap((listener) => Object.keys(listener.sockets).map(Number))
  const left = [...new Set(sockets)].filter(
    (slot) => slot >= slots.length && slot !== wanted?.slot && parked[slot] === undefined,
  )
  for (const slot of left) park(draft, slot)
  if (left.length > 0) disownGone(draft)
  for (const worker of draft.workers) {
    const isLeaving = worker.state === 'draining' || worker.state === 'stopping'
    if (worker.role === 'canary' && !isLeaving && (wanted === null || worker.generation !== run?.to))
      giveUpOne(draft, worker)
  }
  settleCounting(draft)
}

/** While it is watched every worker that serves says what it has answered; not a moment longer. */
function settleCounting(draft: Draft): void {
  const { run } = draft.state
  const isAsked = run !== null && isWatched(run)
  for (const worker of draft.workers) {
    if (worker.state !== 'serving' || worker.isCounted === isAsked) continue
    worker.isCounted = isAsked
    draft.order(worker, { type: 'count', everyMs: isAsked ? COUNT_EVERY_MS : 0 })
  }
}

/** Notes what a worker has answered, and judges the canary. */
export function canaryAnswered(draft: Draft, worker: Worker, counts: Counts): void {
  const { run } = draft.state
  if (run === null || run.canary === null || !isWatched(run)) return
  const { canary } = run
  canary.counts[worker.id] = counts
  const [own, others] = [servedBy(run, canary, true), servedBy(run, canary, false)]
  const { max5xx, maxLatency } = canary.plan
  const most = max5xx ?? draft.state.settings.bakeMax5xx
  const errors = most === null ? null : tooManyErrors(own, most)
  if (errors !== null) return fail(draft, run, `of the canary's ${errors}`, [])
  if (maxLatency === null || own.p95Ms === null || others.p95Ms === null) return
  if (Math.min(own.responses, others.responses) < LEAST_TIMED) return
  const bound = maxLatency * Math.max(others.p95Ms, LEAST_TIME_MS)
  if (own.p95Ms <= bound) return
  const times = `95 % of its answers took up to ${own.p95Ms} ms, those of the others ${others.p95Ms} ms`
  fail(draft, run, `the canary is slow: ${times}; at most ${maxLatency} times as long is allowed`, [])
}

export function canaryOf(draft: Draft, run: Run): Worker | undefined {
  return draft.workers.find((worker) => worker.role === 'canary' && worker.generation === run.to)
}
