import { isDatagram } from '../../protocol.js'
import type { Draft } from './draft.js'
import { listensOn } from './listeners.js'
import type { CanaryShare, Listener, Worker } from './state.js'

/**
 * Which sockets of a listener get new connections. The index of a socket in its reuseport group is its place in the order of listen(2); the
 * program that chooses belongs to the group (kernel.md §3, §4). Without one the kernel's hash chooses among all of them; --balance asks for
 * another choice.
 */

/** What chooses the socket of a new connection: first the canary gets its share; null weights: the kernel's hash. */
interface Steering {
  readonly weights: readonly number[] | null
  readonly canary: CanaryShare | null
}

/** Settled after each event: a socket without a worker of its own gets no new connection, as long as another one has a worker. */
export function settleSteering(draft: Draft): void {
  const { phase, steers } = draft.state
  if (!steers || phase !== 'running') return
  for (const listener of draft.listeners) {
    if (listener.shared) continue
    const weights = weightsOf(draft, listener)
    steer(draft, listener, { weights, canary: weights === null ? null : shareOf(draft, listener) })
  }
}

/** Of a canary, its slot alone has a share of another kind. A program is there before its socket is: without one the hash would choose it. */
function weightsOf(draft: Draft, { key, order, adoptedBy }: Listener, leaving?: number): number[] | null {
  const { state } = draft
  const canary = state.run?.canary?.slot
  const stays = (slot: number): boolean => state.parked[slot] === undefined && slot !== leaving && slot !== canary
  // Without agents nobody adopts: a slot is whole when its own worker serves.
  const accepts = ({ state: at }: Worker): boolean => at === 'serving' || at === 'paused'
  const serves = (slot: number): boolean =>
    state.settings.agent || draft.members.some((worker) => worker.slot === slot && accepts(worker))
  // Datagrams of one client belong together, whatever the hash has chosen, for as long as that socket is there: whoever has adopted it reads them.
  const isWhole = (slot: number): boolean =>
    stays(slot) && (isDatagram(key) || (adoptedBy[slot] === undefined && serves(slot)))
  const chosen = order.filter(order.some(isWhole) ? isWhole : stays)
  const isAll = chosen.length === order.length && canary === undefined
  // What only the canary listens on is its own.
  if (chosen.length === 0 || (isAll && (isDatagram(key) || !state.settings.alwaysSteers))) return null
  return order.map((slot) => (chosen.includes(slot) ? 1 : 0))
}

/** From the moment on in which it accepts. */
function shareOf({ state, workers }: Draft, { key, order }: Listener): CanaryShare | null {
  const { run } = state
  if (run === null || run.canary === null) return null
  const { plan, slot } = run.canary
  const index = order.indexOf(slot)
  const serves = (worker: Worker): boolean =>
    worker.role === 'canary' && worker.slot === slot && worker.state === 'serving' && listensOn(worker, key)
  if (index === -1 || order.length === 1 || !workers.some(serves)) return null
  return { index, share: plan.share, by: plan.by }
}

/**
 * For the moment in which a socket leaves its group: the kernel moves the last one into the hole, so only indexes that mean the same before
 * and after are chosen. False: none does. Then one is chosen that is out of range afterwards, and the hash sends to any socket, until the
 * program is changed. (While there is a canary, none leaves.)
 */
export function narrow(draft: Draft, listener: Listener, leaving: number): boolean {
  const weights = weightsOf(draft, listener, leaving) ?? listener.order.map(() => 1)
  const last = listener.order.length - 1
  const staying = weights.map((weight, index) => (index === last ? 0 : weight))
  const isExact = staying.includes(1)
  steer(draft, listener, { weights: isExact ? staying : weights, canary: null })
  return isExact
}

function steer(draft: Draft, listener: Listener, { weights, canary }: Steering): void {
  const [slot] = listener.order
  if (slot === undefined || (isSame(listener.weights, weights) && isSameShare(listener.canary, canary))) return
  listener.weights = weights
  listener.canary = canary
  draft.do({ do: 'steer', socket: { listener: listener.key, slot }, weights, canary })
}

function isSameShare(a: CanaryShare | null, b: CanaryShare | null): boolean {
  return a?.index === b?.index && a?.share === b?.share && a?.by === b?.by
}

function isSame(a: readonly number[] | null, b: readonly number[] | null): boolean {
  return (
    a === b || (a !== null && b !== null && a.length === b.length && a.every((weight, index) => weight === b[index]))
  )
}
