import type { Socket } from 'node:dgram'
import type { InetAddress, Native } from '../native.js'
import {
  type Claimed,
  type Hello,
  type ListenAddress,
  MAX_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  type RejoinClaim,
  type Reply,
  type SocketName,
  type ToLauncher,
} from '../protocol.js'
import { Claim, type ClaimWorld } from '../serving/claim.js'
import { DatagramClaim, type DatagramWorld } from '../serving/datagrams.js'
import type { Draining } from '../serving/drain/drain.js'
import { trackSessions } from '../serving/drain/http2.js'
import { trackUpgrades } from '../serving/drain/upgrades.js'
import type { Server } from '../serving/handles.js'
import { KeepAlive } from '../serving/keep-alive.js'
import type { ClaimAnswer } from '../serving/listen.js'
import { Adopted } from '../serving/migrate/adopted.js'
import { makeRoom } from '../serving/migrate/room.js'
import { Sender } from '../serving/migrate/sender.js'
import type { ReceivedFds } from '../serving/received-fds.js'
import { loadAddon } from './addon.js'
import type { Handed } from './environment.js'
import { LauncherLink } from './launcher-link.js'
import type { OpenPlace } from './library-servers.js'
import { Meter } from './meter.js'
import { heldSockets, type OrderWorld, obey, serversOf } from './orders.js'
import { Orphan } from './orphan.js'
import { Output } from './output.js'
import { Spares } from './spares.js'
import { guardPath } from './unlink-guard.js'

/** Half of a packet: the rest of `hello` is far smaller than the other half. */
const MAX_HELLO_SOCKETS_BYTES: number = MAX_MESSAGE_BYTES / 2

type Answer<C> =
  | { readonly mode: 'managed'; readonly claim: C }
  | { readonly mode: 'plain' }
  | { readonly mode: 'failed'; readonly errno: number; readonly code: string }
type Given = Extract<Claimed, { mode: 'hold' | 'go' }>
type Welcome = Extract<Reply, { type: 'welcome' }>

/** One per thread that listens: the worker's claims, and the place that the launcher gave it. */
export class Agent implements OrderWorld {
  readonly native: Native
  readonly spares: Spares
  readonly claims: Map<number, Claim | DatagramClaim> = new Map()
  state: OrderWorld['state']
  place: OrderWorld['place']
  drain: Draining | undefined
  readonly receivers: OrderWorld['receivers'] = new Set()
  readonly adopted: Adopted
  answers: OrderWorld['answers']
  readonly meter: Meter = new Meter()
  figures: OrderWorld['figures']
  pulse: OrderWorld['pulse']
  readonly output: Output
  readonly #handed: Handed
  readonly #link: LauncherLink
  readonly #world: ClaimWorld & DatagramWorld
  readonly #orphan: Orphan
  #lastClaim = 0
  #hasKept = false

  /** Throws ERR_ADDON_NOT_FOUND. */
  constructor(handed: Handed) {
    this.#handed = handed
    this.native = loadAddon(handed.binding)
    this.#world = {
      native: this.native,
      keepAlive: new KeepAlive(),
      released: (claim: Claim | DatagramClaim) => this.#released(claim),
    }
    this.spares = new Spares(this.native)
    this.adopted = new Adopted(this.native)
    this.output = new Output(this.native)
    this.#orphan = new Orphan(this, handed.thread)
    this.#link = new LauncherLink(this.native, handed.channel, {
      hello: () => this.#hello(),
      welcomed: (welcome, fds) => this.#welcomed(welcome, fds),
      lost: () => this.#lost(),
      message: (incoming) => obey(this, incoming),
    })
    // Not when it is terminated from outside: then no JavaScript runs, and the channel stays open until the process ends.
    if (handed.thread !== 0) process.once('exit', () => this.#leave())
  }

  /**
   * Asks the launcher for the socket of `address`, and waits for it. Throws a ReuseportError when there is no launcher to ask. With a place
   * it accepts nothing before `ready`.
   */
  claim(server: Server, address: ListenAddress, backlog: number, place: OpenPlace | undefined): ClaimAnswer {
    let bound: InetAddress | undefined
    const answer = this.#ask(address, backlog, place, (id, { listener, slot }, fd, { mode }) => {
      if (address.kind === 'tcp' && address.host === null) bound = this.native.localAddress(fd) as InetAddress
      const claim = new Claim({ id, address, listener, slot, server, backlog, place }, fd, mode, this.#world)
      if (address.kind === 'unix') guardPath(address.path)
      trackSessions(server)
      trackUpgrades(server)
      return claim
    })
    return answer.mode === 'managed' ? { ...answer, bound } : answer
  }

  /** The same for a UDP socket of the library, which is bound then. */
  bind(socket: Socket, address: ListenAddress & { readonly kind: 'udp' }, place: OpenPlace): Answer<DatagramClaim> {
    return this.#ask(
      address,
      0,
      place,
      (id, { listener, slot }, fd, { lingerMs = 0 }) =>
        new DatagramClaim({ id, address, listener, slot, place, lingerMs }, socket, fd, this.#world),
    )
  }

  /** Node's listen has succeeded: 'listening' comes in the next tick, unless the program closes the server before. */
  announce(claim: Claim | DatagramClaim): void {
    // Not in the next tick: a listen() beside this one may just have failed, and end the program in that tick.
    setImmediate(() => {
      if (claim.state === 'released') return
      this.#keepCompiled()
      this.send({ type: 'listening', id: claim.facts.id })
      this.figures?.follow(serversOf(this))
      const [own] = claim.sockets()
      if (claim.state === 'held' && own !== undefined) makeRoom(this.native, own.fd)
    })
  }

  /** Once, by the main thread, and only if the launcher is asked to. */
  #keepCompiled(): void {
    const { NODE_COMPILE_CACHE: directory } = process.env
    if (this.#hasKept || directory === undefined || this.#handed.thread !== 0) return
    this.#hasKept = true
    const { isLaunchers, keepCompiled } = require('./compile-cache.js') as typeof import('./compile-cache.js')
    if (isLaunchers(directory, this.#handed.channel)) keepCompiled((message) => this.send(message))
  }

  /** What the library is told of its listener. */
  fill(place: OpenPlace, claim: Claim | DatagramClaim): void {
    place.generation = this.place?.generation ?? null
    place.ready = () => this.#ready(claim)
  }

  #ready(claim: Claim | DatagramClaim): void {
    if (!claim.isSilent) return
    claim.isSilent = false
    this.send({ type: 'ready', id: claim.facts.id })
  }

  send(message: ToLauncher, fds: readonly number[] = []): boolean {
    return this.#link.send(message, fds)
  }

  /** `take`: makes a claim of the socket that is the answer; when it throws, that is closed. */
  #ask<C extends Claim | DatagramClaim>(
    address: ListenAddress,
    backlog: number,
    place: OpenPlace | undefined,
    take: (id: number, name: SocketName, fd: number, reply: Given) => C,
  ): Answer<C> {
    const id = ++this.#lastClaim
    const asked = { type: 'claim', id, address, backlog } as const
    const answer = this.#link.ask(place === undefined ? asked : { ...asked, ready: 'program' })
    if (answer === undefined) return { mode: 'plain' }
    const { reply, fds } = answer
    try {
      if (reply.mode === 'unmanaged') return { mode: 'plain' }
      if (reply.mode === 'failed') return { mode: 'failed', errno: reply.errno, code: reply.code }
      const fd = fds.take(0)
      let claim: C
      try {
        claim = take(id, reply.fds[0], fd, reply)
      } catch (error) {
        this.native.close(fd)
        this.send({ type: 'released', id })
        const { errno, code } = error as NodeJS.ErrnoException
        if (errno === undefined) throw error
        return { mode: 'failed', errno, code: code ?? 'EINVAL' }
      }
      this.claims.set(id, claim)
      this.state ??= reply.mode === 'hold' ? 'held' : 'serving'
      return { mode: 'managed', claim }
    } finally {
      fds.closeRest()
    }
  }

  /** This thread ends, and the process goes on. */
  #leave(): void {
    for (const receiver of this.receivers) receiver.close()
    for (const claim of this.claims.values()) Sender.of(claim.facts.server)?.end()
    this.#link.leave()
  }

  /** The launcher is gone. */
  #lost(): void {
    this.pulse?.stop()
    this.#orphan.lost()
  }

  #released(claim: Claim | DatagramClaim): void {
    this.claims.delete(claim.facts.id)
    this.send({ type: 'released', id: claim.facts.id })
  }

  #welcomed(welcome: Welcome, fds: ReceivedFds): void {
    const { generation, slot, term, working } = welcome
    this.place = { generation, slot, term, working }
    this.#orphan.found(welcome.first, welcome.orphan)
    for (const stream of ['stdout', 'stderr'] as const) {
      const at = welcome.fds.indexOf(`${stream}-reader`)
      if (at !== -1) this.output.isPiped(stream, fds.take(at), fds.take(welcome.fds.indexOf(stream)))
    }
    // It may have ended while there was no launcher to hear it.
    if (this.drain?.outcome !== undefined) this.send({ type: 'drained', outcome: this.drain.outcome })
  }

  #hello(): Hello {
    const { place } = this
    const base = {
      type: 'hello',
      version: PROTOCOL_VERSION,
      token: this.#handed.token,
      node: process.version,
      thread: this.#handed.thread,
    } as const
    if (place === undefined) return base
    return {
      ...base,
      rejoin: {
        ...place,
        state: this.state ?? 'held',
        startedAt: Math.round(Date.now() - process.uptime() * 1_000),
        claims: [...this.claims.values()].map(offerOf),
        sockets: this.#offered(),
        adopted: [...this.claims.values()].flatMap(adoptedBy),
      },
    }
  }

  /** What `collect` would bring, as far as it fits into one packet: the own sockets come first. */
  #offered(): SocketName[] {
    const offered: SocketName[] = []
    let bytes = 0
    for (const { name } of heldSockets(this)) {
      bytes += JSON.stringify(name).length + 1
      if (bytes > MAX_HELLO_SOCKETS_BYTES) break
      offered.push(name)
    }
    return offered
  }
}

function offerOf({ facts, isSilent }: Claim | DatagramClaim): RejoinClaim {
  const { id, address, place } = facts
  const backlog = 'backlog' in facts ? facts.backlog : 0
  const claim = { id, address, backlog, listening: facts.server?.listening ?? true }
  return place === undefined ? claim : { ...claim, ready: isSilent ? 'program' : 'said' }
}

/** Sockets of siblings from which it accepts. */
function adoptedBy(claim: Claim | DatagramClaim): SocketName[] {
  return claim.sockets().flatMap(({ name }) => (name.slot === claim.facts.slot ? [] : name))
}
