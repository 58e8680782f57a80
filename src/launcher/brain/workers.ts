import type { WorkerState } from '../../control-protocol.js'
import type { ByKind, DrainOutcome, Fates, Held, OrderType } from '../../protocol.js'
import { answered as answeredBaking, fail, isBaking, resumed } from './bake.js'
import { canaryAnswered } from './canary.js'
import type { Draft } from './draft.js'
import { type Ending, explain, nameOf } from './ending.js'
import { workerEnded, workerLost } from './endings.js'
import type { WorkerEvent } from './events.js'
import { leave } from './lanes.js'
import {
  acceptAgain,
  adoptRefused,
  claim,
  forgetAdoptions,
  isLiveAtOnce,
  isSilent,
  neverListened,
  noteClaims,
  opened,
  openFailed,
  released,
} from './listeners.js'
import { mark, noteWarmup, remark, settleOutcome } from './marks.js'
import { worn } from './relief.js'
import { NO_SLOT, type Worker } from './state.js'
import { kindsInWords } from './verdict.js'

/**
 * The life of one worker as a table: every state × everything that can happen to it. `spawned → claimed → ready → serving ⇄ paused →
 * draining → stopping → exited`. Only the handlers below move a worker along; orders are given by the rules that need them (reload, stop,
 * listeners), and the answers arrive here.
 */

type EventType = WorkerEvent['type'] | 'ready-late' | 'order-late' | 'drain-late' | 'kill-late'
type Detail =
  | WorkerEvent
  | { readonly type: 'ready-late' | 'drain-late' | 'kill-late' }
  | { readonly type: 'order-late'; readonly seq: number }
type Handler = (draft: Draft, worker: Worker, event: never) => void
type Row = Readonly<Record<EventType, Handler>>
type Of<T extends EventType> = Extract<Detail, { type: T }>

const ignore: Handler = () => {}

function spawned(draft: Draft, worker: Worker, event: Of<'spawned'>): void {
  worker.pid = event.pid
  mark(draft, worker, 'spawned')
  draft.log('info', 'worker.spawned', facts(worker))
}

function spawnFailed(draft: Draft, worker: Worker, event: Of<'spawn-failed'>): void {
  worker.failure = event.message
  end(draft, worker, { code: event.exitCode, signal: null, stderr: [] })
}

function hello(draft: Draft, worker: Worker, event: Of<'hello'>): void {
  worker.pid = event.pid
  worker.state = 'claimed'
  mark(draft, worker, 'claimed')
}

/** Its channel was lost and is back, or one more of its threads listens. */
function helloAgain(_draft: Draft, worker: Worker, event: Of<'hello'>): void {
  worker.pid = event.pid
}

function listening(_draft: Draft, worker: Worker, event: Of<'listening'>): void {
  const claim = worker.claims[event.claim]
  if (claim !== undefined) claim.listening = true
}

function listeningFirst(draft: Draft, worker: Worker, event: Of<'listening'>): void {
  listening(draft, worker, event)
  becomeReady(draft, worker)
}

/** The program's own word. It may come before it listens. */
function said(_draft: Draft, worker: Worker, event: Of<'ready'>): void {
  const { claim } = event
  if (claim === undefined) worker.said = true
  else if (worker.claims[claim] !== undefined) worker.claims[claim].said = true
}

function saidFirst(draft: Draft, worker: Worker, event: Of<'ready'>): void {
  said(draft, worker, event)
  becomeReady(draft, worker)
}

/** Of a listener that was not there, or silent, when the worker became ready: it may have been told to serve without it. */
function saidLate(draft: Draft, worker: Worker, event: Of<'ready'>): void {
  said(draft, worker, event)
  if (event.claim === undefined || worker.claims[event.claim] === undefined || draft.awaits(worker, 'pause')) return
  if (worker.state === 'serving' || draft.awaits(worker, 'admit')) acceptAgain(draft, worker)
}

/** Addresses on which this worker must listen and does not: those that its generation, or its predecessor, had when *it* was ready. */
function missing(draft: Draft, worker: Worker): readonly string[] {
  const claimed = Object.values(worker.claims).filter((claim) => claim.listening)
  const wanted = draft.state.generations[worker.generation]?.listeners ?? []
  return wanted.filter((key) => !claimed.some((claim) => claim.listener === key))
}

function isReady(draft: Draft, worker: Worker): boolean {
  const claims = Object.values(worker.claims)
  const listens = claims.some((claim) => claim.listening)
  return listens && missing(draft, worker).length === 0 && !claims.some(isSilent) && hasSaid(draft, worker)
}

/** By the word that --ready names. That of the library takes its place. */
function hasSaid({ state }: Draft, { said, claims }: Worker): boolean {
  return said || state.settings.ready === 'listening' || Object.values(claims).some(({ says }) => says)
}

/** Ready: it listens on all it must, and has said so if it is asked to. Proven: it has answered its health check as well, if there is one. */
function becomeReady(draft: Draft, worker: Worker): void {
  if (!isReady(draft, worker)) return
  const { probes } = draft.state.settings
  worker.state = 'ready'
  mark(draft, worker, 'ready')
  if (probes) {
    worker.proof = 'probing'
    draft.do({ do: 'probe', worker: worker.id, mode: 'prove' })
    return
  }
  proven(draft, worker)
  if (isLiveAtOnce(draft, worker)) serve(draft, worker)
}

/** Nothing more is demanded of it. To warm it up is a favour, and has its own end: whatever comes of it, it may be admitted. */
function proven(draft: Draft, worker: Worker): void {
  worker.doubt = null
  draft.cancel(`ready:${worker.id}`)
  const { warms } = draft.state.settings
  worker.proof = warms ? 'warming' : 'proven'
  if (warms) draft.do({ do: 'warm-up', worker: worker.id })
}

function warmed(draft: Draft, worker: Worker, { report }: Of<'warmed'>): void {
  if (worker.proof !== 'warming') return
  worker.proof = 'proven'
  mark(draft, worker, 'warm')
  noteWarmup(draft, worker, report)
  const { requests, answered, bad, trouble } = report
  if (trouble !== null)
    remark(draft, worker, `${answered} of ${requests} requests of the warm-up were answered: ${trouble}`)
  if (bad > 0) remark(draft, worker, `${bad} of ${answered} answers of the warm-up had a status of 400 or more`)
}

/** A held worker's health check: nothing but success counts, and failures tell what to say if the time runs out. */
function probedReady(draft: Draft, worker: Worker, event: Of<'probed'>): void {
  if (worker.proof !== 'probing') return
  if (!event.passed) {
    worker.doubt = `${event.reason} (${event.attempts === 1 ? '1 attempt' : `${event.attempts} attempts`})`
    return
  }
  proven(draft, worker)
  mark(draft, worker, 'proven')
}

/** A serving worker's health check has failed, more than once. */
function probedServing(draft: Draft, worker: Worker, event: Of<'probed'>): void {
  if (event.passed) return
  unhealthy(draft, worker, `its health check failed: ${event.reason}`)
}

/** In a bake it undoes the reload. Later it costs the worker its place, but never the last one that serves (reliability.md E-02). */
function unhealthy(draft: Draft, worker: Worker, why: string): void {
  const { run, settings } = draft.state
  if (run !== null && isBaking(draft, worker)) return fail(draft, run, whoseFault(worker, why), [])
  if (!settings.liveness || draft.state.phase !== 'running') return
  const others = draft.members.filter((other) => other.id !== worker.id && other.state === 'serving' && !other.stuck)
  draft.log('error', 'worker.unhealthy', { ...facts(worker), reason: why, replaced: others.length > 0 })
  if (others.length === 0) return
  worker.failure ??= why
  forgetAdoptions(draft, worker)
  draft.do({ do: 'unprobe', worker: worker.id })
  leave(draft, worker)
}

function whoseFault(worker: Worker, why: string): string {
  return `${nameOf(worker)}: ${why}`
}

function answered(
  draft: Draft,
  worker: Worker,
  { connections = 0, responses, errors, times = [] }: Of<'answered'>,
): void {
  answeredBaking(draft, worker, { responses, errors })
  canaryAnswered(draft, worker, { connections, responses, errors, times })
}

/** Its event loop stands still. Whoever is held has its deadline; of whoever serves, siblings take over what waits. */
function heartbeatLost(draft: Draft, worker: Worker, event: Of<'heartbeat-lost'>): void {
  worker.stuck = true
  const why = standsStill(event)
  worker.doubt = why
  const { run } = draft.state
  if (worker.state !== 'serving') return
  draft.log('warn', 'worker.stuck', { ...facts(worker), ms: event.ms, doing: event.doing })
  if (run !== null && isBaking(draft, worker)) fail(draft, run, whoseFault(worker, why), [])
}

/** Still. What comes of it depends on the others (`killHung`); whoever is held, or drains, has its own deadline. */
function hung(_draft: Draft, worker: Worker, event: Of<'hung'>): void {
  worker.stuck = true
  worker.hung = standsStill(event)
  worker.doubt = worker.hung
}

function standsStill({ ms, doing }: Of<'hung' | 'heartbeat-lost'>): string {
  return `its event loop has not turned for ${ms} ms${doing === null ? '' : `: ${doing}`}`
}

function heartbeatBack(draft: Draft, worker: Worker): void {
  if (worker.stuck && worker.state === 'serving') draft.log('info', 'worker.back', facts(worker))
  comesToItself(worker)
  worker.doubt = null
}

function comesToItself(worker: Worker): void {
  worker.stuck = false
  worker.hung = null
}

/** A candidate that closes a listener it needs has not proven itself after all. */
function releasedReady(draft: Draft, worker: Worker, event: Of<'released'>): void {
  released(draft, worker, event)
  if (isReady(draft, worker)) return
  if (worker.proof === 'probing' || worker.proof === 'warming') draft.do({ do: 'unprobe', worker: worker.id })
  if (worker.proof !== 'probing') draft.timer(`ready:${worker.id}`, draft.state.settings.readyTimeoutMs)
  worker.proof = 'none'
  worker.state = 'claimed'
}

function acked(draft: Draft, worker: Worker, event: Of<'acked'>): void {
  const order = settleOrder(draft, worker, event.seq)
  comesToItself(worker)
  if (order === 'resume') settleEarlier(draft, worker, event.seq, 'pause')
  if (order === 'term') worker.term = draft.state.slots[worker.slot]?.term ?? draft.state.term
  if (order === 'admit' && worker.state === 'ready') serve(draft, worker)
  // Not if it has been told to pause again meanwhile.
  if (order === 'resume' && worker.state === 'paused' && !draft.awaits(worker, 'pause')) {
    worker.state = 'serving'
    mark(draft, worker, 'resumed')
    resumed(draft, worker)
    draft.log('info', 'worker.resumed', facts(worker))
  }
  if (order === 'pause' && worker.state === 'serving') {
    worker.state = 'paused'
    mark(draft, worker, 'paused')
    keep(draft, worker, event.connections)
  }
}

function serve(draft: Draft, worker: Worker): void {
  worker.state = 'serving'
  worker.since = draft.at
  worker.failure = null
  // A candidate may be admitted in the moment before its program gives up over the listener that it lacks.
  if (worker.role === 'first' || worker.role === 'respawn') worker.lacks = null
  mark(draft, worker, 'admitted')
  draft.log('info', 'worker.serving', facts(worker))
  draft.do({ do: 'protect', worker: worker.id })
  // From here on its lines are the operator's, not the reason of a failed start.
  draft.order(worker, { type: 'stderr' })
  const slot = draft.state.slots[worker.slot]
  if (slot?.working != null) draft.order(worker, { type: 'term', term: slot.term, working: slot.working })
  if (draft.state.settings.liveness) draft.do({ do: 'probe', worker: worker.id, mode: 'watch' })
}

/** An answer that came late found the pause taken for granted already. */
function keep(draft: Draft, worker: Worker, connections: number | undefined): void {
  const entry = draft.state.run?.workers.find(({ oldId }) => oldId === worker.id)
  if (entry !== undefined && connections !== undefined) entry.kept = connections
}

function refused(draft: Draft, worker: Worker, event: Of<'refused'>): void {
  const socket = worker.adopts[event.seq]
  const order = settleOrder(draft, worker, event.seq)
  // Also when the answer is late: nobody else would be asked.
  if (socket !== undefined) adoptRefused(draft, worker, socket)
  if (order === undefined) return
  draft.log('error', 'worker.refused', { ...facts(worker), order, code: event.code, reason: event.message })
  if (order === 'admit') draft.kill(worker, `it could not be admitted: ${event.message}`)
  // It has the sockets of another slot, and may accept from them already.
  if (order === 'seat') {
    worker.failure ??= `it could not take the slot: ${event.message}`
    leave(draft, worker)
  }
  // It cannot serve again, but it can finish what it has; its slot is started anew after it.
  if (order === 'resume') leave(draft, worker)
  if (order === 'pause' && worker.state === 'serving') worker.state = 'paused'
}

function orderLate(draft: Draft, worker: Worker, event: Of<'order-late'>): void {
  const order = worker.orders[event.seq]
  if (order === undefined) return
  draft.log('warn', 'worker.silent', { ...facts(worker), order })
  worker.stuck = true
  // The only order whose answer is still good when it comes late: the old generation serves on when it says so.
  if (order === 'resume') return
  delete worker.orders[event.seq]
  if (order === 'admit') draft.kill(worker, 'it did not answer the order to serve')
  // A busy old worker accepts nothing either, and will find the order when it looks: it is taken for paused, never killed for being slow.
  if (order !== 'pause') return
  if (worker.state === 'serving') worker.state = 'paused'
  settleEarlier(draft, worker, event.seq, 'resume')
}

/** The order is answered: what it was, unless its time had passed. */
function settleOrder(draft: Draft, worker: Worker, seq: number): OrderType | undefined {
  const order = worker.orders[seq]
  delete worker.orders[seq]
  delete worker.adopts[seq]
  draft.cancel(`order:${worker.id}:${seq}`)
  return order
}

/** The channel keeps the order of orders: what was asked before this one has been overtaken by it, answered or not. */
function settleEarlier(draft: Draft, worker: Worker, than: number, type: OrderType): void {
  for (const [seq, earlier] of Object.entries(worker.orders))
    if (earlier === type && Number(seq) < than) settleOrder(draft, worker, Number(seq))
}

function readyLate(draft: Draft, worker: Worker): void {
  if (worker.state === 'ready' && worker.proof !== 'probing') return
  const { readyTimeoutMs } = draft.state.settings
  const doubt = worker.doubt === null ? '' : `: ${worker.doubt}`
  draft.kill(worker, `${notDone(draft, worker)} within ${readyTimeoutMs} ms${where(draft, worker)}${doubt}`)
}

/** What a worker had to do to be ready, and has not. */
function notDone(draft: Draft, worker: Worker): string {
  if (worker.proof === 'probing') return 'its health check did not pass'
  const lacking = missing(draft, worker)
  if (lacking.length > 0) return `it did not listen on ${lacking.join(', ')}`
  const claims = Object.values(worker.claims)
  const silent = claims.filter(isSilent).map(({ listener }) => listener)
  if (silent.length > 0) return `it did not call listener.ready() for ${silent.join(', ')}`
  const listens = claims.some((claim) => claim.listening)
  return listens ? 'it did not say that it is ready' : 'it did not listen'
}

/** Where it listens instead: a moved port explains itself. */
function where(draft: Draft, worker: Worker): string {
  if (missing(draft, worker).length === 0) return ''
  const has = Object.values(worker.claims).flatMap((claim) => (claim.listening ? [claim.listener] : []))
  return has.length === 0 ? '' : ` (it listens on ${has.join(', ')})`
}

function drained(draft: Draft, worker: Worker, event: Of<'drained'>): void {
  if (event.outcome.early === true) return endedEarly(draft, worker, event.outcome)
  mark(draft, worker, 'drained', event.outcome)
  const { ended, closed, cut, moved, kinds } = event.outcome
  draft.log('info', 'worker.drained', { ...facts(worker), ended, closed, cut, moved, kinds: kindsInWords(kinds) })
  draft.terminate(worker)
}

/** The program has not waited for its drain. It may know what it does; what it cost is said. */
function closedEarly(draft: Draft, worker: Worker, { call, cut, open }: Of<'closed-early'>): void {
  draft.log('warn', 'worker.closed-early', { ...facts(worker), call, cut, open })
  remark(
    draft,
    worker,
    `the program called ${call} before its drain was over: ${cut} connections cut, ${open} left open`,
  )
}

/** The same when it ends as a whole. Its exit comes next. */
function endedEarly(draft: Draft, worker: Worker, outcome: DrainOutcome): void {
  mark(draft, worker, 'drained', outcome)
  draft.log('warn', 'worker.ended-early', { ...facts(worker), cut: outcome.cut, kinds: kindsInWords(outcome.kinds) })
  remark(draft, worker, `the program ended before its drain was over: ${outcome.cut} connections cut`)
}

/** It could not say so itself. What it had in hand when it was last heard of is cut. */
function lost(draft: Draft, worker: Worker, held: Held | undefined): void {
  const outcome = cutAll(held)
  if (outcome.cut > 0) endedEarly(draft, worker, outcome)
}

function cutAll(held: Held = {}): DrainOutcome {
  const kinds: ByKind<Fates> = Object.fromEntries(
    Object.entries(held).map(([kind, { open }]) => [kind, { ended: 0, closed: 0, cut: open, moved: 0 }]),
  )
  return { ended: 0, closed: 0, cut: Object.values(kinds).reduce((sum, one) => sum + one.cut, 0), kinds }
}

/** We have not waited for its drain: the oldest of too many generations. */
function drainedStopping(draft: Draft, worker: Worker, event: Of<'drained'>): void {
  settleOutcome(draft, worker, event.outcome)
}

function goneStopping(draft: Draft, worker: Worker, event: Of<'gone'>): void {
  if (event.held !== undefined) settleOutcome(draft, worker, cutAll(event.held))
}

function exitedStopping(draft: Draft, worker: Worker, event: Of<'exited'>): void {
  goneStopping(draft, worker, { ...event, type: 'gone' })
  exited(draft, worker, event)
}

function goneDraining(draft: Draft, worker: Worker, event: Of<'gone'>): void {
  lost(draft, worker, event.held)
  gone(draft, worker)
}

function exitedDraining(draft: Draft, worker: Worker, event: Of<'exited'>): void {
  lost(draft, worker, event.held)
  exited(draft, worker, event)
}

function drainLate(draft: Draft, worker: Worker): void {
  draft.log('warn', 'worker.drain-late', facts(worker))
  draft.terminate(worker)
}

function killLate(draft: Draft, worker: Worker): void {
  draft.log('warn', 'worker.killed', {
    ...facts(worker),
    reason: `it ignored the stop signal for ${draft.state.settings.killAfterMs} ms`,
  })
  draft.kill(worker, 'it ignored the stop signal')
}

/** The process that listened is dead; its wrapper (npm, sh) gets as long as any stopping worker to follow. */
function gone(draft: Draft, worker: Worker): void {
  if (isNeeded(worker)) worker.failure ??= 'it ended by itself'
  worker.state = 'stopping'
  forgetAdoptions(draft, worker)
  draft.timer(`kill:${worker.id}`, draft.state.settings.killAfterMs)
  if (worker.failure !== null) workerLost(draft, worker, 'has ended; what it was started by has not')
}

function exited(draft: Draft, worker: Worker, event: Of<'exited'>): void {
  if (isNeeded(worker)) worker.failure ??= 'it ended by itself'
  end(draft, worker, event)
}

function isNeeded({ state }: Worker): boolean {
  return state === 'spawned' || state === 'claimed' || state === 'ready' || state === 'serving'
}

function end(draft: Draft, worker: Worker, how: Ending): void {
  for (const topic of ['ready', 'drain', 'kill', 'full'] as const) draft.cancel(`${topic}:${worker.id}`)
  for (const seq of Object.keys(worker.orders)) draft.cancel(`order:${worker.id}:${Number(seq)}`)
  worker.state = 'exited'
  forgetAdoptions(draft, worker)
  mark(draft, worker, 'exited')
  const { failure } = worker
  draft.log(failure === null ? 'info' : 'error', 'worker.exited', {
    ...facts(worker),
    code: how.code,
    signal: how.signal,
    reason: failure === 'it ended by itself' ? (worker.lacks ?? explain(how) ?? failure) : failure,
  })
  workerEnded(draft, worker, how)
}

export function facts(worker: Worker): { slot: number | null; generation: number; pid: number | null } {
  return { slot: worker.slot === NO_SLOT ? null : worker.slot, generation: worker.generation, pid: worker.pid }
}

function rejoined(draft: Draft, worker: Worker, event: Of<'rejoined'>): void {
  noteClaims(draft, worker, event.claims)
}

const always = {
  rejoined,
  spawned: ignore,
  'spawn-failed': ignore,
  acked,
  refused,
  'order-late': orderLate,
  exited,
  'listen-failed': listenFailed,
  ready: said,
  probed: ignore,
  warmed: ignore,
  'heartbeat-lost': heartbeatLost,
  'heartbeat-back': heartbeatBack,
  hung,
  answered: ignore,
  worn: ignore,
  'closed-early': ignore,
}
const before = {
  ...always,
  claim,
  opened,
  'open-failed': openFailed,
  drained: ignore,
  'drain-late': ignore,
  'kill-late': ignore,
  gone,
}
const after = {
  ...always,
  claim,
  opened,
  'open-failed': openFailed,
  hello: helloAgain,
  listening,
  released,
  'ready-late': ignore,
  gone,
}

function listenFailed(draft: Draft, worker: Worker, event: Of<'listen-failed'>): void {
  neverListened(draft, worker, event.listener)
  draft.kill(worker, event.message)
}

/** A listener that it has opened late. It can finish what it has; its slot is started anew after it. */
function listenFailedServing(draft: Draft, worker: Worker, event: Of<'listen-failed'>): void {
  neverListened(draft, worker, event.listener)
  worker.failure ??= event.message
  leave(draft, worker)
}

const TABLE = {
  spawned: {
    ...before,
    spawned,
    'spawn-failed': spawnFailed,
    hello,
    listening: ignore,
    released: ignore,
    'ready-late': readyLate,
  },
  claimed: {
    ...before,
    hello: helloAgain,
    listening: listeningFirst,
    released,
    ready: saidFirst,
    'ready-late': readyLate,
  },
  ready: {
    ...before,
    hello: helloAgain,
    listening,
    released: releasedReady,
    ready: saidLate,
    probed: probedReady,
    warmed,
    'ready-late': readyLate,
  },
  serving: {
    ...after,
    ready: saidLate,
    'listen-failed': listenFailedServing,
    probed: probedServing,
    answered,
    worn,
    drained: ignore,
    'drain-late': ignore,
    'kill-late': ignore,
  },
  paused: { ...after, drained: ignore, 'drain-late': ignore, 'kill-late': ignore },
  draining: {
    ...after,
    drained,
    'closed-early': closedEarly,
    gone: goneDraining,
    exited: exitedDraining,
    'drain-late': drainLate,
    'kill-late': ignore,
  },
  stopping: {
    ...after,
    claim: ignore,
    drained: drainedStopping,
    gone: goneStopping,
    exited: exitedStopping,
    'drain-late': ignore,
    'kill-late': killLate,
  },
  exited: {
    ...after,
    claim: ignore,
    drained: ignore,
    'drain-late': ignore,
    'kill-late': ignore,
    gone: ignore,
    exited: ignore,
  },
} satisfies Record<WorkerState, Row>

export function workerStep(draft: Draft, worker: Worker, event: Detail): void {
  const row: Row = TABLE[worker.state]
  row[event.type](draft, worker, event as never)
}
