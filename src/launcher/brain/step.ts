import { adopt, latecomer, settleLatecomers } from './adopt.js'
import { settleStopgaps } from './bake.js'
import { canaryOver, requestPromotion, settleCanary } from './canary.js'
import { Draft } from './draft.js'
import { pauseOver, settleGenerations, settleSlots } from './endings.js'
import type { Effect, Event } from './events.js'
import { settleLanes } from './lanes.js'
import { inheritanceOver, settleListeners } from './listeners.js'
import { answeredOrder, looked, parkOver, settleParking, steerFailed } from './parking.js'
import { settleRelief } from './relief.js'
import { bakeOver, requestAbort, requestReload, resolved, settleReload, startWaiting } from './reload.js'
import { requestScale, settleScale } from './scale.js'
import { begin, settleStart } from './start.js'
import type { Caller, State } from './state.js'
import { settleSteering } from './steering.js'
import { beginStop, pressStop, settleStop } from './stop.js'
import { requestUpgrade, startUpgrade, upgraded, upgradeRefused } from './upgrade.js'
import { workerStep } from './workers.js'

/**
 * The launcher's brain: what has happened and what is known go in, what is known then and what must be done come out. Pure: no clock,
 * no process, no socket. First the one thing that happened is noted, then the standing rules are settled, each a look at the whole state:
 * so an event can never leave a rule half done, in whatever order events arrive.
 */
export function step(before: State, event: Event): { state: State; effects: Effect[] } {
  const draft = new Draft(copyOf(before), event.at)
  note(draft, event)
  settleStart(draft)
  settleReload(draft)
  settleCanary(draft)
  settleRelief(draft)
  settleScale(draft)
  startUpgrade(draft)
  startWaiting(draft)
  settleLatecomers(draft)
  settleGenerations(draft)
  settleSlots(draft)
  settleListeners(draft)
  settleStopgaps(draft)
  settleParking(draft)
  settleSteering(draft)
  settleLanes(draft)
  settleStop(draft)
  return { state: draft.state, effects: [...draft.effects, ...draft.last] }
}

function note(draft: Draft, event: Event): void {
  switch (event.type) {
    case 'start':
      return begin(draft)
    case 'adopt':
      return adopt(draft, event)
    case 'latecomer':
      return latecomer(draft, event)
    case 'settings':
      draft.state.settingsOfNext = event.settings
      return
    case 'reload':
      return requestReload(draft, callerOf(event), event.isShared)
    case 'promote':
    case 'abort':
      return orderReload(draft, event)
    case 'resolved':
      return resolved(draft, event)
    case 'stop':
      return event.pressure === 'drain' ? beginStop(draft, event) : pressStop(draft, event.pressure, event.exitCode)
    case 'scale':
      return requestScale(draft, event)
    case 'upgrade':
      return requestUpgrade(draft, event)
    case 'upgrade-refused':
      return upgradeRefused(draft, event)
    case 'upgraded':
      return upgraded(draft, event)
    case 'looked':
      return looked(draft, event)
    case 'steer-failed':
      return steerFailed(draft, event.listener, event.reason)
    case 'timer':
      return ring(draft, event.id)
    default: {
      const worker = draft.state.workers[event.worker]
      if (worker !== undefined) workerStep(draft, worker, event)
      if (event.type === 'acked' || event.type === 'refused') answeredOrder(draft, event.worker, event.seq)
    }
  }
}

function callerOf({ caller, wait, canary }: Extract<Event, { type: 'reload' }>): Caller {
  return { id: caller, wait, ...(canary === undefined ? {} : { canary }) }
}

function orderReload(draft: Draft, { type, caller, wait }: Extract<Event, { type: 'promote' | 'abort' }>): void {
  const who = { id: caller, wait }
  const isDone = type === 'promote' ? requestPromotion(draft, who) : requestAbort(draft, who)
  if (isDone) return
  const reason = type === 'promote' ? 'there is no canary that is watched' : 'no reload runs'
  const next = '`reuseport-run status` says what goes on, and has the last verdict.'
  draft.do({ do: 'refuse', caller, refusal: { reason, facts: { step: draft.state.run?.step ?? 'none' }, next } })
}

function ring(draft: Draft, id: string): void {
  const [topic, subject, seq] = id.split(':')
  if (topic === 'respawn') return pauseOver(draft, Number(subject))
  if (topic === 'bake') return bakeOver(draft, Number(subject))
  if (topic === 'canary') return canaryOver(draft, Number(subject))
  if (topic === 'late') return inheritanceOver(draft, Number(subject))
  if (topic === 'park') return parkOver(draft, Number(subject))
  const worker = draft.state.workers[Number(subject)]
  if (worker === undefined) return
  if (topic === 'full') worker.isFull = false
  if (topic === 'order') workerStep(draft, worker, { type: 'order-late', seq: Number(seq) })
  if (topic === 'ready' || topic === 'drain' || topic === 'kill') workerStep(draft, worker, { type: `${topic}-late` })
}

/** The state is plain data without cycles: this is all that structuredClone would do, in a tenth of the time. */
function copyOf<T>(value: T): T {
  // What is frozen is never changed, only replaced.
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  if (Array.isArray(value)) return value.map(copyOf) as T
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) copy[key] = copyOf((value as Record<string, unknown>)[key])
  return copy as T
}
