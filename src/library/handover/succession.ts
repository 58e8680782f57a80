import type { Socket } from 'node:dgram'
import { rmSync, statSync } from 'node:fs'
import { clearTimeout, setTimeout } from 'node:timers'
import { bindInet, isStaleSocket } from '../../bind.js'
import { ReuseportError } from '../../errors.js'
import type { Fate } from '../../meeting.js'
import { type InetAddress, MAX_FDS_PER_MESSAGE, type Native, native, type Poller, READABLE } from '../../native.js'
import { type ListenAddress, type ListenerKey, listenerKey } from '../../protocol.js'
import { Claim } from '../../serving/claim.js'
import { DatagramClaim } from '../../serving/datagrams.js'
import { trackSessions } from '../../serving/drain/http2.js'
import { trackUpgrades } from '../../serving/drain/upgrades.js'
import type { Server } from '../../serving/handles.js'
import { KeepAlive } from '../../serving/keep-alive.js'
import type { ClaimAnswer } from '../../serving/listen.js'
import { Adopted } from '../../serving/migrate/adopted.js'
import { Receiver } from '../../serving/migrate/receiver.js'
import { makeRoom } from '../../serving/migrate/room.js'
import { Sender } from '../../serving/migrate/sender.js'
import type { ReceivedFds } from '../../serving/received-fds.js'
import { speaks } from '../../serving/speaks.js'
import { BareServer } from './bare.js'
import type { Entry, HandoverOptions } from './entry.js'
import { Leaving } from './leaving.js'
import { MainProcess } from './main-process.js'
import { type HandoverPath, type Met, meet, type NewTalk, removePath } from './meet.js'
import type { FromNew, FromOld } from './messages.js'
import { Offer, type OfferTalk, type OfferWorld } from './offer.js'
import { Renewal } from './renewal.js'

/** The old one says `commit` in milliseconds; it may be busy. */
const COMMIT_MS = 10_000
/** This process may have no more descriptors: when it has closed some. */
const ACCEPT_AGAIN_MS = 1_000
const EADDRINUSE = -98

interface Obtained {
  readonly key: ListenerKey
  readonly fd: number
  readonly isInherited: boolean
}

type State =
  /** It has every socket, and accepts from none. */
  | 'candidate'
  /** Every listener is ready: the old one is asked. */
  | 'rising'
  | 'acting'
  /** Another process has taken over. */
  | 'leaving'
  /** It never serves. */
  | 'failing'
  | 'over'

/** A process in the row of those that hand over by one path: what it has from the one before, and gives to the next. */
export class Succession implements OfferWorld {
  static readonly #all = new Map<string, Promise<Succession>>()
  readonly native: Native = native()
  readonly generation: number
  readonly hasPredecessor: boolean
  readonly #path: HandoverPath
  readonly #keepAlive = new KeepAlive()
  readonly #adopted: Adopted
  readonly #entries = new Map<ListenerKey, Entry>()
  /** Sockets of the old one on which this program does not listen. */
  readonly #unclaimed: Map<string, number>
  readonly #poller: Poller
  readonly #offers = new Set<Offer>()
  readonly #receivers = new Set<Receiver>()
  readonly #main = new MainProcess(this.native)
  #renewal: Renewal | undefined
  #current: Offer | undefined
  #old: NewTalk | undefined
  /** No older one has the sockets, or believes that it has. */
  #isAlone: boolean
  #leaving: Leaving | undefined
  #state: State = 'candidate'
  /** listenReusePort() calls that have not come to their end. */
  #pending = 0
  #lastClaim = 0
  /** What the old one was asked for by `ready`. */
  #takes: readonly ListenerKey[] = []
  #timer: NodeJS.Timeout | undefined

  /** The one of this thread for `path`. It is over when its last listener is. */
  static async at(path: string): Promise<Succession> {
    const known = Succession.#all.get(path)
    const opening = known ?? Succession.#open(path)
    if (known === undefined) {
      Succession.#all.set(path, opening)
      opening.catch(() => Succession.#all.delete(path))
    }
    return opening
  }

  static async #open(path: string): Promise<Succession> {
    let succession: Succession | undefined
    const early: (() => void)[] = []
    const later = (deed: (to: Succession) => void): void => {
      if (succession === undefined) early.push(() => deed(succession as Succession))
      else deed(succession)
    }
    const met = await meet(native(), path, {
      heard: (message, fds) => (succession === undefined ? undefined : succession.#heardOld(message, fds)),
      ended: () => later((to) => to.#oldEnded()),
    })
    succession = new Succession(met)
    for (const deed of early) deed()
    return succession
  }

  private constructor({ own, predecessor }: Met) {
    this.#path = own
    this.#adopted = new Adopted(this.native)
    this.#old = predecessor?.talk
    this.#isAlone = predecessor === undefined
    this.#unclaimed = predecessor?.sockets ?? new Map()
    this.hasPredecessor = predecessor !== undefined
    this.generation = (predecessor?.generation ?? 0) + 1
    this.#poller = new this.native.Poller(own.socket, () => this.#accept())
    // While the old one lives it answers.
    if (predecessor === undefined) this.#poller.start(READABLE)
    makeRoom(this.native, own.socket)
  }

  /** From here on until `settled` no handover is complete: a listener is about to come. */
  expect(): void {
    if (this.#isOut)
      throw new ReuseportError('ERR_HANDOVER', 'another process has taken over from this one', {
        facts: { path: this.#path.path },
      })
    this.#pending++
  }

  /** The program is to start its successor itself, at this signal. */
  renewOn(signal: NodeJS.Signals): void {
    this.#renewal ??= new Renewal(() => this.#state === 'acting')
    this.#renewal.on(signal)
  }

  keepPidFile(path: string): void {
    this.#main.keepFile(path)
  }

  settled(): void {
    this.#pending--
    this.#rise()
    this.#endIfEmpty()
  }

  /** The socket for a listen(). It accepts nothing before the entry is ready. */
  claim(
    server: Server,
    address: ListenAddress,
    backlog: number,
    options: HandoverOptions & { readonly fate: Fate },
  ): { answer: Exclude<ClaimAnswer, { mode: 'plain' }>; entry?: Entry; isInherited: boolean } {
    const failed = (errno: number, code: string) =>
      ({ answer: { mode: 'failed', errno, code }, isInherited: false }) as const
    let obtained: Obtained | undefined
    try {
      obtained = this.#obtain(address)
      const { key, fd, isInherited } = obtained
      const isBound = address.kind === 'tcp' && address.host === null
      const bound = isBound ? (this.native.localAddress(fd) as InetAddress) : undefined
      const facts = { id: ++this.#lastClaim, address, listener: key, slot: 0, server, backlog, place: options }
      const claim = new Claim(facts, fd, 'hold', {
        native: this.native,
        keepAlive: this.#keepAlive,
        released: () => this.#released(entry),
      })
      this.#unclaimed.delete(key)
      const serve = (): void => {
        // A program that accepts by itself has to be listened for; the claim stays as it is.
        if (server instanceof BareServer) return this.native.listen(claim.sockets()[0]?.fd ?? -1, backlog)
        claim.isSilent = false
        claim.accept()
      }
      // Its handles are what keeps the process; and Node's own timers of an HTTP server.
      const end = (): unknown => server.close()
      const standing = { server, program: server, serve, end, unlink: unlinker(address) }
      const entry: Entry = { ...options, key, claim, isReady: false, ...standing }
      this.#entries.set(key, entry)
      trackSessions(server)
      trackUpgrades(server)
      return { answer: { mode: 'managed', claim, bound }, entry, isInherited }
    } catch (error) {
      this.#giveBack(obtained)
      const { errno, code } = error as NodeJS.ErrnoException
      if (errno === undefined) throw error
      return failed(errno, code ?? 'EINVAL')
    }
  }

  /** The socket for a bind(). It receives nothing before the entry is ready. Throws what bind(2) says. */
  bind(
    socket: Socket,
    address: ListenAddress & { readonly kind: 'udp' },
    options: HandoverOptions & { readonly fate: Fate },
    begin: () => void,
  ): { ready(): void; isInherited: boolean } {
    const obtained = this.#obtain(address)
    const { key, fd, isInherited } = obtained
    try {
      const facts = {
        id: ++this.#lastClaim,
        address,
        listener: key,
        slot: 0,
        place: options,
        lingerMs: options.udpLingerMs,
      }
      const claim = new DatagramClaim(facts, socket, fd, {
        native: this.native,
        keepAlive: this.#keepAlive,
        released: () => this.#released(entry),
      })
      this.#unclaimed.delete(key)
      const serve = (): void => {
        begin()
        claim.isSilent = false
        claim.accept()
      }
      const standing = { server: claim.facts.server, program: socket, serve, end: () => claim.end(), unlink: () => {} }
      const entry: Entry = { ...options, key, claim, isReady: false, ...standing }
      this.#entries.set(key, entry)
      return { ready: () => this.ready(entry), isInherited }
    } catch (error) {
      this.#giveBack(obtained)
      throw error
    }
  }

  /** The program's listener.ready(). */
  ready(entry: Entry): void {
    if (entry.isReady) return
    entry.isReady = true
    if (this.#state === 'acting') {
      entry.serve()
      this.#takeLate(entry)
    } else this.#rise()
  }

  /** It accepts here; the old one has served it on until now, if it had it. */
  #takeLate({ key }: Entry): void {
    this.#old?.send({ type: 'take', listener: key })
  }

  #rise(): void {
    const entries = [...this.#entries.values()]
    if (this.#state !== 'candidate' || this.#pending > 0 || entries.length === 0) return
    if (!entries.every(({ isReady }) => isReady)) return
    this.#state = 'rising'
    if (this.#old === undefined) return this.#act()
    this.#takes = entries.map(({ key }) => key)
    this.#old.send({ type: 'ready', takes: this.#takes })
    this.#timer = setTimeout(() => {
      this.#old?.read()
      if (this.#state === 'rising') this.#fail(`the old process has not let go within ${COMMIT_MS} ms`)
    }, COMMIT_MS)
  }

  #act(): void {
    clearTimeout(this.#timer)
    try {
      for (const { isReady, serve } of this.#entries.values()) if (isReady) serve()
    } catch (error) {
      return this.#fail((error as Error).message, error)
    }
    this.#state = 'acting'
    this.#main.begin(this.#old === undefined)
    if (this.#old === undefined) this.#closeUnclaimed()
    else this.#old.send({ type: 'acting' })
    // Those that have come since it was asked.
    for (const entry of this.#entries.values())
      if (entry.isReady && !this.#takes.includes(entry.key)) this.#takeLate(entry)
    this.#listen()
  }

  /** For whoever comes next: he waits while an older one does not know yet that this one has taken over. */
  #listen(): void {
    if (this.#state === 'acting' && this.#isAlone) this.#poller.start(READABLE)
  }

  // --- towards the old one ----------------------------------------------------------------------------------------------

  #heardOld(message: FromOld, fds: ReceivedFds): void {
    switch (message.type) {
      case 'commit':
        if (this.#state === 'rising') this.#act()
        return
      case 'refused':
        // It may have died since: then nobody else has what this one has, and that is no time to go.
        this.#old?.read()
        if (this.#old !== undefined) this.#fail(`the old process has sent this one away: ${message.message}`)
        return
      case 'taken':
        this.#isAlone = true
        this.#listen()
        return
      case 'lane':
        this.#receive(message.listener, fds)
        return
      case 'leaving':
        this.#closeUnclaimed()
        this.#old?.send({ type: 'dropped' })
        return
      default:
    }
  }

  #receive(listener: ListenerKey, fds: ReceivedFds): void {
    const entry = this.#entries.get(listener)
    // Not taken: the lane is closed, and the sender knows.
    if (entry === undefined || !(entry.claim instanceof Claim)) return
    if (!entry.migrate || speaks(entry.server) !== 'http') return
    const ended = (receiver: Receiver): unknown => this.#receivers.delete(receiver)
    this.#receivers.add(new Receiver(this.native, entry.claim, this.#adopted, fds.take(0), ended))
  }

  #oldEnded(): void {
    this.#old = undefined
    this.#isAlone = true
    if (this.#state === 'rising') return this.#act()
    if (this.#state === 'candidate') return this.#poller.start(READABLE)
    this.#closeUnclaimed()
    this.#listen()
  }

  #closeUnclaimed(): void {
    for (const fd of this.#unclaimed.values()) this.native.close(fd)
    this.#unclaimed.clear()
  }

  /** This process never serves: what it has is closed, and its servers say so. */
  #fail(why: string, cause?: unknown): void {
    const { path } = this.#path
    this.#state = 'failing'
    const error = new ReuseportError('ERR_HANDOVER', `nothing was taken over by ${path}: ${why}`, {
      facts: { path, pid: process.pid },
      next: 'The old process serves on. Start a new one.',
      cause,
    })
    for (const { program } of [...this.#entries.values()]) {
      // Before its 'close'.
      process.nextTick(() => program.emit('error', error))
      program.close()
    }
    this.#end(false)
  }

  // --- towards the next one ---------------------------------------------------------------------------------------------

  get readyTimeoutMs(): number {
    return Math.max(...[...this.#entries.values()].map(({ readyTimeoutMs }) => readyTimeoutMs))
  }

  begin(offer: Offer): boolean {
    if (this.#state !== 'acting' || this.#current !== undefined || this.#entries.size === 0) return false
    this.#current = offer
    return true
  }

  keepFlows(takes: readonly ListenerKey[]): Promise<unknown> | undefined {
    const lingering = [...this.#entries.values()].flatMap(({ key, claim, udpLingerMs }) =>
      udpLingerMs > 0 && takes.includes(key) && claim instanceof DatagramClaim ? claim : [],
    )
    return lingering.length === 0 ? undefined : Promise.all(lingering.map((claim) => claim.keepFlows()))
  }

  sockets(): { name: string; fd: number }[] {
    const own = [...this.#entries.values()].flatMap(({ key, claim }) =>
      claim.sockets().map(({ fd }) => ({ name: key, fd })),
    )
    return [{ name: 'path', fd: this.#path.socket }, { name: 'lock', fd: this.#path.lock }, ...own]
  }

  taken(talk: OfferTalk, takes: readonly ListenerKey[], pid: number): void {
    this.#state = 'leaving'
    this.#main.passTo(pid)
    for (const receiver of this.#receivers) receiver.close()
    const entries = [...this.#entries.values()]
    const drainTimeoutMs = Math.max(...entries.map((one) => one.drainTimeoutMs))
    const { native } = this
    this.#closePath(false)
    const over = (): void => this.#end(false)
    this.#leaving = new Leaving({ native, adopted: this.#adopted, talk, drainTimeoutMs, over }, entries, takes)
  }

  over(offer: Offer): void {
    this.#offers.delete(offer)
    if (this.#current === offer) this.#current = undefined
  }

  heard(message: FromNew): void {
    this.#leaving?.heard(message)
  }

  ended(): void {
    this.#leaving?.ended()
  }

  #accept(): void {
    try {
      for (let fd = this.native.accept(this.#path.socket); fd !== null; fd = this.native.accept(this.#path.socket)) {
        this.#offers.add(new Offer(this.native, fd, this))
        if (this.#isOut) return
      }
    } catch {
      // EMFILE, ENFILE, ENOMEM: it waits in the queue, and is reported again and again.
      this.#poller.start(0)
      setTimeout(() => {
        if (!this.#isOut) this.#poller.start(READABLE)
      }, ACCEPT_AGAIN_MS).unref()
    }
  }

  /** The path is somebody else's, or nobody's. */
  get #isOut(): boolean {
    return this.#state === 'leaving' || this.#state === 'over'
  }

  // --- its own ----------------------------------------------------------------------------------------------------------

  /** The predecessor's socket, or a new one. */
  #obtain(address: ListenAddress): Obtained {
    const key = listenerKey(address)
    if (this.#entries.has(key) || this.#entries.size + 2 >= MAX_FDS_PER_MESSAGE)
      throw Object.assign(new Error(`bind EADDRINUSE ${key}`), { errno: EADDRINUSE, code: 'EADDRINUSE' })
    const inherited = this.#unclaimed.get(key)
    return { key, fd: inherited ?? this.#bind(address), isInherited: inherited !== undefined }
  }

  #giveBack(obtained: Obtained | undefined): void {
    if (obtained !== undefined && !obtained.isInherited) this.native.close(obtained.fd)
  }

  #bind(address: ListenAddress): number {
    if (address.kind !== 'unix') return bindInet(this.native, address)
    if (isThere(address.path) && isStaleSocket(this.native, address.path)) rmSync(address.path)
    const fd = this.native.socket('unix', 'stream')
    try {
      this.native.bindUnix(fd, address.path)
      return fd
    } catch (error) {
      this.native.close(fd)
      throw error
    }
  }

  #released(entry: Entry): void {
    this.#entries.delete(entry.key)
    Sender.of(entry.server)?.end()
    if (this.#isOwner) entry.unlink()
    this.#rise()
    this.#endIfEmpty()
  }

  /** Nobody else has what it has: neither one before it that still serves, nor one that is about to. */
  get #isOwner(): boolean {
    if (this.#current !== undefined) return false
    return this.#isAlone && (this.#state === 'acting' || this.#state === 'candidate')
  }

  #endIfEmpty(): void {
    if (this.#entries.size === 0 && this.#pending === 0 && this.#state !== 'leaving') this.#end(this.#isOwner)
  }

  #end(isLast: boolean): void {
    if (this.#state === 'over') return
    const { path } = this.#path
    if (this.#state !== 'leaving') this.#closePath(isLast)
    this.#state = 'over'
    clearTimeout(this.#timer)
    for (const receiver of this.#receivers) receiver.close()
    this.#closeUnclaimed()
    Succession.#all.delete(path)
    // Last: when it is read everything else is closed.
    this.#old?.close()
    this.#old = undefined
  }

  #closePath(isLast: boolean): void {
    this.#poller.close()
    for (const offer of this.#offers) offer.close()
    if (isLast) {
      this.#main.end()
      removePath(this.#path, this.native)
      return
    }
    this.native.close(this.#path.socket)
    this.native.close(this.#path.lock)
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Only what is at the path now: a file that somebody puts there later is not ours. */
function unlinker(address: ListenAddress): () => void {
  if (address.kind !== 'unix') return () => {}
  const { path } = address
  const inode = statSync(path, { throwIfNoEntry: false })?.ino
  return () => {
    if (inode !== undefined && statSync(path, { throwIfNoEntry: false })?.ino === inode) rmSync(path, { force: true })
  }
}
