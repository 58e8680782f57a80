import type { RemoteInfo, Socket } from 'node:dgram'
import { clearTimeout, setTimeout } from 'node:timers'
import type { InetAddress, Native } from '../native.js'
import { READABLE } from '../native.js'
import { bindTo, createBeside, handleOf } from './datagram-handles.js'

/** Each has a descriptor; and for a datagram that is of none the kernel may look at all of them. */
const MOST = 1_000
/** More are not even counted. */
const MOST_HEARD = 10_000
/** What the kernel was about to queue, on another processor, when its flow was let go, is there by then. */
const SETTLE_MS = 50

interface Peer {
  readonly address: string
  readonly port: number
  readonly at: number
}

/**
 * The flows of a UDP socket, each a peer's address and port, that stay with this process for a time after it has been succeeded: each by a socket
 * of the same address that is connected to its peer. To the kernel that one is nearer than what is not connected (kernel.md §12).
 */
export class KeptFlows {
  readonly #socket: Socket
  readonly #native: Native
  readonly #ms: number
  /** Who was heard of within the time, the last one last. */
  readonly #heard = new Map<string, Peer>()
  readonly #kept = new Map<string, Socket>()
  readonly #ending = new Set<Socket>()
  #settling: NodeJS.Timeout | undefined
  /** Whoever is heard of is kept. */
  #isKeeping = false

  constructor(socket: Socket, ms: number, native: Native) {
    this.#socket = socket
    this.#native = native
    this.#ms = ms
    socket.prependListener('message', (_, from) => this.#hear(from))
  }

  /** Keeps those that were heard of, the last ones first, and from now on all others too, until `stop`. `fd`: of their socket. */
  keep(fd: number): void {
    const since = performance.now() - this.#ms
    this.#isKeeping = true
    const recent = [...this.#heard].reverse().filter(([, { at }]) => at >= since)
    for (const [name, peer] of recent) this.#keep(name, peer, fd)
    const left = recent.filter(([name]) => !this.#kept.has(name)).length
    if (left > 0)
      process.emitWarning(
        `UDP: ${left} of ${recent.length} flows could not be kept; another process goes on with them`,
        {
          code: 'REUSEPORT_RUN_UDP_LINGER',
        },
      )
  }

  stop(): void {
    this.#isKeeping = false
  }

  /** Lets them go: what has come is read, and what comes is the other process's. */
  async end(): Promise<void> {
    this.#isKeeping = false
    const sockets = [...this.#kept.values()]
    this.#kept.clear()
    if (sockets.length === 0) return
    for (const socket of sockets) {
      this.#ending.add(socket)
      const fd = handleOf(socket)?.fd
      if (fd === undefined) continue
      // To itself, from where nothing comes. Not disconnected: it would get a part of what comes from everybody.
      const { host, port } = this.#native.localAddress(fd) as InetAddress
      this.#native.connectInet(fd, host, port)
    }
    await this.#emptied(sockets)
    await new Promise<void>((done) => {
      this.#settling = setTimeout(done, SETTLE_MS)
    })
    await this.#emptied(sockets)
    for (const socket of sockets) if (this.#ending.delete(socket)) socket.close()
  }

  /** At once, with what they have. */
  close(): void {
    this.#isKeeping = false
    clearTimeout(this.#settling)
    for (const socket of [...this.#kept.values(), ...this.#ending]) socket.close()
    this.#kept.clear()
    this.#ending.clear()
  }

  async #emptied(sockets: readonly Socket[]): Promise<void> {
    const waits = (socket: Socket): boolean => {
      const fd = handleOf(socket)?.fd
      return fd !== undefined && this.#native.pollSync(fd, READABLE, 0) !== 0
    }
    while (sockets.some(waits)) await new Promise(setImmediate)
  }

  #hear({ address, port }: RemoteInfo): void {
    const name = `${port} ${address}`
    const peer = { address, port, at: performance.now() }
    this.#heard.delete(name)
    this.#heard.set(name, peer)
    for (const [old, { at }] of this.#heard) {
      if (at >= peer.at - this.#ms && this.#heard.size <= MOST_HEARD) break
      this.#heard.delete(old)
    }
    const fd = handleOf(this.#socket)?.fd
    if (this.#isKeeping && fd !== undefined) this.#keep(name, peer, fd)
  }

  /** One that cannot be kept goes with all others. */
  #keep(name: string, { address, port }: Peer, beside: number): void {
    if (this.#kept.size >= MOST || this.#kept.has(name)) return
    const own = this.#native.localAddress(beside) as InetAddress
    const socket = createBeside(this.#socket)
    try {
      const fd = this.#native.socket(own.family === 6 ? 'inet6' : 'inet', 'datagram')
      try {
        if (own.family === 6) this.#native.setOption(fd, 'ipv6Only', this.#native.getOption(beside, 'ipv6Only'))
        this.#native.setOption(fd, 'reusePort', 1)
        // Up to its connect it is one more of its port: what it gets then is read here as well.
        this.#native.bindInet(fd, own.host, own.port)
        this.#native.connectInet(fd, address, port)
      } catch (error) {
        this.#native.close(fd)
        throw error
      }
      bindTo(socket, fd, this.#native)
    } catch {
      return
    }
    handleOf(socket)?.recvStart()
    socket.unref()
    this.#kept.set(name, socket)
  }
}
