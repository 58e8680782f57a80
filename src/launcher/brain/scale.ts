import type { ScaleVerdict } from '../../control-protocol.js'
import { MAX_WORKERS } from '../../control-protocol.js'
import { giveUpOne } from './bake.js'
import type { Draft } from './draft.js'
import { disownGone } from './listeners.js'
import { park, unpark } from './parking.js'
import { EMPTY_TALLY } from './restart-policy.js'
import type { Scale, Worker } from './state.js'

/**
 * Another number of slots. A new slot's worker is held and proven, like any respawn, before it is admitted; its socket joins the group with
 * that. A slot that goes is the last one: its worker drains, its sockets are parked. During a reload a scale waits, for the newest version.
 */

export interface ScaleOrder {
  readonly caller: number | null
  /** Absolute, or with `by` relative to what was asked for last. */
  readonly workers: number
  readonly isRelative: boolean
}

export function requestScale(draft: Draft, { caller, workers, isRelative }: ScaleOrder): void {
  const { state } = draft
  const asked = state.scale?.to ?? state.slots.length
  const to = isRelative ? asked + workers : workers
  const callers = caller === null ? [] : [caller]
  const now = { from: state.slots.length, to: asked, callers, reason: null }
  if (state.phase === 'stopping' || state.phase === 'stopped')
    return tell(draft, { ...now, reason: STOPPED }, 'stopped')
  const isNumber = to >= 1 && to <= MAX_WORKERS
  if (!isNumber || !state.settings.agent) {
    // A new socket gets connections at once, and nobody else could accept them if its worker fails; nor what one that goes leaves behind.
    const reason = isNumber ? NO_AGENT : `${to} workers: give 1 to ${MAX_WORKERS}`
    draft.log('warn', 'scale.refused', { reason })
    return tell(draft, { ...now, reason }, 'refused')
  }
  state.scale ??= { from: state.slots.length, to, callers: [], reason: null }
  state.scale.to = to
  state.scale.callers.push(...callers)
  state.scale.reason = null
  draft.log('info', 'scale.started', { from: state.scale.from, to })
}

const STOPPED = 'the launcher stops'
const NO_AGENT =
  'with --listen the number of workers is that of the start: workers of such a program cannot stand in for each other'

/** Settled after each event. */
export function settleScale(draft: Draft): void {
  const { phase, run, scale } = draft.state
  if (scale === null || phase !== 'running' || run !== null || !isScalable(draft)) return
  resize(draft, scale.to)
  const { slots } = draft.state
  for (const worker of draft.members) {
    const slot = slots[worker.slot]
    if (slot !== undefined && worker.state === 'serving') slot.isJoining = false
  }
  if (slots.some(({ isJoining }) => isJoining)) return
  draft.state.scale = null
  const { from, to, reason } = scale
  draft.log('info', 'scale.done', { from, to })
  tell(draft, scale, reason === null ? 'done' : 'aborted')
}

/** Whether it can be done now: slots go only while a worker that stays is well, or nobody would accept what is left. */
export function isScalable(draft: Draft): boolean {
  const { scale, slots } = draft.state
  if (scale === null || scale.to >= slots.length) return true
  const isWell = (worker: Worker): boolean =>
    worker.state === 'serving' && !worker.stuck && !draft.awaits(worker, 'pause')
  return draft.members.some((worker) => worker.slot < scale.to && isWell(worker))
}

/** The first worker of a new slot has ended before it served: as many as did serve stay. */
export function joinFailed(draft: Draft, worker: Worker, reason: string): void {
  const { scale, slots } = draft.state
  if (scale === null || slots[worker.slot]?.isJoining !== true) return
  scale.to = Math.max(
    1,
    slots.findIndex(({ isJoining }) => isJoining),
  )
  scale.reason = reason
  draft.log('error', 'scale.failed', { from: scale.from, to: scale.to, reason })
}

/** Stop wins. */
export function stopScale(draft: Draft): void {
  const { scale } = draft.state
  if (scale === null) return
  draft.state.scale = null
  tell(draft, { ...scale, to: draft.state.slots.length, reason: STOPPED }, 'stopped')
}

function resize(draft: Draft, to: number): void {
  const { state } = draft
  while (state.slots.length < to) {
    unpark(draft, state.slots.length)
    const { working, term } = state
    state.slots.push({ working, term, tally: EMPTY_TALLY, pausing: false, isJoining: true })
  }
  const leaving = draft.members.filter(({ slot }) => slot >= to)
  for (const slot of state.slots.splice(to).keys()) {
    draft.cancel(`respawn:${to + slot}`)
    park(draft, to + slot)
  }
  // When all of them are gone: what one leaves to another must not have to leave again.
  for (const worker of leaving) giveUpOne(draft, worker)
  disownGone(draft)
}

function tell(draft: Draft, { from, to, callers, reason }: Scale, result: ScaleVerdict['result']): void {
  const { parked, slots, workers } = draft.state
  const draining = Object.values(workers).filter((worker) => worker.slot >= slots.length).length
  const verdict = { result, from, to, reason, draining, parked: Object.keys(parked).map(Number) }
  draft.afterwards({ do: 'scaled', callers, verdict })
}
