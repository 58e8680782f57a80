import type { Draft } from './draft.js'
import { allSockets } from './listeners.js'
import { stopReloads } from './reload.js'
import { stopScale } from './scale.js'
import { stopUpgrades } from './upgrade.js'

/**
 * The end of the service: the launcher and the workers' spare copies let go of every socket, so that each serving worker holds the last
 * copy of what it accepts from; then each accepts until its queue is empty, closes it and drains. Stop wins over reload.
 */

/** What a second Ctrl-C leaves the workers (reliability.md K-02). */
const QUICK_MS = 2_000

export function beginStop(draft: Draft, order: { caller: number | null; exitCode: number; failure?: string }): void {
  const { state } = draft
  if (state.stop !== null) {
    if (order.caller !== null) state.stop.callers.push(order.caller)
    return
  }
  state.phase = 'stopping'
  state.stop = {
    step: 'drop',
    pressure: 'drain',
    exitCode: order.exitCode,
    failure: order.failure ?? null,
    callers: order.caller === null ? [] : [order.caller],
  }
  draft.log('info', 'launcher.stopping', { workers: draft.workers.length })
  stopReloads(draft)
  stopScale(draft)
  stopUpgrades(draft)
  for (const slot of Object.keys(state.parked)) draft.cancel(`park:${Number(slot)}`)
  state.parked = {}
  for (const worker of draft.workers) {
    // Nothing that has not served yet has anything to finish.
    if (worker.state !== 'stopping' && !draft.mayAccept(worker)) draft.kill(worker, null)
  }
  const sockets = allSockets(draft.listeners)
  state.listeners = {}
  if (sockets.length > 0) draft.do({ do: 'close', sockets })
}

/** A second signal leaves 2 s, a third none; QUIT sends the stop signal at once. */
export function pressStop(draft: Draft, how: 'more' | 'now', exitCode: number): void {
  if (draft.state.stop === null) {
    beginStop(draft, { caller: null, exitCode: how === 'now' ? exitCode : 0 })
    if (how === 'more') return
  }
  const stop = draft.state.stop
  if (stop === null) return
  stop.pressure = how === 'now' ? 'now' : stop.pressure === 'drain' ? 'quick' : 'kill'
  stop.exitCode = exitCode
  if (stop.step === 'drop') stop.step = 'drain'
  draft.log('warn', 'launcher.stopping-now', { pressure: stop.pressure, workers: draft.workers.length })
  for (const worker of draft.workers) {
    if (stop.pressure === 'kill') draft.kill(worker, null)
    else if (worker.state === 'stopping') continue
    else if (stop.pressure === 'now') draft.terminate(worker)
    else {
      if (worker.state !== 'draining') draft.drain(worker, true)
      draft.timer(`drain:${worker.id}`, QUICK_MS)
    }
  }
}

/** Settled after each event. */
export function settleStop(draft: Draft): void {
  const { stop } = draft.state
  if (stop === null || draft.state.phase === 'stopped') return
  // While a spare copy is out there, closing the live one would not end the socket: clients would wait for nobody.
  if (stop.step === 'drop' && !draft.workers.some((worker) => draft.awaits(worker, 'spares'))) {
    stop.step = 'drain'
    for (const worker of draft.workers)
      if (worker.state !== 'draining' && worker.state !== 'stopping') draft.drain(worker, true)
  }
  if (draft.workers.length > 0) return
  draft.state.phase = 'stopped'
  stop.step = 'end'
  draft.log('info', 'launcher.stopped', { code: stop.exitCode })
  draft.afterwards({ do: 'exit', code: stop.exitCode, callers: stop.callers })
}
