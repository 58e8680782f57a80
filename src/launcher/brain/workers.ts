import type { WorkerState } from '../../control-protocol.js'
import type { OrderType } from '../../protocol.js'
import type { Draft } from './draft.js'
import type { Ending } from './ending.js'
import { workerEnded } from './endings.js'
import type { WorkerEvent } from './events.js'
import { claim, forgetAdoptions, opened, openFailed, released } from './listeners.js'
import { mark } from './marks.js'
import type { Worker } from './state.js'

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

/** 'listening' counts as ready once every listener is claimed that this worker's generation, or its predecessor, had when *it* was ready. */
function listeningFirst(draft: Draft, worker: Worker, event: Of<'listening'>): void {
  listening(draft, worker, event)
  const claimed = Object.values(worker.claims).filter((claim) => claim.listening)
  const wanted = draft.state.generations[worker.generation]?.listeners ?? []
  if (wanted.some((key) => !claimed.some((claim) => claim.listener === key))) return
  draft.cancel(`ready:${worker.id}`)
  worker.state = 'ready'
  mark(draft, worker, 'ready')
  if (worker.role === 'first') serve(draft, worker)
}

/** A candidate that closes a listener it needs has not proven itself after all. */
function releasedReady(draft: Draft, worker: Worker, event: Of<'released'>): void {
  released(draft, worker, event)
  if (Object.values(worker.claims).some((claim) => claim.listening)) return
  worker.state = 'claimed'
  draft.timer(`ready:${worker.id}`, draft.state.settings.readyTimeoutMs)
}

function acked(draft: Draft, worker: Worker, event: Of<'acked'>): void {
  const order = settleOrder(draft, worker, event.seq)
  if (order === 'term') worker.term = draft.state.term
  if (order === 'admit' && worker.state === 'ready') serve(draft, worker)
  if (order === 'resume' && worker.state === 'paused') worker.state = 'serving'
  if (order === 'pause' && worker.state === 'serving') {
    worker.state = 'paused'
    mark(draft, worker, 'paused')
  }
}

function serve(draft: Draft, worker: Worker): void {
  worker.state = 'serving'
  worker.failure = null
  mark(draft, worker, 'admitted')
  draft.log('info', 'worker.serving', facts(worker))
  draft.do({ do: 'protect', worker: worker.id })
  // From here on its lines are the operator's, not the reason of a failed start.
  draft.order(worker, { type: 'stderr' })
  if (draft.state.term > 0)
    draft.order(worker, { type: 'term', term: draft.state.term, working: draft.state.working ?? worker.generation })
}

function refused(draft: Draft, worker: Worker, event: Of<'refused'>): void {
  const order = settleOrder(draft, worker, event.seq)
  if (order === undefined) return
  draft.log('error', 'worker.refused', { ...facts(worker), order, code: event.code, reason: event.message })
  if (order === 'admit') draft.kill(worker, `it could not be admitted: ${event.message}`)
  // It cannot serve again, but it can finish what it has; its slot is started anew after it.
  if (order === 'resume') draft.drain(worker, false)
  if (order === 'pause' && worker.state === 'serving') worker.state = 'paused'
}

function orderLate(draft: Draft, worker: Worker, event: Of<'order-late'>): void {
  const order = worker.orders[event.seq]
  if (order === undefined) return
  draft.log('warn', 'worker.silent', { ...facts(worker), order })
  // The only order whose answer is still good when it comes late: the old generation serves on when it says so.
  if (order === 'resume') return
  delete worker.orders[event.seq]
  if (order === 'admit') draft.kill(worker, 'it did not answer the order to serve')
  // A busy old worker accepts nothing either, and will find the order when it looks: it is taken for paused, never killed for being slow.
  if (order === 'pause' && worker.state === 'serving') worker.state = 'paused'
}

/** The order is answered: what it was, unless its time had passed. */
function settleOrder(draft: Draft, worker: Worker, seq: number): OrderType | undefined {
  const order = worker.orders[seq]
  delete worker.orders[seq]
  draft.cancel(`order:${worker.id}:${seq}`)
  return order
}

function readyLate(draft: Draft, worker: Worker): void {
  const wanted = draft.state.generations[worker.generation]?.listeners ?? []
  const missing = wanted.filter(
    (key) => !Object.values(worker.claims).some((claim) => claim.listener === key && claim.listening),
  )
  const what = missing.length === 0 ? 'it did not listen' : `it did not listen on ${missing.join(', ')}`
  draft.kill(worker, `${what} within ${draft.state.settings.readyTimeoutMs} ms`)
}

function drained(draft: Draft, worker: Worker, event: Of<'drained'>): void {
  mark(draft, worker, 'drained', event.outcome)
  draft.log('info', 'worker.drained', { ...facts(worker), ...event.outcome })
  draft.terminate(worker)
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
}

function exited(draft: Draft, worker: Worker, event: Of<'exited'>): void {
  if (isNeeded(worker)) worker.failure ??= 'it ended by itself'
  end(draft, worker, event)
}

function isNeeded({ state }: Worker): boolean {
  return state === 'spawned' || state === 'claimed' || state === 'ready' || state === 'serving'
}

function end(draft: Draft, worker: Worker, how: Ending): void {
  for (const topic of ['ready', 'drain', 'kill'] as const) draft.cancel(`${topic}:${worker.id}`)
  for (const seq of Object.keys(worker.orders)) draft.cancel(`order:${worker.id}:${Number(seq)}`)
  worker.state = 'exited'
  forgetAdoptions(draft, worker)
  mark(draft, worker, 'exited')
  const { failure } = worker
  draft.log(failure === null ? 'info' : 'error', 'worker.exited', {
    ...facts(worker),
    code: how.code,
    signal: how.signal,
    reason: failure,
  })
  workerEnded(draft, worker, how)
}

export function facts(worker: Worker): { slot: number; generation: number; pid: number | null } {
  return { slot: worker.slot, generation: worker.generation, pid: worker.pid }
}

const always = {
  spawned: ignore,
  'spawn-failed': ignore,
  acked,
  refused,
  'order-late': orderLate,
  exited,
  'listen-failed': listenFailed,
  ready: ignore,
  probed: ignore,
  'heartbeat-lost': ignore,
  'heartbeat-back': ignore,
  answered: ignore,
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
  draft.kill(worker, event.message)
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
  claimed: { ...before, hello: helloAgain, listening: listeningFirst, released, 'ready-late': readyLate },
  ready: { ...before, hello: helloAgain, listening, released: releasedReady, 'ready-late': ignore },
  serving: { ...after, drained: ignore, 'drain-late': ignore, 'kill-late': ignore },
  paused: { ...after, drained: ignore, 'drain-late': ignore, 'kill-late': ignore },
  draining: { ...after, drained, 'drain-late': drainLate, 'kill-late': ignore },
  stopping: { ...after, claim: ignore, drained: ignore, 'drain-late': ignore, 'kill-late': killLate, gone: ignore },
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
