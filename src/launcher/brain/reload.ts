import type { Refusal } from '../../control-protocol.js'
import { isDatagram } from '../../protocol.js'
import { bakeMsOf, beginBake, endBake, fail, giveUp, inBatch, settleUndo } from './bake.js'
import { beginCanary, newCanary, whyNoCanary } from './canary.js'
import type { Draft } from './draft.js'
import type { Event } from './events.js'
import { leave } from './lanes.js'
import { admit, forgetAdoptions } from './listeners.js'
import { isRelieving } from './relief.js'
import { isScalable } from './scale.js'
import type { Caller, Run, RunWorker, Worker } from './state.js'
import { answer, kindsInWords, leavingOf, verdictOf } from './verdict.js'
import { makeWorking } from './working.js'

/**
 * A reload, step by step: resolve → start → ready → probe → admit → handover → bake → retire. At most one runs and one waits. With
 * 'all' every slot takes these steps together; with 'rolling' a batch of slots does, and then the next one.
 */

/** Generations that may be alive; one more cuts the oldest drain short (reliability.md R10). */
const MOST_GENERATIONS = 3

export function requestReload(draft: Draft, caller: Caller, isShared?: boolean): void {
  const { state } = draft
  if (state.phase === 'stopping' || state.phase === 'stopped') return refuse(draft, [caller])
  const refusal = caller.canary === undefined ? null : whyNoCanary(draft, isShared)
  if (refusal !== null) {
    draft.log('warn', 'canary.refused', { reason: refusal.reason })
    return draft.do({ do: 'refuse', caller: caller.id, refusal })
  }
  if (state.waiting === null) state.waiting = []
  state.waiting.push(caller)
}

/** `reload --abort`: whatever step it is in. False: no reload runs. */
export function requestAbort(draft: Draft, caller: Caller): boolean {
  const { run } = draft.state
  if (run === null) return false
  run.callers.push(caller)
  fail(draft, run, 'it was asked to be given up (reload --abort)', [])
  return true
}

/** Settled after each event. */
export function settleReload(draft: Draft): void {
  settleRetired(draft)
  failUnsteered(draft)
  const { run } = draft.state
  if (run === null) return
  if (run.undo !== null) {
    settleUndo(draft, run)
    settleRetired(draft)
  } else if (run.deferred !== null) fail(draft, run, run.deferred.reason, run.deferred.stderr)
  else if (run.step === 'retire' || (run.step === 'canary' && run.canary?.promoted != null)) nextBatch(draft, run)
  else if (run.committed) finishHandover(draft, run)
  else advance(draft, run)
}

/** The kernel has taken no program after all: then its hash gives the canary far more than its share. */
function failUnsteered(draft: Draft): void {
  const { run, steers } = draft.state
  if (run === null || run.canary === null || run.canary.promoted !== null || steers) return
  fail(draft, run, 'the kernel took no steering program, so the canary had no share', [])
}

/** Settled after each event, when nothing runs any more. */
export function startWaiting(draft: Draft): void {
  const { state } = draft
  if (state.waiting === null || state.phase !== 'running' || state.working === null || state.upgrade !== null) return
  // Another number of slots comes first, or it would wait for as long as there are reloads; but not if it waits for a worker to get well.
  if (state.run !== null || (state.scale !== null && isScalable(draft)) || isRelieving(draft)) return
  state.settings = state.settingsOfNext ?? state.settings
  state.settingsOfNext = null
  const to = state.next.generation++
  const from = state.working
  state.generations[to] = { number: to, state: 'starting', listeners: [...draft.generation(from).listeners] }
  state.run = newRun(draft, { id: state.next.run++, from, to, callers: state.waiting })
  state.waiting = null
  draft.log('info', 'reload.started', { id: state.run.id, from, to })
  // It may have become impossible while it waited.
  const refusal = state.run.canary === null ? null : whyNoCanary(draft)
  if (refusal !== null) return fail(draft, state.run, refusal.reason, [])
  draft.do({ do: 'resolve', run: state.run.id, generation: to })
}

function newRun(draft: Draft, who: { id: number; from: number; to: number; callers: Caller[] }): Run {
  const slots = draft.state.slots.map((_, slot) => slot)
  const canary = newCanary(draft, who.callers)
  const size = canary === null ? batchSize(draft) : 0
  return {
    ...who,
    startedAt: draft.at,
    step: 'resolve',
    canary,
    batch: canary === null ? slots.slice(0, size) : [canary.slot],
    toStart: [],
    rest: slots.slice(size),
    committed: false,
    keepsFlows: false,
    undo: null,
    deferred: null,
    kept: false,
    notes: [],
    changes: [],
    workers: [],
  }
}

/** A reload that another launcher has begun: slots whose working generation is `to` have been handed over, all others have not. */
export function adoptedRun(draft: Draft, from: number, to: number): Run {
  const { slots, next } = draft.state
  const indexes = slots.map((_, slot) => slot)
  const handedOver = indexes.filter((slot) => slots[slot]?.working === to)
  const run = newRun(draft, { id: next.run++, from, to, callers: [] })
  run.step = 'handover'
  run.committed = handedOver.length > 0
  run.batch = run.committed ? handedOver : indexes
  run.rest = run.committed ? indexes.filter((slot) => !handedOver.includes(slot)) : []
  run.notes.push('the launcher that began it was killed; this is what the next one made of it')
  for (const slot of run.batch) {
    const [old, fresh] = [draft.inSlot(from, slot), draft.inSlot(to, slot)]
    if (fresh !== undefined) run.workers.push(entryOf(slot, old, fresh))
  }
  return run
}

function batchSize({ state }: Draft): number {
  const { strategy, surge } = state.settings
  return strategy === 'all' ? state.slots.length : (surge ?? 1)
}

export function resolved(
  draft: Draft,
  { run: id, error, changes, refusal }: Extract<Event, { type: 'resolved' }>,
): void {
  const { run } = draft.state
  if (run === null || run.id !== id) return
  run.changes = changes
  if (refusal !== undefined) return turnAway(draft, run, refusal)
  if (error !== null) return fail(draft, run, error, [])
  cutOldest(draft)
  beginBatch(run)
}

/** It cannot begin, and nothing of it has. */
function turnAway(draft: Draft, run: Run, refusal: Refusal): void {
  const { reason, facts, next } = refusal
  draft.state.run = null
  draft.generation(run.to).state = 'aborted'
  draft.log('error', 'reload.refused', { id: run.id, reason, ...facts, text: next })
  for (const { id: caller } of run.callers) draft.do({ do: 'refuse', caller, refusal })
}

function beginBatch(run: Run): void {
  run.step = 'start'
  run.committed = false
  run.keepsFlows = false
  run.toStart = [...run.batch]
}

function cutOldest(draft: Draft): void {
  const numbers = [...new Set(draft.workers.map((worker) => worker.generation))].sort((a, b) => a - b)
  const surplus = numbers
    .filter((number) => number !== draft.state.working)
    .slice(0, Math.max(0, numbers.length + 1 - MOST_GENERATIONS))
  for (const number of surplus) {
    draft.log('warn', 'generation.cut', { generation: number, reason: `${MOST_GENERATIONS} generations are alive` })
    for (const worker of draft.of(number)) if (worker.state !== 'stopping') draft.terminate(worker)
  }
}

function advance(draft: Draft, run: Run): void {
  startMore(draft, run)
  const candidates = inBatch(draft, run, run.to)
  const all = (fits: (worker: Worker) => boolean): boolean =>
    candidates.length === run.batch.length && candidates.every(fits)
  // One that was given up has come no further than it was.
  if (run.step === 'start' && all(({ state }) => state !== 'spawned' && state !== 'stopping')) run.step = 'ready'
  if (run.step === 'ready' && draft.state.settings.probes && all((worker) => worker.state === 'ready'))
    run.step = 'probe'
  if (
    (run.step === 'ready' || run.step === 'probe') &&
    all((worker) => worker.state === 'ready' && worker.proof === 'proven') &&
    haveKept(draft, run)
  ) {
    run.step = 'admit'
    draft.generation(run.to).state = 'ready'
    admit(draft, candidates)
  }
  if (run.step === 'admit' && all((worker) => worker.state === 'serving')) {
    if (run.canary?.since === null) return beginCanary(draft, run, run.canary)
    run.step = 'handover'
    for (const old of inBatch(draft, run, run.from)) {
      // One that has not answered yet to the order to serve, or to resume after an earlier undo, will find both orders, in this order.
      if (old.state === 'serving' || draft.awaits(old, 'admit') || draft.awaits(old, 'resume')) pause(draft, old)
      else if (old.state === 'spawned' || old.state === 'claimed' || old.state === 'ready') draft.kill(old, null)
    }
  }
  // From here on the new workers accept from every socket and no old one does: the term says so to all.
  if (run.step === 'handover' && !inBatch(draft, run, run.from).some((old) => mightAccept(draft, old))) {
    run.committed = true
    makeWorking(draft, run.to, run.batch)
  }
}

/** What flows stay with the old workers is theirs before a new one receives. False: they are about to say so. */
function haveKept(draft: Draft, run: Run): boolean {
  if (draft.state.settings.udpLingerMs === 0) return true
  const old = inBatch(draft, run, run.from)
  if (!run.keepsFlows)
    for (const worker of old)
      if (worker.state === 'serving' && Object.values(worker.claims).some(({ listener }) => isDatagram(listener)))
        draft.order(worker, { type: 'keep-flows' })
  run.keepsFlows = true
  return !old.some((worker) => draft.awaits(worker, 'keep-flows'))
}

function mightAccept(draft: Draft, old: Worker): boolean {
  return old.state === 'serving' || draft.awaits(old, 'pause')
}

/** Starts candidates; with 'all' no more at a time than --surge says, for machines on which starting is work. */
function startMore(draft: Draft, run: Run): void {
  const { strategy, surge } = draft.state.settings
  const most = strategy === 'all' && surge !== null ? surge : Number.POSITIVE_INFINITY
  const isStarting = ({ state, proof }: Worker): boolean =>
    state === 'spawned' || state === 'claimed' || (state === 'ready' && proof !== 'proven')
  while (run.toStart.length > 0 && inBatch(draft, run, run.to).filter(isStarting).length < most) {
    const slot = run.toStart.shift() as number
    const old = draft.inSlot(run.from, slot)
    const worker = draft.spawn(run.to, slot, slot === run.canary?.slot ? 'canary' : 'candidate')
    run.workers.push(entryOf(slot, old, worker))
  }
}

function entryOf(slot: number, old: Worker | undefined, fresh: Worker): RunWorker {
  return {
    slot,
    oldId: old?.id ?? null,
    newId: fresh.id,
    oldPid: old?.pid ?? null,
    newPid: fresh.pid,
    ms: {},
    kept: null,
    outcome: null,
    warmup: null,
    answered: null,
  }
}

/** What it has adopted is given up with the pause: by the worker when the order reaches it, by us when it is sent. */
export function pause(draft: Draft, old: Worker): void {
  forgetAdoptions(draft, old)
  draft.order(old, { type: 'pause' })
}

/** The handover is complete when every new worker has been told of it, which makes it known to whoever comes after us. */
function finishHandover(draft: Draft, run: Run): void {
  if (run.step !== 'handover' || draft.of(run.to).some((worker) => draft.awaits(worker, 'term'))) return
  // After an adoption; whoever pauses later would stay paused.
  if (inBatch(draft, run, run.from).some((worker) => draft.awaits(worker, 'pause'))) return
  if (run.rest.length === 0) {
    draft.log('info', 'reload.admitted', { id: run.id, from: run.from, to: run.to, ms: since(draft, run) })
    answer(
      draft,
      run,
      run.callers.filter(({ wait }) => wait === 'admitted'),
      verdictOf(draft, run, 'done'),
    )
    run.callers = run.callers.filter(({ wait }) => wait !== 'admitted')
  }
  if (bakeMsOf(draft, run) > 0) beginBake(draft, run)
  else retire(draft, run)
}

/** The bake of a batch has passed. */
export function bakeOver(draft: Draft, id: number): void {
  const { run } = draft.state
  if (run !== null && run.id === id && run.step === 'bake' && run.undo === null && run.deferred === null)
    retire(draft, run)
}

function retire(draft: Draft, run: Run): void {
  endBake(draft, run)
  run.step = 'retire'
  for (const old of inBatch(draft, run, run.from)) if (old.state === 'paused') leave(draft, old)
  if (run.rest.length === 0) finish(draft, run)
  else nextBatch(draft, run)
}

/** After the canary all slots; with 'rolling' the next ones, when the memory of the last ones is free. */
function nextBatch(draft: Draft, run: Run): void {
  if (inBatch(draft, run, run.from).length > 0) return
  const size = batchSize(draft)
  run.batch = run.rest.slice(0, size)
  run.rest = run.rest.slice(size)
  beginBatch(run)
  advance(draft, run)
}

/** For coalescing a run ends with its bake: the drain of the old workers delays nobody. */
function finish(draft: Draft, run: Run): void {
  // Gone already when its last worker ended in the bake.
  const old = draft.state.generations[run.from]
  if (old !== undefined) old.state = 'retiring'
  draft.state.run = null
  draft.state.retiring.push(run)
  draft.log('info', 'reload.done', { id: run.id, from: run.from, to: run.to, ms: since(draft, run) })
  answer(
    draft,
    run,
    run.callers.filter(({ wait }) => wait !== 'retired'),
    verdictOf(draft, run, 'done'),
  )
  run.callers = run.callers.filter(({ wait }) => wait === 'retired')
  settleRetired(draft)
}

function since(draft: Draft, run: Run): number {
  return Math.round(draft.at - run.startedAt)
}

/** The last worker of the generation that left has gone. */
function settleRetired(draft: Draft): void {
  for (const run of draft.state.retiring) {
    const leaving = run.undo === null ? run.from : run.to
    if (leavingOf(draft, run).length > 0) continue
    draft.state.retiring = draft.state.retiring.filter((other) => other !== run)
    const verdict = verdictOf(draft, run, run.undo === null ? 'done' : 'undone')
    const sum = (key: 'moved' | 'closed' | 'cut'): number =>
      verdict.workers.reduce((total, worker) => total + worker[key], 0)
    draft.log('info', 'reload.retired', {
      id: run.id,
      generation: leaving,
      moved: sum('moved'),
      closed: sum('closed'),
      cut: sum('cut'),
      kinds: kindsInWords(...verdict.workers.map(({ kinds }) => kinds)),
    })
    answer(draft, run, run.callers, verdict)
  }
}

/** Stop wins: whoever waits for a reload hears that it was stopped. */
export function stopReloads(draft: Draft): void {
  const { run, waiting } = draft.state
  draft.state.run = null
  draft.state.waiting = null
  if (run !== null) {
    draft.cancel(`bake:${run.id}`)
    draft.cancel(`canary:${run.id}`)
    answer(draft, run, run.callers, verdictOf(draft, { ...run, undo: null }, 'stopped', STOPPED))
    giveUp(draft, run)
  }
  if (waiting !== null) refuse(draft, waiting)
}

const STOPPED = { reason: 'the launcher stops', stderr: [] }

function refuse(draft: Draft, callers: readonly Caller[]): void {
  const { next, working } = draft.state
  const run = newRun(draft, { id: next.run, from: working ?? 0, to: next.generation, callers: [] })
  answer(draft, run, callers, { ...verdictOf(draft, run, 'stopped', STOPPED), from: working })
}
