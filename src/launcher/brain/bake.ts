import type { Draft } from './draft.js'
import { leave } from './lanes.js'
import { acceptAgain, disownAll, forgetAdoptions, isResuming } from './listeners.js'
import type { Run, Worker } from './state.js'
import { answer, verdictOf } from './verdict.js'
import { makeWorking } from './working.js'

/**
 * The time after a handover in which the old generation is kept, paused, to be gone back to: the bake, and what ends it before its time.
 * A failure before the handover costs the candidates and nothing else; one after it gives the service back (design.md §5).
 */

/** A share says little about few answers: fewer than these are judged as if they were so many. One stray 500 undoes nothing at 1 %. */
const LEAST_RESPONSES = 100
/** A slot that has just been handed over is watched for this long at least, however many slots share the bake. */
const LEAST_BAKE_MS = 1_000
/** How often a worker says how many answers it has given. */
export const COUNT_EVERY_MS = 200

/** How long the batch that was just handed over bakes: with 'rolling' its share. */
export function bakeMsOf(draft: Draft, run: Run): number {
  const { settings, slots } = draft.state
  const { bakeMs } = settings
  if (bakeMs === 0) return 0
  return Math.max(Math.ceil((bakeMs * run.batch.length) / slots.length), Math.min(bakeMs, LEAST_BAKE_MS))
}

export function beginBake(draft: Draft, run: Run): void {
  const { settings } = draft.state
  const ms = bakeMsOf(draft, run)
  run.step = 'bake'
  draft.timer(`bake:${run.id}`, ms)
  draft.log('info', 'reload.baking', { id: run.id, from: run.from, to: run.to, ms })
  for (const worker of inBatch(draft, run, run.to)) {
    if (settings.probes) draft.do({ do: 'probe', worker: worker.id, mode: 'watch' })
    if (settings.bakeMax5xx !== null) draft.order(worker, { type: 'count', everyMs: COUNT_EVERY_MS })
  }
}

/** Nobody goes back from here: what watched the new workers is taken away, unless it was asked for as long as they serve. */
export function endBake(draft: Draft, run: Run): void {
  const { settings } = draft.state
  draft.cancel(`bake:${run.id}`)
  for (const worker of inBatch(draft, run, run.to)) {
    worker.lacks = null
    if (settings.probes && !settings.liveness) draft.do({ do: 'unprobe', worker: worker.id })
    if (settings.bakeMax5xx !== null && worker.state === 'serving') draft.order(worker, { type: 'count', everyMs: 0 })
  }
}

/** Living workers of one of the two generations in the slots that are being replaced. */
export function inBatch(draft: Draft, run: Run, generation: number): Worker[] {
  return draft.of(generation).filter(({ slot }) => run.batch.includes(slot))
}

/** Notes the answers of a new worker, and goes back when too many of the generation's were errors. */
export function answered(draft: Draft, worker: Worker, counts: { responses: number; errors: number }): void {
  const { run, settings } = draft.state
  const entry = run?.workers.find(({ newId }) => newId === worker.id)
  if (run === null || entry === undefined || run.step !== 'bake' || settings.bakeMax5xx === null) return
  entry.answered = { responses: counts.responses, errors: counts.errors }
  const sum = (key: 'responses' | 'errors'): number =>
    run.workers.reduce((total, one) => total + (one.answered?.[key] ?? 0), 0)
  const reason = tooManyErrors({ responses: sum('responses'), errors: sum('errors') }, settings.bakeMax5xx)
  if (reason !== null) fail(draft, run, reason, [])
}

/** In words; null: they are not too many. */
export function tooManyErrors(
  { responses, errors }: { responses: number; errors: number },
  most: number,
): string | null {
  if (errors <= most * Math.max(responses, LEAST_RESPONSES)) return null
  return `${errors} of ${responses} answers were errors (5xx); at most ${Number((most * 100).toFixed(2))} % may be`
}

/** Whether this worker serves for a generation that can still be undone. */
export function isBaking(draft: Draft, worker: Worker): boolean {
  const { run } = draft.state
  if (run === null || run.undo !== null || run.to !== worker.generation) return false
  return worker.role === 'canary' || isReplaced(draft, run, worker.slot)
}

function isReplaced(draft: Draft, run: Run, slot: number): boolean {
  return draft.state.slots[slot]?.working === run.to
}

/**
 * The new generation has failed. Before it has served it is given up; a canary is undone without much ado; after a handover the service goes back to the old generation, if that has a
 * worker that can take it. If it has none the new one stays, which beats nobody; but half of a rolling reload does not stay.
 */
export function fail(draft: Draft, run: Run, reason: string, stderr: readonly string[]): void {
  if (run.undo !== null || run.kept) return
  const replaced = draft.state.slots.flatMap((slot, index) => (slot.working === run.to ? [index] : []))
  if (replaced.length === 0 && run.canary?.since == null) return abort(draft, run, reason, stderr)
  if (replaced.length === 0) return undo(draft, run, [], reason, stderr)
  if (draft.of(run.from).some(canServe)) return undo(draft, run, replaced, reason, stderr)
  if (replaced.length < draft.state.slots.length) return defer(draft, run, reason, stderr)
  run.kept = true
  run.notes.push(`not undone: ${reason}, but generation ${run.from} has no healthy worker left to go back to`)
  draft.log('error', 'reload.kept', { id: run.id, step: run.step, reason, stderr, serving: run.to })
}

/** Slots that are not handed over yet are the old generation's, which is being started again there. */
function defer(draft: Draft, run: Run, reason: string, stderr: readonly string[]): void {
  if (run.deferred !== null) return
  run.deferred = { reason, stderr }
  draft.cancel(`bake:${run.id}`)
  draft.log('error', 'reload.deferred', { id: run.id, step: run.step, reason, stderr, serving: run.to })
  for (const worker of draft.of(run.to))
    if (draft.state.slots[worker.slot]?.working !== run.to) giveUpOne(draft, worker)
}

function canServe(old: Worker): boolean {
  return (old.state === 'serving' || old.state === 'paused') && !old.stuck
}

/** Gives the candidates up. Old workers that were told to pause are told to resume: the channel keeps the order. */
function abort(draft: Draft, run: Run, reason: string, stderr: readonly string[]): void {
  draft.state.run = null
  draft.generation(run.to).state = 'aborted'
  draft.log('error', 'reload.aborted', { id: run.id, step: run.step, reason, stderr, serving: run.from })
  answer(draft, run, run.callers, verdictOf(draft, run, 'aborted', { reason, stderr }))
  // First the old ones: they take over what the candidates may have in hand.
  resume(draft, run)
  giveUp(draft, run)
}

/**
 * Back to the old generation: it accepts first, then the new one is drained. Slots whose old worker has died, or has gone already, are
 * adopted by its siblings and started anew from the old values, like any slot without a worker.
 */
function undo(draft: Draft, run: Run, slots: readonly number[], reason: string, stderr: readonly string[]): void {
  // Of a canary alone: nobody has to accept again.
  run.undo = { at: draft.at, step: run.step, reason, stderr, ms: slots.length === 0 ? 0 : null }
  draft.cancel(`bake:${run.id}`)
  draft.cancel(`canary:${run.id}`)
  const since = run.canary?.since ?? null
  if (run.canary !== null && since !== null) run.canary.ms ??= Math.round(draft.at - since)
  draft.log('error', 'reload.undoing', { id: run.id, step: run.step, reason, stderr, from: run.to, to: run.from })
  resume(draft, run)
  if (slots.length > 0) makeWorking(draft, run.from, slots)
  const empty = slots.filter((slot) => !draft.of(run.from).some((old) => old.slot === slot && canServe(old)))
  if (empty.length > 0)
    run.notes.push(`slot ${empty.join(', ')}: rolled back by restart; the old version's other workers serve meanwhile`)
  draft.generation(run.to).state = 'aborted'
  // Where no old worker comes back the new one accepts until a sibling of the old ones can.
  for (const worker of draft.of(run.to)) if (!empty.includes(worker.slot)) giveUpOne(draft, worker)
}

function resume(draft: Draft, run: Run): void {
  for (const old of draft.of(run.from))
    if (old.state === 'paused' || draft.awaits(old, 'pause')) acceptAgain(draft, old)
}

export function giveUp(draft: Draft, run: Run): void {
  for (const worker of draft.of(run.to)) giveUpOne(draft, worker)
  disownAll(draft, run.to)
}

/**
 * Who may have connections in hand finishes them; who has none ends at once. (A stop drains whoever may accept in its own time.) One that accepts
 * while nobody of the working generation does is a stopgap first: it beats nobody.
 */
export function giveUpOne(draft: Draft, worker: Worker): void {
  if (draft.state.settings.probes) draft.do({ do: 'unprobe', worker: worker.id })
  if (worker.state === 'stopping' || worker.state === 'draining') return
  if (draft.state.stop === null && worker.role !== 'canary' && isAwake(worker) && !isServed(draft)) {
    worker.isStopgap = true
    return
  }
  forgetAdoptions(draft, worker)
  if (!draft.mayAccept(worker)) draft.kill(worker, null)
  else if (draft.state.stop === null) leave(draft, worker)
}

/** Settled after each event, when all queues are covered: stopgaps leave as soon as somebody of the working generation accepts. */
export function settleStopgaps(draft: Draft): void {
  const stopgaps = draft.workers.filter(({ isStopgap, state }) => isStopgap === true && state === 'serving')
  if (stopgaps.length === 0 || draft.state.phase !== 'running' || !isServed(draft)) return
  for (const worker of stopgaps) giveUpOne(draft, worker)
}

/** Somebody of the working generation accepts, or has been told to. */
function isServed({ workers, state: { slots } }: Draft): boolean {
  return workers.some(
    (worker) => slots[worker.slot]?.working === worker.generation && (isAwake(worker) || isResuming(worker)),
  )
}

function isAwake({ state, stuck }: Worker): boolean {
  return state === 'serving' && !stuck
}

/** The old generation has taken over again when each of its workers has said so, is known to be stuck, or has ended. */
export function settleUndo(draft: Draft, run: Run): void {
  const { undo: back } = run
  if (back === null || draft.of(run.from).some((old) => draft.awaits(old, 'resume') && !old.stuck)) return
  giveUp(draft, run)
  draft.state.run = null
  draft.state.retiring.push(run)
  const { step, reason, ms } = back
  draft.log('error', 'reload.undone', { id: run.id, step, reason, serving: run.from, ms })
  answer(draft, run, run.callers, verdictOf(draft, run, 'undone'))
  run.callers = []
}

/** Notes that an old worker accepts again. */
export function resumed(draft: Draft, worker: Worker): void {
  const { run } = draft.state
  if (run?.undo == null || worker.generation !== run.from) return
  run.undo.ms = Math.round((draft.at - run.undo.at) * 10) / 10
}
