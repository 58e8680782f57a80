import { existsSync, fstatSync, linkSync, lstatSync, renameSync, type Stats, statSync, unlinkSync } from 'node:fs'

import { bindInet, isStaleSocket } from '../bind.js'
import { ReuseportError } from '../errors.js'
import { type Identity, native, type SteerBy, type SteeredCanary } from '../native.js'
import {
  addressOfKey,
  isDatagram,
  type ListenAddress,
  type ListenerKey,
  listenerKey,
  type SocketName,
} from '../protocol.js'
import { asUser } from '../worker-user.js'
import { addressError } from './address-error.js'
import type { GivenSocket, StoredSocket } from './listen-fds.js'
import type { FdStore } from './service/fd-store.js'
import { type Check, fieldsOf, isFd, isText, isWhole, listOf, oneOf, orNull, pairsOf } from './shape.js'

export interface SavedSockets {
  readonly given: readonly GivenSocket[]
  readonly stored: readonly StoredSocket[]
  readonly owned: readonly (readonly [id: string, OwnedSocket])[]
}
const KIND: Check = oneOf('tcp', 'udp', 'unix')
export const SAVED_SOCKETS: Check = fieldsOf({
  given: listOf(fieldsOf({ fd: isFd, name: isText, address: fieldsOf({ kind: KIND }), keys: listOf(isText) })),
  stored: listOf(fieldsOf({ fd: isFd, name: fieldsOf({ listener: isText, slot: isWhole }), boundTo: orNull(isText) })),
  owned: pairsOf(isText, fieldsOf({ fd: isFd, kind: KIND })),
})

/**
 * The launcher's copies of every socket: made here, closed here, and nowhere else. While one of these is open its accept queue cannot be
 * lost, whoever dies. (Closing one of two plain reuseport listeners under load resets its whole queue: kernel.md §1.)
 */
export class Sockets {
  readonly #sockets: Map<string, OwnedSocket>
  readonly #given: readonly GivenSocket[]
  /** Of a predecessor of ours: nobody has opened their listeners yet. */
  #stored: readonly StoredSocket[]
  readonly #store: FdStore | undefined
  readonly #user: Identity | undefined

  /**
   * `given`: sockets that are there already. They are kept for good, and whoever opens their address gets a copy. `stored`: each is the socket
   * of its slot. `store`: keeps copies of all that are made here. `user`: whose the paths are that the program opens.
   */
  constructor({
    given = [],
    stored = [],
    store,
    user,
  }: {
    given?: readonly GivenSocket[]
    stored?: readonly StoredSocket[]
    store?: FdStore | undefined
    user?: Identity | undefined
  } = {}) {
    this.#given = given
    this.#stored = stored
    this.#store = store
    this.#user = user
    this.#sockets = new Map()
    store?.took(stored.map(({ name }) => name))
  }

  /** What another image of this process had. */
  static resume(
    { given, stored, owned }: SavedSockets,
    more: { store: FdStore | undefined; user: Identity | undefined },
  ): Sockets {
    const sockets = new Sockets({ given, ...more })
    sockets.#stored = stored
    for (const [id, socket] of owned) sockets.#sockets.set(id, socket)
    return sockets
  }

  save(): SavedSockets {
    return { given: this.#given, stored: this.#stored, owned: [...this.#sockets] }
  }

  /** Makes and binds the socket of a slot unless it is there. Throws ERR_ADDRESS_IN_USE, ERR_PERMISSION, ERR_ADDRESS. */
  open(name: SocketName, address: ListenAddress, user: Identity | null = this.#user ?? null): void {
    const id = idOf(name)
    this.#takeStored(name.listener)
    const there = this.#sockets.get(id)
    if (there === undefined)
      this.#sockets.set(id, this.#copyOfGiven(name.listener, address) ?? bind(address, user ?? undefined))
    else {
      relink(there)
      this.#store?.keepAgain(name, there.fd)
    }
  }

  /** Before they are closed for good: see FdStore. */
  release(names: readonly SocketName[]): Promise<boolean> | undefined {
    return this.#store?.release(names)
  }

  /** All of one listener together: the queue of a slot that is not claimed has to be seen to, too. */
  #takeStored(listener: ListenerKey): void {
    const mine = this.#stored.filter(({ name }) => name.listener === listener)
    if (mine.length === 0) return
    this.#stored = this.#stored.filter((one) => !mine.includes(one))
    for (const { fd, name, boundTo } of mine) {
      const kind = listener.slice(0, listener.indexOf(' ')) as ListenAddress['kind']
      try {
        this.#sockets.set(idOf(name), boundTo === null ? { fd, kind } : this.#atPath(fd, boundTo, pathOf(listener)))
      } catch {
        // Nobody can reach it by its path any more.
        native().close(fd)
        this.#store?.drop(name, () => undefined)
      }
    }
  }

  /** Closes what was kept for slots or listeners that there are none of any more. Gives their names. */
  dropStored(isWanted: (name: SocketName) => boolean = () => false): readonly SocketName[] {
    const dropped = this.#stored.filter(({ name }) => !isWanted(name))
    this.#stored = this.#stored.filter((one) => !dropped.includes(one))
    for (const { fd, name } of dropped) {
      native().close(fd)
      this.#store?.drop(name, (moved) => this.#fdOf(moved))
    }
    return dropped.map(({ name }) => name)
  }

  /** The kernel knows the name under which it was bound, whoever did that. */
  #takenBack(address: ListenAddress, fd: number): OwnedSocket {
    const at = native().localAddress(fd)
    if (address.kind === 'unix') {
      if (!('path' in at)) throw new Error('it is no unix socket')
      const { path } = address
      // A socket that was given to an earlier launcher is bound to the path itself, and that is not ours.
      if (at.path === path || !at.path.startsWith(`${path}.`)) return { fd, kind: 'unix', path }
      return existsSync(at.path) ? this.#atPath(fd, at.path, path) : { fd, kind: 'unix', path }
    }
    if ('path' in at || at.port !== address.port) throw new Error('it is of another address')
    return { fd, kind: address.kind }
  }

  #atPath(fd: number, own: string, path: string): OwnedSocket {
    // A path of --listen may lie where only we can write.
    const user = this.#user?.uid === statSync(own).uid ? this.#user : undefined
    return asUser(user, () => atPath(fd, own, path, user))
  }

  #fdOf(name: SocketName): number | undefined {
    const stored = this.#stored.find((one) => idOf(one.name) === idOf(name))
    return stored?.fd ?? this.#sockets.get(idOf(name))?.fd
  }

  /**
   * For a program that is given its sockets when it is started: the descriptor of a socket that listens, lent for one call. Blocking, as
   * systemd gives them; what a program makes of that is seen by all, the next generation too.
   */
  ready(address: ListenAddress, slot: number, backlog: number): number {
    const listener = listenerKey(address)
    const name = { listener, slot: address.kind === 'unix' || this.isGiven(listener) ? 0 : slot }
    if (this.has(name)) return this.fd(name)
    // Its place may be one that only we can write to: it is asked for on our command line.
    this.open(name, address, null)
    try {
      const fd = this.fd(name)
      if (!this.isGiven(listener)) native().setNonBlocking(fd, false)
      this.listen(name, backlog)
      return fd
    } catch (error) {
      this.close(name, true)
      throw error
    }
  }

  /** Puts back every path that somebody has taken away. */
  restorePaths(): void {
    for (const socket of this.#sockets.values()) {
      try {
        relink(socket)
      } catch {
        // The directory has gone, both names have, or another process has the path by now: whoever opens it next is told.
      }
    }
  }

  /**
   * A socket of a launcher that is gone, from a worker that has a copy. Takes `fd`, unless it is there already: false. Throws why it cannot be
   * that socket.
   */
  takeBack(name: SocketName, fd: number): boolean {
    this.#takeStored(name.listener)
    if (this.has(name)) return false
    const address = addressOfKey(name.listener)
    if (address === undefined) throw new Error('no address of ours')
    const given = this.#copyOfGiven(name.listener, address)
    if (given === undefined) {
      this.#sockets.set(idOf(name), this.#takenBack(address, fd))
      if (this.isListening(name)) this.#store?.keep(name, fd)
    } else {
      native().close(fd)
      this.#sockets.set(idOf(name), given)
    }
    return true
  }

  /** All that there are. */
  names(): SocketName[] {
    return [...this.#sockets.keys()].map((id) => {
      const space = id.indexOf(' ')
      return { slot: Number(id.slice(0, space)), listener: id.slice(space + 1) }
    })
  }

  /** It is one for all slots: of a unix listener, or from whoever started an earlier launcher. */
  isShared(name: SocketName): boolean {
    return name.listener.startsWith('unix ') || native().getOption(this.fd(name), 'reusePort') === 0
  }

  /** Datagrams come to whoever is bound. */
  isListening(name: SocketName): boolean {
    return isDatagram(name.listener) || native().getOption(this.fd(name), 'acceptConnections') === 1
  }

  #copyOfGiven(listener: ListenerKey, address: ListenAddress): OwnedSocket | undefined {
    const given = this.#given.find(({ keys }) => keys.includes(listener))
    if (given === undefined) return undefined
    const fd = native().dup(given.fd)
    return address.kind === 'unix' ? { fd, kind: 'unix', path: address.path } : { fd, kind: address.kind }
  }

  /** Whether it was given to us: then there is one socket for all slots, and it is not ours to end. */
  isGiven(listener: ListenerKey): boolean {
    return this.#given.some(({ keys }) => keys.includes(listener))
  }

  /** listen(2). The order in which the sockets of a listener come here is their index in the reuseport group (kernel.md §3). */
  listen(name: SocketName, backlog: number): void {
    // The backlog of a socket that was given is its giver's choice, and datagrams come to whoever is bound.
    if (this.isGiven(name.listener)) return
    if (!isDatagram(name.listener)) native().listen(this.fd(name), backlog > 0 ? backlog : DEFAULT_BACKLOG)
    this.#store?.keep(name, this.fd(name))
  }

  /**
   * Shares of new connections by index in the group that this socket is a member of, after the share (0…1) of a canary; null: the kernel's
   * hash chooses. Of UDP always by client: its datagrams belong together. Throws what the kernel says: EPERM where a seccomp filter stands in the way.
   */
  steer(name: SocketName, weights: readonly number[] | null, by: SteerBy, canary: SteeredCanary | null): void {
    const fd = this.fd(name)
    if (weights === null) return native().detachSteering(fd)
    const always = isDatagram(name.listener) ? ({ by: 'client' } as const) : {}
    const share = canary && { ...canary, ...always, share: Math.round(canary.share * 10_000) }
    native().attachSteering(fd, weights, always.by ?? by, share)
  }

  /** Whether the kernel takes a steering program, tried on a socket of its own. */
  canSteer(): boolean {
    const addon = native()
    const fd = addon.socket('inet', 'stream')
    try {
      addon.setOption(fd, 'reusePort', 1)
      addon.attachSteering(fd, [1], 'random')
      return true
    } catch {
      return false
    } finally {
      addon.close(fd)
    }
  }

  /** The descriptor, lent for one call. */
  fd(name: SocketName): number {
    const socket = this.#sockets.get(idOf(name))
    if (socket === undefined) throw new Error(`no socket ${idOf(name)}`)
    return socket.fd
  }

  has(name: SocketName): boolean {
    return this.#sockets.has(idOf(name))
  }

  /** Of the unix listeners, and of those that were given to us. */
  paths(): string[] {
    const given = this.#given.flatMap(({ address }) => (address.kind === 'unix' ? address.path : []))
    return [...new Set([...given, ...[...this.#sockets.values()].flatMap(({ path }) => path ?? [])])]
  }

  inode(name: SocketName): number {
    return fstatSync(this.fd(name)).ino
  }

  /** Of all, whatever they are. */
  allInodes(): number[] {
    return [...this.#sockets.values()].map(({ fd }) => fstatSync(fd).ino)
  }

  /** Of all TCP sockets. */
  inodes(): number[] {
    return [...this.#sockets.values()].flatMap(({ fd, kind }) => (kind === 'tcp' ? fstatSync(fd).ino : []))
  }

  /** Connections that wait in this socket's queue, of UDP bytes; null when it does not listen, or is a unix socket. */
  queue(name: SocketName): number | null {
    if (!isDatagram(name.listener)) return this.room(name)?.length ?? null
    try {
      return native().receiveQueue(this.fd(name)).bytes
    } catch {
      return null
    }
  }

  /** How many connections wait in a TCP socket that listens, and how many may; null of any other one. */
  room(name: SocketName): { readonly length: number; readonly limit: number } | null {
    try {
      const fd = this.fd(name)
      if (!name.listener.startsWith('tcp ') || native().getOption(fd, 'acceptConnections') !== 1) return null
      return native().acceptQueue(fd)
    } catch {
      return null
    }
  }

  /** Datagrams for which this socket had no room; null of any other kind. */
  dropped(name: SocketName): number | null {
    return isDatagram(name.listener) ? native().receiveQueue(this.fd(name)).dropped : null
  }

  /** `forGood`: nor is it to be kept for our successor. */
  close(name: SocketName, forGood: boolean): void {
    const socket = this.#sockets.get(idOf(name))
    if (socket === undefined) return
    this.#sockets.delete(idOf(name))
    native().close(socket.fd)
    unlink(socket)
    // Without its path nobody could be sent to it.
    if (forGood || socket.kind === 'unix') this.#store?.drop(name, (moved) => this.#fdOf(moved))
  }

  closeAll(): void {
    for (const socket of this.#sockets.values()) {
      native().close(socket.fd)
      unlink(socket)
    }
    this.#sockets.clear()
    for (const { fd } of [...this.#given, ...this.#stored]) native().close(fd)
    this.#stored = []
  }
}

function pathOf(listener: ListenerKey): string {
  return listener.slice('unix '.length)
}

/** Node's default (net.Server, `backlog || 511`). */
const DEFAULT_BACKLOG = 511

interface OwnedSocket {
  readonly fd: number
  readonly kind: ListenAddress['kind']
  /** Unix: where clients find it. */
  readonly path?: string
  /** Unix, if we have bound it: the private name beside the path, and the file that both lead to. */
  readonly own?: string
  readonly file?: { readonly ino: number; readonly dev: number }
  /** Whose the path is, if it is not ours. */
  readonly user?: Identity
}

/** Puts a path back that the program has unlinked before its listen(). */
function relink({ own, path, file, user }: OwnedSocket): void {
  if (own !== undefined && path !== undefined && file !== undefined) asUser(user, () => place(own, path, file))
}

/** Takes a path away, if it is still ours. */
function unlink({ own, path, file, user }: OwnedSocket): void {
  if (own === undefined || path === undefined || file === undefined) return
  asUser(user, () => {
    for (const name of [path, own]) if (isAt(name, file)) unlinkSync(name)
  })
}

function idOf({ listener, slot }: SocketName): string {
  return `${slot} ${listener}`
}

function bind(address: ListenAddress, user: Identity | undefined): OwnedSocket {
  if (address.kind === 'unix') return bindPath(address.path, user)
  try {
    return { fd: bindInet(native(), address), kind: address.kind }
  } catch (error) {
    const cause = error as NodeJS.ErrnoException & { address: string }
    throw addressError(address.kind, cause.address, address.port, cause)
  }
}

/**
 * A unix listener has a private name beside its path, under which it is bound, and the path is a link to it: so the path can be put back
 * when a program unlinks it before listen(), as many do, without a new socket. A path where nobody listens any more is replaced; one where
 * somebody does, or that is no socket, is refused and left alone.
 */
function bindPath(path: string, user: Identity | undefined): OwnedSocket {
  const addon = native()
  const own = `${path}.${process.pid.toString(36)}`
  const fd = addon.socket('unix', 'stream')
  const refuse = (cause: NodeJS.ErrnoException): ReuseportError => {
    if (cause.code === 'EADDRINUSE')
      return new ReuseportError('ERR_ADDRESS_IN_USE', `${path} is in use`, {
        facts: { path },
        next: 'Another process listens there, or it is a file that is not a socket: move it away.',
        cause,
      })
    return new ReuseportError('ERR_ADDRESS', `cannot listen on ${path}: ${cause.code ?? cause.message}`, {
      facts: { path },
      next: `The directory must exist and let this user make files; ${own} must have at most 107 bytes.`,
      cause,
    })
  }
  try {
    // As whom the program would: whose the path is, and that root does nothing in a directory that others may write to.
    return asUser(user, () => {
      removeQuietly(own)
      addon.bindUnix(fd, own)
      return atPath(fd, own, path, user)
    })
  } catch (cause) {
    addon.close(fd)
    asUser(user, () => removeQuietly(own))
    throw refuse(cause as NodeJS.ErrnoException)
  }
}

/** A socket that is bound to `own`, to be found at `path`. To be called as `user`. */
function atPath(fd: number, own: string, path: string, user: Identity | undefined): OwnedSocket {
  const { ino, dev } = statSync(own)
  place(own, path, { ino, dev })
  return { fd, kind: 'unix', path, own, file: { ino, dev }, ...(user === undefined ? {} : { user }) }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // The usual case: there is none.
  }
}

function place(own: string, path: string, file: Pick<Stats, 'ino' | 'dev'>): void {
  if (isAt(path, file)) {
    // A program that asks the kernel for the name of its socket is told our own one, and may take that away.
    if (!isAt(own, file)) linkSync(path, own)
    return
  }
  try {
    linkSync(own, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isStaleSocket(native(), path)) throw inUse(error)
    const link = `${own}~`
    linkSync(own, link)
    renameSync(link, path)
  }
}

function inUse(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EEXIST'
    ? Object.assign(new Error('address already in use'), { code: 'EADDRINUSE', errno: -98 })
    : error
}

function isAt(name: string, file: Pick<Stats, 'ino' | 'dev'>): boolean {
  try {
    const { ino, dev } = lstatSync(name)
    return ino === file.ino && dev === file.dev
  } catch {
    return false
  }
}
