import type { Log } from '../../log.js'
import type { ListenerKey, SocketName } from '../../protocol.js'
import { leaveOrder } from '../brain/parking.js'
import { type StoredName, storedName } from './stored-name.js'

export type Send = (lines: readonly string[], fds?: readonly number[]) => void

export interface SavedStore {
  readonly orders: readonly (readonly [ListenerKey, readonly number[]])[]
  readonly names: readonly (readonly [string, string])[]
  readonly leaving: readonly string[]
}

/**
 * Sockets that the service manager keeps copies of (FDSTORE=1, sd_notify(3)), and gives back at the next start: so a queue outlives the
 * launcher and every worker. What it gives back says by its name whose socket it is.
 */
export class FdStore {
  readonly #send: Send
  readonly #barrier: () => Promise<boolean>
  readonly #most: number
  readonly #log: Log
  /** Slots in the order of their listen(2), by listener: the kernel's order, kept along with it. */
  readonly #orders = new Map<ListenerKey, number[]>()
  /** Under which name a socket is in the store, by slot and listener. */
  readonly #names = new Map<string, string>()
  /** Those that were told to go, until it is known that they have. */
  readonly #leaving = new Set<string>()
  #isFull = false

  /** `most`: as many descriptors as the manager keeps. `barrier`: true once it has done all that was sent before; false: it does not answer. */
  constructor(options: { send: Send; barrier: () => Promise<boolean>; most: number; log: Log }) {
    this.#send = options.send
    this.#barrier = options.barrier
    this.#most = options.most
    this.#log = options.log
  }

  save(): SavedStore {
    return { orders: [...this.#orders], names: [...this.#names], leaving: [...this.#leaving] }
  }

  /** What another image of this process knew. */
  resume({ orders, names, leaving }: SavedStore): void {
    for (const [listener, order] of orders) this.#orders.set(listener, [...order])
    for (const [id, name] of names) this.#names.set(id, name)
    for (const id of leaving) this.#leaving.add(id)
  }

  /** What was given back is in the store still. */
  took(stored: readonly StoredName[]): void {
    for (const one of [...stored].sort((a, b) => a.index - b.index)) {
      this.#order(one.listener).push(one.slot)
      const name = storedName(one)
      if (name !== null) this.#names.set(idOf(one), name)
    }
  }

  /** It listens from now on (or, of datagrams, is bound). */
  keep(socket: SocketName, fd: number): void {
    const order = this.#order(socket.listener)
    if (!order.includes(socket.slot)) order.push(socket.slot)
    this.#put(socket, fd)
  }

  /** It is wanted again after all. */
  keepAgain(socket: SocketName, fd: number): void {
    if (this.#order(socket.listener).includes(socket.slot)) this.#put(socket, fd)
  }

  /**
   * They are about to be closed: the manager's copies go first, for a socket leaves its group with the last one. undefined: there are none.
   * false: that they are gone is not known.
   */
  release(sockets: readonly SocketName[]): Promise<boolean> | undefined {
    const ids = sockets.map(idOf).filter((id) => this.#names.has(id) || this.#leaving.has(id))
    if (ids.length === 0) return undefined
    for (const socket of sockets) this.#remove(socket)
    for (const id of ids) this.#leaving.add(id)
    return this.#barrier().then((isDone) => {
      if (isDone) for (const id of ids) this.#leaving.delete(id)
      return isDone
    })
  }

  /**
   * It is closed for good. The last one of its group takes its place there: `fdOf` gives that one's descriptor, to be stored by its new name.
   */
  drop(socket: SocketName, fdOf: (socket: SocketName) => number | undefined): void {
    this.#remove(socket)
    const order = this.#order(socket.listener)
    const hole = order.indexOf(socket.slot)
    leaveOrder(order, socket.slot)
    const last = order[hole]
    if (last === undefined) return
    const moved = { listener: socket.listener, slot: last }
    const fd = fdOf(moved)
    if (fd === undefined) return
    this.#remove(moved)
    this.#put(moved, fd)
  }

  #put(socket: SocketName, fd: number): void {
    if (this.#names.has(idOf(socket))) return
    const index = this.#order(socket.listener).indexOf(socket.slot)
    const name = storedName({ ...socket, index })
    if (name === null) return
    if (this.#names.size >= this.#most) return this.#tellFull()
    this.#names.set(idOf(socket), name)
    // Without FDPOLL=0 a socket that is shut down would leave the store by itself: when it goes is ours to say.
    this.#send(['FDSTORE=1', `FDNAME=${name}`, 'FDPOLL=0'], [fd])
  }

  #remove(socket: SocketName): void {
    const name = this.#names.get(idOf(socket))
    if (name === undefined) return
    this.#names.delete(idOf(socket))
    this.#send(['FDSTOREREMOVE=1', `FDNAME=${name}`])
  }

  #order(listener: ListenerKey): number[] {
    const there = this.#orders.get(listener)
    if (there !== undefined) return there
    const made: number[] = []
    this.#orders.set(listener, made)
    return made
  }

  #tellFull(): void {
    if (this.#isFull) return
    this.#isFull = true
    this.#log('warn', 'store.full', { most: this.#most })
  }
}

function idOf({ listener, slot }: SocketName): string {
  return `${slot} ${listener}`
}
