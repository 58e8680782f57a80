import { createSocket, type Socket, type SocketType } from 'node:dgram'
import { type Native, READABLE } from '../../native.js'
import type { Server } from '../../serving/handles.js'
import type { KeepAlive } from '../../serving/keep-alive.js'
import { BareServer } from './bare.js'

/** What we use of Node's UDP wrap, the object behind a dgram socket. The same in Node 20, 22, 24 and 26. */
interface DatagramHandle {
  readonly fd: number
  recvStart(): number
  recvStop(): number
  close(): void
}

interface DatagramState {
  /** null: it is closed. */
  handle: DatagramHandle | null
  /** Of createSocket(); it means the bind. */
  readonly ipv6Only?: boolean
}

const STATE = 'state symbol'

/** An own property of every dgram socket, under a private symbol. */
function stateOf(socket: Socket): DatagramState {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === STATE)
  const state = symbol === undefined ? undefined : (socket as unknown as Record<symbol, DatagramState>)[symbol]
  if (state === undefined) throw new TypeError('this is not a socket of node:dgram')
  return state
}

/** Node does not document it, nor change it. */
export function typeOf(socket: Socket): SocketType {
  return (socket as unknown as { readonly type: SocketType }).type
}

export function isIpv6Only(socket: Socket): boolean {
  return stateOf(socket).ipv6Only === true
}

export interface DatagramWorld {
  readonly native: Native
  readonly keepAlive: KeepAlive
  released(): void
}

/**
 * A UDP socket that goes from process to process: all of them have the same one, and what has come waits in it, whoever reads it. So a process
 * stops reading, and nothing is lost; it can still send from it. What it has still to answer only the program knows, so in a drain it counts as
 * one connection, until the program closes it.
 */
export class DatagramClaim {
  readonly socket: Socket
  /** What is drained. */
  readonly standIn: BareServer = new BareServer()
  readonly #world: DatagramWorld
  #isDraining = false

  /** Takes `fd`, and receives nothing from it. Throws what bind() of the program's socket does; `fd` is the caller's then. */
  constructor(socket: Socket, fd: number, world: DatagramWorld) {
    this.socket = socket
    this.#world = world
    const { native } = world
    const own = native.dup(fd)
    try {
      // Node begins to receive here, and is stopped before its event loop has turned. A handler of 'listening' may throw.
      socket.bind({ fd: own, exclusive: true })
      this.#handle?.recvStop()
      // libuv sets it on whatever it opens: another user could bind beside us, and take datagrams.
      native.setOption(fd, 'reuseAddress', 0)
    } catch (error) {
      if (this.#handle?.fd === own) socket.close()
      else native.close(own)
      throw error
    }
    native.close(fd)
    // A handle that does not receive does not keep the event loop alive.
    world.keepAlive.set(this, true)
    socket.once('close', () => this.#closed())
  }

  /** It is drained: that the program closes it is its end. */
  get isDraining(): boolean {
    return this.#isDraining
  }

  get server(): Server {
    return this.standIn as unknown as Server
  }

  /** The descriptor stays its own. */
  sockets(): { fd: number }[] {
    const handle = this.#handle
    return handle === null ? [] : [{ fd: handle.fd }]
  }

  receive(): void {
    this.#handle?.recvStart()
    this.#world.keepAlive.set(this, false)
  }

  pause(_: 'draining'): void {
    if (this.#handle === null) return
    this.#isDraining = true
    this.#handle?.recvStop()
    this.#world.keepAlive.set(this, true)
  }

  /** Nothing yet: what has been received is answered by this socket. */
  letGo(): void {}

  isQueueEmpty(): boolean {
    return this.sockets().every(({ fd }) => this.#world.native.pollSync(fd, READABLE, 0) === 0)
  }

  /**
   * Gives this process's copy up, while the program still has its dgram socket: closing that would make a late send() throw. Kept, it would stay in
   * the group of the port when all others have gone, and swallow what comes.
   */
  giveUp(): void {
    const state = stateOf(this.socket)
    if (state.handle === null) return
    state.handle.close()
    state.handle = stateOf(createSocket(typeOf(this.socket))).handle
  }

  /** Its drain is over. */
  end(): void {
    this.giveUp()
    this.#world.keepAlive.set(this, false)
  }

  get #handle(): DatagramHandle | null {
    return stateOf(this.socket).handle
  }

  #closed(): void {
    if (!this.#isDraining) this.#world.keepAlive.set(this, false)
    this.standIn.answered()
    this.#world.released()
  }
}
