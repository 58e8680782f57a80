import { Socket } from 'node:net'
import type { Fate } from '../meeting.js'
import { type Native, READABLE } from '../native.js'
import type { ListenAddress, ListenerKey, SocketName } from '../protocol.js'
import {
  ClosedHandle,
  copyAcceptor,
  createListenHandle,
  type ListenHandle,
  listenError,
  ownerOf,
  type Server,
  undress,
} from './handles.js'
import type { KeepAlive } from './keep-alive.js'

export type ClaimState = 'held' | 'live' | 'paused' | 'draining' | 'released'

export interface ClaimFacts {
  readonly id: number
  readonly address: ListenAddress
  readonly listener: ListenerKey
  readonly slot: number
  readonly server: Server
  readonly backlog: number
  /** Of a listener of the library. */
  readonly place: { readonly fate: Fate | undefined } | undefined
}

export interface ClaimWorld {
  readonly native: Native
  readonly keepAlive: KeepAlive
  released(claim: Claim): void
}

/**
 * One successful `listen()` of the program, and the owner of every handle that accepts for it: the one of this worker's slot and those
 * of adopted slots. Node knows one handle per server; what it does to that one (close, ref, unref) is done to all.
 */
export class Claim {
  facts: ClaimFacts
  /** The program has not said yet that this may accept. */
  isSilent: boolean
  readonly #world: ClaimWorld
  #state: ClaimState
  #main: ListenHandle
  #backlog: number
  #referenced = true
  readonly #adopted = new Map<number, ListenHandle>()

  /** Takes `fd`, and puts its handle into the server for Node's own listen to find. */
  constructor(facts: ClaimFacts, fd: number, mode: 'hold' | 'go', world: ClaimWorld) {
    this.facts = facts
    this.isSilent = facts.place !== undefined
    this.#world = world
    this.#backlog = facts.backlog
    this.#state = mode === 'hold' ? 'held' : 'live'
    this.#main = createListenHandle(fd) // throws before anything is changed: `fd` is the caller's then
    this.#dress(this.#main, mode === 'hold')
    facts.server._handle = this.#main
    this.#count()
  }

  get state(): ClaimState {
    return this.#state
  }

  get connections(): number {
    return this.facts.server._connections
  }

  /** Every socket this claim holds. The descriptors stay its own. */
  sockets(): { name: SocketName; fd: number }[] {
    if (this.#state === 'released') return []
    const { listener, slot } = this.facts
    const list = this.#main instanceof ClosedHandle ? [] : [{ name: { listener, slot }, fd: this.#main.fd }]
    for (const [adopted, handle] of this.#adopted) list.push({ name: { listener, slot: adopted }, fd: handle.fd })
    return list
  }

  /** Accept: end of a hold or of a pause. Not before the program has said so. */
  accept(): void {
    if (this.isSilent || this.#state === 'live' || this.#state === 'released') return
    const handle = this.#main
    delete (handle as Partial<ListenHandle>).listen
    const errno = handle.listen(this.#backlog)
    if (errno !== 0) {
      this.#silence(handle)
      throw listenError(errno)
    }
    this.#state = 'live'
    this.#count()
  }

  /**
   * Stop accepting, with nothing that a client or the program could notice. libuv cannot stop a listening handle but by closing it, so the
   * socket moves to a new handle that does not listen; without that swap `server.address()` would throw EBADF. The descriptor is a
   * dup: one loop cannot watch the same number twice.
   */
  pause(into: 'paused' | 'draining' = 'paused'): void {
    if (this.#state === 'released') return
    if (this.#state === 'live') this.#swap()
    this.#giveUpAdopted()
    this.#state = into
    this.#count()
  }

  /** Takes `fd`, a sibling's socket, and accepts from it too. */
  adopt(slot: number, fd: number): void {
    const handle = this.#own(fd)
    copyAcceptor(this.#main, handle)
    const errno = handle.listen(this.#backlog)
    if (errno !== 0) {
      handle.close()
      throw listenError(errno)
    }
    if (!this.#referenced) handle.unref()
    this.unadopt(slot)
    this.#adopted.set(slot, handle)
  }

  unadopt(slot: number): void {
    this.#adopted.get(slot)?.close()
    this.#adopted.delete(slot)
  }

  /** Takes `fd`: the socket to accept from, in place of the one that this was held with. */
  seat(slot: number, fd: number): void {
    if (this.#state !== 'held') {
      this.#world.native.close(fd)
      return
    }
    const fresh = this.#own(fd)
    copyAcceptor(this.#main, fresh)
    this.#replace(fresh)
    this.facts = { ...this.facts, slot }
  }

  /** Takes `fd`, a connection that nobody accepted, and gives it to the server. */
  take(fd: number): Socket | undefined {
    return this.give(this.wrap(fd))
  }

  /** The handle that a connection needs. Takes `fd`. */
  wrap(fd: number): ListenHandle {
    return this.#own(fd)
  }

  /**
   * Gives a connection to the server the way libuv gives an accepted one (facts: node.md §3): it counts, TLS and HTTP/2 begin, node:cluster
   * hands it on. The state of the claim does not matter, so a held worker can be asked. undefined: the server has not made a socket of it.
   */
  give(handle: ListenHandle): Socket | undefined {
    const { onconnection } = this.#main
    if (typeof onconnection !== 'function') {
      handle.close()
      throw Object.assign(new Error(`the server on ${this.facts.listener} takes no connections`), { code: 'EBADF' })
    }
    onconnection.call(this.#main, 0, handle)
    const owner = ownerOf(handle)
    return owner instanceof Socket ? owner : undefined
  }

  /** Close every copy of the socket, while the server goes on to say where it listened. For a claim that does not accept any more. */
  letGo(): void {
    if (this.#state !== 'draining' || this.#main instanceof ClosedHandle) return
    this.#replace(new ClosedHandle(this.#main))
  }

  /** Nothing waits in the accept queue of any socket that is accepted from. */
  isQueueEmpty(): boolean {
    if (this.#state !== 'live') return true
    return this.sockets().every(({ fd }) => this.#world.native.pollSync(fd, READABLE, 0) === 0)
  }

  /** For a listen() that failed after its claim, without Node having closed the handle. */
  abandon(): void {
    if (this.#state !== 'released') this.#main.close()
  }

  #swap(): void {
    const old = this.#main
    const fresh = this.#own(this.#world.native.dup(old.fd))
    copyAcceptor(old, fresh)
    this.#replace(fresh)
  }

  #replace(fresh: ListenHandle): void {
    const old = this.#main
    this.#dress(fresh, true)
    this.#main = fresh
    if (!this.#referenced) this.#reference(false)
    const { server } = this.facts
    if (server._handle === old) server._handle = fresh
    undress(old)
    old.close()
    // node:cluster's primary keeps the handle, not the server (internal/cluster/round_robin_handle): its close() must still end the claim.
    old.close = () => this.#main.close()
  }

  #own(fd: number): ListenHandle {
    try {
      return createListenHandle(fd)
    } catch (error) {
      this.#world.native.close(fd)
      throw error
    }
  }

  /** Own methods on the handle that the server (or node:cluster) calls: close ends the claim, ref and unref mean every handle. */
  #dress(handle: ListenHandle, silent: boolean): void {
    if (silent) this.#silence(handle)
    handle.close = (done) => {
      undress(handle)
      handle.close(done)
      this.#release()
    }
    handle.ref = () => this.#reference(true)
    handle.unref = () => this.#reference(false)
  }

  #silence(handle: ListenHandle): void {
    handle.listen = (backlog) => {
      this.#backlog = backlog
      return 0
    }
  }

  #reference(on: boolean): void {
    this.#referenced = on
    const own = this.#main
    const { ref, unref } = Object.getPrototypeOf(own) as ListenHandle
    for (const handle of [own, ...this.#adopted.values()]) (on ? ref : unref).call(handle)
    this.#count()
  }

  #giveUpAdopted(): void {
    for (const slot of [...this.#adopted.keys()]) this.unadopt(slot)
  }

  #release(): void {
    if (this.#state === 'released') return
    this.#state = 'released'
    this.#giveUpAdopted()
    this.#count()
    this.#world.released(this)
  }

  #count(): void {
    const silent = this.#state !== 'live' && this.#state !== 'released'
    this.#world.keepAlive.set(this, silent && this.#referenced)
  }
}
