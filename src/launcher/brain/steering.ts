import type { Draft } from './draft.js'
import type { Listener } from './state.js'

/**
 * Which sockets of a listener get new connections. The index of a socket in its reuseport group is its place in the order of listen(2); the
 * program that chooses belongs to the group (kernel.md §3, §4). Without one the kernel's hash chooses among all of them; --balance asks for
 * another choice.
 */

/** Settled after each event: a socket without a worker of its own gets no new connection, as long as another one has a worker. */
export function settleSteering(draft: Draft): void {
  const { phase, steers } = draft.state
  if (!steers || phase !== 'running') return
  for (const listener of draft.listeners) {
    if (listener.address.kind === 'unix') continue
    steer(draft, listener, weightsOf(draft, listener))
  }
}

function weightsOf({ state }: Draft, { order, adoptedBy }: Listener, leaving?: number): number[] | null {
  const stays = (slot: number): boolean => state.parked[slot] === undefined && slot !== leaving
  const isWhole = (slot: number): boolean => stays(slot) && adoptedBy[slot] === undefined
  const chosen = order.filter(order.some(isWhole) ? isWhole : stays)
  const isAll = chosen.length === order.length
  return isAll && !state.settings.alwaysSteers ? null : order.map((slot) => (chosen.includes(slot) ? 1 : 0))
}

/**
 * For the moment in which a socket leaves its group: the kernel moves the last one into the hole, so only indexes that mean the same before
 * and after are chosen. False: none does. Then one is chosen that is out of range afterwards, and the hash sends to any socket, until the
 * program is changed.
 */
export function narrow(draft: Draft, listener: Listener, leaving: number): boolean {
  const weights = weightsOf(draft, listener, leaving) ?? listener.order.map(() => 1)
  const last = listener.order.length - 1
  const staying = weights.map((weight, index) => (index === last ? 0 : weight))
  const isExact = staying.includes(1)
  steer(draft, listener, isExact ? staying : weights)
  return isExact
}

function steer(draft: Draft, listener: Listener, weights: readonly number[] | null): void {
  const [slot] = listener.order
  if (slot === undefined || isSame(listener.weights, weights)) return
  listener.weights = weights
  draft.do({ do: 'steer', socket: { listener: listener.key, slot }, weights })
}

function isSame(a: readonly number[] | null, b: readonly number[] | null): boolean {
  return (
    a === b || (a !== null && b !== null && a.length === b.length && a.every((weight, index) => weight === b[index]))
  )
}
