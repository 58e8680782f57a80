import type { Socket } from 'node:dgram'
import { clearTimeout, setTimeout } from 'node:timers'
import { type Native, READABLE } from '../native.js'
import type { ListenAddress, ListenerKey, SocketName } from '../protocol.js'
import type { ClaimFacts, ClaimState } from './claim.js'
import { bindTo, createBeside, type DatagramHandle, exchangeHandle, handleOf } from './datagram-handles.js'
import type { Server } from './handles.js'
import type { KeepAlive } from './keep-alive.js'
import { KeptFlows } from './kept-flows.js'
import { StandIn } from './stand-in.js'

/** What had come of the flows before they were kept is read in no time; under a flood it would never be all. */
const EMPTY_MS = 500
/** Who is to receive does so within milliseconds. If not, what comes is read here all the same. */
const BREATH_MS = 200

export interface DatagramWorld {
  readonly native: Native
  readonly keepAlive: KeepAlive
  released(claim: DatagramClaim): void
}

/** What of a UDP socket is drained: while that goes on it counts as one connection, until the program closes it. */
class Flows extends StandIn {
  constructor() {
    super('udp')
  }

  begin(): void {
    this.count(1)
  }

  end(): void {
    this.count(0)
  }
}

/**
 * One bind() of the program, of a UDP socket that goes from process to process: all of them have the same one, and what has come waits in it,
 * whoever reads it. So a process stops reading, and nothing is lost; it can still send from it.
 */
export class DatagramClaim {
  facts: ClaimFacts
  /** The program has not said yet that this may receive. */
  isSilent = true
  readonly socket: Socket
  /** Nothing that a client is waiting for is known of before a drain. */
  readonly connections = 0
  readonly #world: DatagramWorld
  readonly #flows = new Flows()
  /** Sockets of other slots. */
  readonly #adopted = new Map<number, Socket>()
  readonly #lingerMs: number
  readonly #kept: KeptFlows | undefined
  #breath: NodeJS.Timeout | undefined
  #linger: NodeJS.Timeout | undefined
  /** What is to be done when no flow is kept any more. */
  readonly #later: (() => void)[] = []
  #state: ClaimState = 'held'
  #isGivenUp = false

  /** Takes `fd`, and receives nothing from it. Throws what bind() of the program's socket does; `fd` is the caller's then. */
  constructor(
    facts: {
      readonly id: number
      readonly address: ListenAddress & { readonly kind: 'udp' }
      readonly listener: ListenerKey
      readonly slot: number
      readonly place: ClaimFacts['place']
      /** Flows stay with this process for so long after it has been succeeded; 0: they do not. */
      readonly lingerMs: number
    },
    socket: Socket,
    fd: number,
    world: DatagramWorld,
  ) {
    this.facts = { ...facts, server: this.#flows as unknown as Server, backlog: 0 }
    this.socket = socket
    this.#world = world
    this.#lingerMs = facts.lingerMs
    const { native } = world
    bindTo(socket, native.dup(fd), native)
    native.close(fd)
    // A handle that does not receive does not keep the event loop alive.
    world.keepAlive.set(this, true)
    socket.once('close', () => this.#closed())
    if (facts.lingerMs > 0) this.#kept = new KeptFlows(socket, facts.lingerMs, native)
  }

  get state(): ClaimState {
    return this.#state
  }

  /** Every socket this claim receives from, or will. The descriptors stay its own. */
  sockets(): { name: SocketName; fd: number }[] {
    const { listener, slot } = this.facts
    const own = this.#isGivenUp ? [] : [[slot, this.socket] as const]
    return [...own, ...this.#adopted].flatMap(([of, socket]) => {
      const fd = handleOf(socket)?.fd
      return fd === undefined ? [] : [{ name: { listener, slot: of }, fd }]
    })
  }

  /** Receive: end of a hold or of a pause. Not before the program has said so. */
  accept(): void {
    if (this.isSilent || this.#state === 'live' || this.#state === 'released') return
    if (this.#isGivenUp)
      throw Object.assign(new Error(`the socket of ${this.facts.listener} is given up`), { code: 'EBADF' })
    this.#handle?.recvStart()
    this.#flows.end()
    this.#later.length = 0
    if (this.#linger !== undefined) void this.#endLinger()
    this.#become('live')
  }

  pause(into: 'paused' | 'draining' = 'paused'): void {
    if (this.#state === 'released') return
    clearTimeout(this.#breath)
    this.#kept?.stop()
    this.#handle?.recvStop()
    for (const slot of [...this.#adopted.keys()]) this.unadopt(slot)
    if (into === 'draining') this.#flows.begin()
    this.#become(into)
  }

  /**
   * Another process is about to receive from the same socket: the flows that were heard of lately stay with this one. Resolves when nothing of them
   * is left in the own socket; nothing more is received from it then, until it is plain that nobody else does.
   */
  async keepFlows(): Promise<void> {
    const fd = this.#handle?.fd
    if (this.#kept === undefined || this.#state !== 'live' || fd === undefined) return
    this.#kept.keep(fd)
    clearTimeout(this.#linger)
    this.#linger = setTimeout(() => void this.#endLinger(), this.#lingerMs)
    const deadline = performance.now() + EMPTY_MS
    while (!this.isQueueEmpty() && performance.now() < deadline) await new Promise(setImmediate)
    if (this.state !== 'live') return
    this.#kept.stop()
    this.#handle?.recvStop()
    clearTimeout(this.#breath)
    this.#breath = setTimeout(() => {
      if (this.#state === 'live') this.#handle?.recvStart()
    }, BREATH_MS)
  }

  /** When no flow is kept any more: now, if none is. */
  afterLinger(deed: () => void): void {
    if (this.#linger === undefined) deed()
    else this.#later.push(deed)
  }

  async #endLinger(): Promise<void> {
    const mine = this.#linger
    clearTimeout(mine)
    await this.#kept?.end()
    // Another one may have begun meanwhile.
    if (this.#linger !== mine) return
    this.#linger = undefined
    for (const deed of this.#later.splice(0)) deed()
  }

  /** Takes `fd`, a sibling's socket of the same address, and receives from it too. Answers go out by the own one: to a client it is the same. */
  adopt(slot: number, fd: number): void {
    const beside = createBeside(this.socket)
    bindTo(beside, fd, this.#world.native)
    handleOf(beside)?.recvStart()
    // The program's own says whether the process is to go on.
    beside.unref()
    this.unadopt(slot)
    this.#adopted.set(slot, beside)
  }

  unadopt(slot: number): void {
    this.#adopted.get(slot)?.close()
    this.#adopted.delete(slot)
  }

  /** Takes `fd`: the socket to receive from, in place of the one that this was held with. */
  seat(slot: number, fd: number): void {
    const { native } = this.#world
    if (this.#state !== 'held') return native.close(fd)
    const fresh = createBeside(this.socket)
    bindTo(fresh, fd, native)
    exchangeHandle(this.socket, fresh)
    this.facts = { ...this.facts, slot }
  }

  /** Nothing yet: what has been received is answered by this socket. */
  letGo(): void {}

  /** Nothing waits in any socket that is received from. */
  isQueueEmpty(): boolean {
    if (this.#state !== 'live') return true
    return this.sockets().every(({ fd }) => this.#world.native.pollSync(fd, READABLE, 0) === 0)
  }

  /**
   * Gives this process's copy up, while the program still has its dgram socket: closing that would make a late send() throw. Kept, it would stay in
   * the group of the port when all others have gone, and swallow what comes.
   */
  giveUp(): void {
    if (this.#isGivenUp || this.#state === 'released') return
    this.#isGivenUp = true
    exchangeHandle(this.socket, createBeside(this.socket))
  }

  /** Its drain is over. */
  end(): void {
    this.#forget()
    this.giveUp()
    this.#world.keepAlive.set(this, false)
  }

  get #handle(): DatagramHandle | null {
    return handleOf(this.socket)
  }

  #become(state: ClaimState): void {
    this.#state = state
    this.#world.keepAlive.set(this, state !== 'live')
  }

  #forget(): void {
    clearTimeout(this.#breath)
    clearTimeout(this.#linger)
    this.#later.length = 0
    this.#kept?.close()
  }

  #closed(): void {
    if (this.#state === 'released') return
    this.#forget()
    for (const slot of [...this.#adopted.keys()]) this.unadopt(slot)
    // In a drain others may be waited for, which is not this one's to end.
    const isDraining = this.#state === 'draining'
    this.#state = 'released'
    if (!isDraining) this.#world.keepAlive.set(this, false)
    this.#flows.end()
    this.#world.released(this)
  }
}
