import { MAX_WORKERS } from '../../control-protocol.js'
import type { ListenerKey, SocketName } from '../../protocol.js'
import { leaveOrder } from '../brain/parking.js'
import type { StoredName } from './stored-name.js'

/** What a launcher makes of the sockets that its predecessor has left with the service manager. */
export interface Heritage {
  /** Slots by listener, in the order of their listen(2). */
  readonly orders: Record<ListenerKey, readonly number[]>
  /** As many slots as there are sockets for, at least: what waits in their queues is for somebody. */
  readonly slots: number
  /** Every group is known from its first index to its last. What is missing, the kernel may have filled with any other. */
  readonly isInOrder: boolean
  readonly isWanted: (name: SocketName) => boolean
}

/**
 * `canScale`: workers can stand in for each other, so it can be begun with more slots than are asked for, and the last ones go in good order.
 * `given`: listeners whose socket comes from elsewhere.
 */
export function heritageOf(
  stored: readonly StoredName[],
  how: { workers: number; canScale: boolean; given: readonly ListenerKey[] },
): Heritage {
  const most = how.canScale ? MAX_WORKERS : how.workers
  const isWanted = ({ listener, slot }: SocketName): boolean => slot < most && !how.given.includes(listener)
  const wanted = stored.filter(isWanted)
  const unwanted = stored.filter((one) => !isWanted(one))
  const orders: Record<ListenerKey, readonly number[]> = {}
  let isInOrder = true
  for (const key of new Set(wanted.map(({ listener }) => listener))) {
    const members = stored.filter(({ listener }) => listener === key).sort((a, b) => a.index - b.index)
    if (key.startsWith('tcp ') && members.some(({ index }, place) => index !== place)) isInOrder = false
    const order = members.map(({ slot }) => slot)
    for (const { listener, slot } of unwanted) if (listener === key) leaveOrder(order, slot)
    orders[key] = order
  }
  return { orders, slots: Math.max(how.workers, ...wanted.map(({ slot }) => slot + 1)), isInOrder, isWanted }
}
