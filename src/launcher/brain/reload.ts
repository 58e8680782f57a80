import type { Change, Verdict } from '../../control-protocol.js'
import type { Draft } from './draft.js'
import { disownAll, forgetAdoptions, listenFor } from './listeners.js'
import type { Caller, Run, Worker } from './state.js'
import { makeWorking } from './working.js'

/**
 * A reload, step by step: resolve → start → ready → admit → handover → retire. At most one runs and one waits. Until the handover is
 * committed a failure costs nothing: the candidates are killed, and the working generation was never touched or resumes.
 */

/** Generations that may be alive; one more cuts the oldest drain short (reliability.md R10). */
const MOST_GENERATIONS = 3

export function requestReload(draft: Draft, caller: Caller): void {
  const { state } = draft
  if (state.phase === 'stopping' || state.phase === 'stopped') return refuse(draft, [caller])
  if (state.waiting === null) state.waiting = []
  state.waiting.push(caller)
}

/** Settled after each event. */
export function settleReload(draft: Draft): void {
  settleRetired(draft)
  const { run } = draft.state
  if (run === null) startWaiting(draft)
  else if (run.committed) finishHandover(draft, run)
  else advance(draft, run)
}

function startWaiting(draft: Draft): void {
  const { state } = draft
  if (state.waiting === null || state.phase !== 'running' || state.working === null) return
  const to = state.next.generation++
  const from = state.working
  state.generations[to] = { number: to, state: 'starting', listeners: [...draft.generation(from).listeners] }
  state.run = {
    id: state.next.run++,
    from,
    to,
    startedAt: draft.at,
    step: 'resolve',
    committed: false,
    changes: [],
    callers: state.waiting,
    workers: [],
  }
  state.waiting = null
  draft.log('info', 'reload.started', { id: state.run.id, from, to })
  draft.do({ do: 'resolve', run: state.run.id, generation: to })
}

export function resolved(draft: Draft, id: number, error: string | null, changes: readonly Change[]): void {
  const { run } = draft.state
  if (run === null || run.id !== id) return
  run.changes = changes
  if (error !== null) return abortReload(draft, run, error, [])
  cutOldest(draft)
  run.step = 'start'
  for (let slot = 0; slot < draft.state.settings.slots; slot++) {
    const old = draft.inSlot(run.from, slot)
    const worker = draft.spawn(run.to, slot, 'candidate')
    run.workers.push({
      slot,
      oldId: old?.id ?? null,
      newId: worker.id,
      oldPid: old?.pid ?? null,
      newPid: null,
      ms: {},
      outcome: null,
    })
  }
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
  const candidates = draft.of(run.to)
  const all = (state: string): boolean =>
    candidates.length === draft.state.settings.slots && candidates.every((worker) => worker.state === state)
  if (run.step === 'start' && candidates.every((worker) => worker.state !== 'spawned')) run.step = 'ready'
  if (run.step === 'ready' && all('ready')) {
    run.step = 'admit'
    draft.generation(run.to).state = 'ready'
    listenFor(draft, candidates)
    for (const worker of candidates) draft.order(worker, { type: 'admit' })
  }
  if (run.step === 'admit' && all('serving')) {
    run.step = 'handover'
    for (const old of draft.of(run.from)) {
      if (old.state === 'serving') pause(draft, old)
      else if (old.state === 'spawned' || old.state === 'claimed' || old.state === 'ready') draft.kill(old, null)
    }
  }
  // From here on the new workers accept from every socket and no old one does: the term says so to all.
  if (run.step === 'handover' && draft.of(run.from).every((old) => old.state !== 'serving')) {
    run.committed = true
    makeWorking(draft, run.to)
  }
}

/** What it has adopted is given up with the pause: by the worker when the order reaches it, by us when it is sent. */
function pause(draft: Draft, old: Worker): void {
  forgetAdoptions(draft, old)
  draft.order(old, { type: 'pause' })
}

function finishHandover(draft: Draft, run: Run): void {
  if (draft.of(run.to).some((worker) => draft.awaits(worker, 'term'))) return
  run.step = 'retire'
  // Gone already when its last worker ended while the term was being told.
  const old = draft.state.generations[run.from]
  if (old !== undefined) old.state = 'retiring'
  for (const worker of draft.of(run.from)) if (worker.state === 'paused') draft.drain(worker, false)
  draft.state.run = null
  draft.state.retiring.push(run)
  draft.log('info', 'reload.done', { id: run.id, from: run.from, to: run.to, ms: Math.round(draft.at - run.startedAt) })
  answer(
    draft,
    run,
    run.callers.filter(({ wait }) => wait !== 'retired'),
    verdictOf(draft, run, 'done', null, []),
  )
  run.callers = run.callers.filter(({ wait }) => wait === 'retired')
  settleRetired(draft)
  startWaiting(draft)
}

function settleRetired(draft: Draft): void {
  for (const run of draft.state.retiring) {
    if (draft.of(run.from).length > 0) continue
    draft.state.retiring = draft.state.retiring.filter((other) => other !== run)
    const verdict = verdictOf(draft, run, 'done', null, [])
    const sum = (key: 'moved' | 'closed' | 'cut'): number =>
      verdict.workers.reduce((total, worker) => total + worker[key], 0)
    draft.log('info', 'reload.retired', { id: run.id, generation: run.from, closed: sum('closed'), cut: sum('cut') })
    answer(draft, run, run.callers, verdict)
  }
}

/** Gives the candidates up. Old workers that were told to pause are told to resume: the channel keeps the order. */
export function abortReload(draft: Draft, run: Run, reason: string, stderr: readonly string[]): void {
  draft.state.run = null
  draft.generation(run.to).state = 'aborted'
  draft.log('error', 'reload.aborted', { id: run.id, step: run.step, reason, stderr, serving: run.from })
  answer(draft, run, run.callers, verdictOf(draft, run, 'aborted', reason, stderr))
  giveUp(draft, run)
  for (const old of draft.of(run.from))
    if (old.state === 'paused' || draft.awaits(old, 'pause')) draft.order(old, { type: 'resume' })
}

function giveUp(draft: Draft, run: Run): void {
  for (const worker of draft.of(run.to)) {
    if (worker.state === 'stopping') continue
    if (!draft.mayAccept(worker)) draft.kill(worker, null)
    // Admitted before its siblings failed: it has connections in hand. (A stop drains whoever may accept in its own time.)
    else if (draft.state.stop === null) draft.drain(worker, false)
  }
  disownAll(draft, run.to)
  if (draft.of(run.to).length === 0) {
    delete draft.state.generations[run.to]
    draft.do({ do: 'forget', generation: run.to })
  }
}

/** Stop wins: whoever waits for a reload hears that it was stopped. */
export function stopReloads(draft: Draft): void {
  const { run, waiting } = draft.state
  draft.state.run = null
  draft.state.waiting = null
  if (run !== null) {
    answer(draft, run, run.callers, verdictOf(draft, run, 'stopped', 'the launcher stops', []))
    if (!run.committed) giveUp(draft, run)
  }
  if (waiting !== null) refuse(draft, waiting)
}

function refuse(draft: Draft, callers: readonly Caller[]): void {
  const { next, working } = draft.state
  const run: Run = {
    id: next.run,
    from: working ?? 0,
    to: next.generation,
    startedAt: draft.at,
    step: 'resolve',
    committed: false,
    changes: [],
    callers: [],
    workers: [],
  }
  answer(draft, run, callers, { ...verdictOf(draft, run, 'stopped', 'the launcher stops', []), from: working })
}

function answer(draft: Draft, run: Run, callers: readonly Caller[], verdict: Omit<Verdict, 'kernel'>): void {
  const ids = callers.flatMap(({ id }) => (id === null ? [] : [id]))
  draft.do({ do: 'verdict', callers: ids, run: run.id, verdict })
}

function verdictOf(
  draft: Draft,
  run: Run,
  result: Verdict['result'],
  reason: string | null,
  stderr: readonly string[],
): Omit<Verdict, 'kernel'> {
  return {
    id: run.id,
    result,
    step: run.step,
    reason,
    stderr,
    changes: run.changes,
    from: run.from,
    to: run.to,
    workers: run.workers.map(({ slot, oldPid, newPid, ms, outcome }) => ({
      slot,
      oldPid,
      newPid,
      ms,
      moved: 0,
      closed: (outcome?.ended ?? 0) + (outcome?.closed ?? 0),
      cut: outcome?.cut ?? 0,
    })),
    draining: draft.of(run.from).filter((worker) => run.committed && worker.state !== 'exited').length,
  }
}
