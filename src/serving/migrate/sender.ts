import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, Server } from 'node:http'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Native } from '../../native.js'
import type { Claim } from '../claim.js'
import type { HttpSocket } from '../drain/last-response.js'
import type { Adopted } from './adopted.js'
import { type ConnectionsList, connectionsOf, descriptorOf, idleOf, isMovable, isQuiet } from './idle.js'
import { Lane } from './lane.js'
import { leftMs, loopNow } from './left.js'

/** Below SCM_MAX_FD (253); 200 take the sender 2-6 ms and the receiver 4-13 ms of their event loops (node.md §5). */
const BATCH = 200
/** What has moved is closed here, when there is nothing left to send: 20-30 µs each. So many in each turn of the event loop. */
const CLOSED_PER_TURN = 50
/** Our own clients wait as long. */
const TURN_MS = 5
/** Batches that wait for an answer: enough for the receiver to answer in one turn of its loop, and not all in the hands of one that stands still. */
const WINDOW = 10
/** The lane is full, or too many descriptors are on their way: nothing tells when that ends. */
const RETRY_MS = 20
/** A receiver that stands still for longer does not get these connections: a client may wait. As an order of the launcher (ORDER_TIMEOUT_MS). */
const ANSWER_MS = 2_000

const RESPONSE_FINISH = 'http.server.response.finish'

interface Leaving {
  readonly socket: HttpSocket
  readonly leftMs: number | null
  /** It had come from another worker itself, and not spoken. */
  readonly isAdopted: boolean
}
interface Sent {
  readonly at: number
  readonly connections: readonly Leaving[]
}

/**
 * The connections of one server that leave: each goes by a lane to another worker as soon as it is idle. What that one has not taken is this
 * server's again.
 */
export class Sender {
  static readonly #all = new WeakMap<object, Sender>()
  readonly #native: Native
  readonly #claim: Claim
  readonly #adopted: Adopted
  readonly #list: ConnectionsList
  readonly #settled: () => void
  /** Those that the other worker would not have. */
  readonly #refused = new WeakSet<HttpSocket>()
  readonly #sent = new Map<number, Sent>()
  /** Under way, or another worker's: nothing is read from them here, and nothing written. */
  readonly #silent = new Map<HttpSocket, Voice>()
  /** Of these: another worker's, and still open here. */
  readonly #left = new Set<HttpSocket>()
  #isClosing = false
  /** As they were when all connections were looked through. */
  #found: { readonly socket: HttpSocket; readonly bytesRead: number }[] = []
  #lane: Lane | undefined
  #nextBatch = 1
  #moved = 0
  #isSweepDue = false
  #retry: NodeJS.Timeout | undefined
  #answerTimer: NodeJS.Timeout | undefined

  private constructor(native: Native, claim: Claim, adopted: Adopted, list: ConnectionsList, settled: () => void) {
    this.#settled = settled
    this.#native = native
    this.#claim = claim
    this.#adopted = adopted
    this.#list = list
  }

  /** Of a server that has been given a lane. */
  static of(server: object): Sender | undefined {
    return Sender.#all.get(server)
  }

  /** undefined: connections of this server cannot move. `settled`: nothing is under way any more. */
  static for(native: Native, claim: Claim, adopted: Adopted, settled: () => void): Sender | undefined {
    const { server } = claim.facts
    const list = connectionsOf(server)
    if (list === undefined) return undefined
    const known = Sender.#all.get(server)
    // A server that was closed and listens again has another claim.
    if (known !== undefined && known.#claim === claim) return known
    const sender = new Sender(native, claim, adopted, list, settled)
    Sender.#all.set(server, sender)
    return sender
  }

  /** Taken by other workers since the server last accepted. */
  get moved(): number {
    return this.#moved
  }

  /** Moved, and still among the server's connections. */
  get left(): number {
    for (const socket of this.#left) if (socket.destroyed) this.#forget(socket)
    return this.#left.size
  }

  /** It is another worker's. */
  hasLeft(socket: HttpSocket): boolean {
    return this.#left.has(socket)
  }

  get isOpen(): boolean {
    return this.#lane !== undefined
  }

  /** This connection moves when it is idle. */
  moves(socket: HttpSocket): boolean {
    return this.#lane !== undefined && !this.#refused.has(socket) && isOfServer(socket, this.#server)
  }

  /** Takes `fd`, a lane to the worker that is to have the connections. */
  open(fd: number): void {
    this.end()
    this.#lane = new Lane(this.#native, fd, () => this.#readAll())
    subscribe(RESPONSE_FINISH, this.#onFinish)
    this.sweep()
  }

  /** Sends what is idle now, as much as may be in one turn of the event loop. */
  sweep(): void {
    const until = performance.now() + TURN_MS
    while (this.#sendBatch()) {
      if (performance.now() < until) continue
      this.#sweepSoon()
      return
    }
  }

  /** Over the window the next answer sweeps, and a full lane is tried again. */
  get #maySend(): boolean {
    return this.#retry === undefined && this.#sent.size < WINDOW
  }

  /** False: there are no more, or not now. */
  #sendBatch(): boolean {
    const lane = this.#lane
    if (lane === undefined || !this.#maySend) return false
    const idle = this.#idle()
    if (idle.length === 0) return false
    const now = loopNow()
    const batch = idle.map((socket) => ({
      socket,
      leftMs: leftMs(socket, this.#server, this.#adopted, now),
      isAdopted: this.#adopted.leftMs(socket) !== undefined,
    }))
    const number = this.#nextBatch++
    const isSent = lane.send({ batch: number, leftMs: batch.map((one) => one.leftMs) }, idle.map(descriptorOf))
    if (!isSent) {
      this.#retryLater()
      return false
    }
    // In the turn in which they were found idle.
    for (const { socket } of batch) this.#silence(socket)
    this.#sent.set(number, { at: performance.now(), connections: batch })
    this.#awaitAnswer()
    return idle.length === BATCH
  }

  /** The server goes on. Whoever drains it some day counts from there. */
  callOff(): void {
    this.end()
    this.#moved = 0
  }

  /** No further ones. What has not been taken by now is the server's again. */
  end(): void {
    const lane = this.#lane
    if (lane === undefined) return
    unsubscribe(RESPONSE_FINISH, this.#onFinish)
    clearTimeout(this.#retry)
    this.#retry = undefined
    // From here on no answer can be given; those that were given come first.
    lane.stopReceiving()
    this.#readAnswers(lane)
    this.#lane = undefined
    this.#found = []
    lane.close()
    clearTimeout(this.#answerTimer)
    this.#answerTimer = undefined
    for (const { connections } of this.#sent.values()) for (const one of connections) this.#keep(one)
    this.#sent.clear()
  }

  get #server(): Server {
    return this.#claim.facts.server as unknown as Server
  }

  /** Looking through all connections costs more than the batch: what was found idle is asked only whether it still is. */
  #idle(): HttpSocket[] {
    const mayGo = (socket: HttpSocket): boolean =>
      !this.#silent.has(socket) && !this.#refused.has(socket) && isMovable(socket, this.#server)
    if (this.#found.length === 0)
      this.#found = idleOf(this.#list, mayGo).map((socket) => ({ socket, bytesRead: socket.bytesRead }))
    const idle: HttpSocket[] = []
    for (let one = this.#found.pop(); one !== undefined; one = this.#found.pop()) {
      const { socket, bytesRead } = one
      if (isQuiet(socket) && socket.bytesRead === bytesRead && mayGo(socket)) idle.push(socket)
      if (idle.length === BATCH) break
    }
    return idle
  }

  /**
   * Both processes have the connection from here on, until the answer says whose it is: this one reads nothing of it, and whatever Node or the
   * program might write (a 408, a farewell at a time-out) does not get to the client. To close it closes one copy.
   */
  #silence(socket: HttpSocket): void {
    handleOf(socket)?.readStop()
    this.#silent.set(socket, silence(socket))
    this.#adopted.forget(socket)
  }

  /** It has not been taken: it goes on here. */
  #keep({ socket, leftMs: left, isAdopted }: Leaving): void {
    const voice = this.#silent.get(socket)
    this.#silent.delete(socket)
    if (socket.destroyed) return
    if (voice !== undefined) giveBack(socket, voice)
    handleOf(socket)?.readStart()
    if (isAdopted) this.#adopted.add(socket, this.#claim, left)
  }

  /** Later: it costs more than all the rest, and who is drained by then ends with all that it has. */
  #closeSoon(): void {
    if (this.#isClosing || this.#left.size === 0) return
    this.#isClosing = true
    setImmediate(() => {
      this.#isClosing = false
      if (this.#found.length === 0 || !this.#maySend) this.#closeSome()
      this.#closeSoon()
    })
  }

  #closeSome(): void {
    let count = 0
    for (const socket of this.#left) {
      socket.destroy()
      this.#forget(socket)
      if (++count === CLOSED_PER_TURN) break
    }
  }

  #forget(socket: HttpSocket): void {
    this.#left.delete(socket)
    this.#silent.delete(socket)
  }

  readonly #onFinish = (message: unknown): void => {
    const { server, request } = message as { server: unknown; request: IncomingMessage }
    if (server !== this.#server) return
    // Answered before its body had come: idle at the body's end, and perhaps no longer than until the next read.
    if (request.complete) this.#sweepSoon()
    else request.once('end', () => this.sweep())
  }

  /** Not now: after a response Node has still to let go of it, or to begin the next one of a pipeline. */
  #sweepSoon(): void {
    if (this.#isSweepDue) return
    this.#isSweepDue = true
    setImmediate(() => {
      this.#isSweepDue = false
      this.sweep()
    })
  }

  #retryLater(): void {
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.sweep()
    }, RETRY_MS).unref()
  }

  #readAll(): void {
    if (this.#lane === undefined) return
    if (this.#readAnswers(this.#lane)) this.#sweepSoon()
    else this.end()
    if (this.#sent.size === 0) this.#settled()
  }

  /** False: the lane is over, or not to be trusted. */
  #readAnswers(lane: Lane): boolean {
    for (;;) {
      const packet = lane.receive()
      if (packet === 'empty') return true
      if (packet === 'end') return false
      this.#native.closeAll(packet.fds)
      if (!this.#settle(packet.message)) return false
    }
  }

  #settle(message: unknown): boolean {
    const { batch, refused } = (message ?? {}) as { batch?: unknown; refused?: unknown }
    const sent = typeof batch === 'number' ? this.#sent.get(batch) : undefined
    if (sent === undefined || !Array.isArray(refused)) return false
    this.#sent.delete(batch as number)
    this.#awaitAnswer()
    const back = new Set<unknown>(refused)
    for (const [index, one] of sent.connections.entries()) {
      if (back.has(index)) {
        this.#keep(one)
        this.#refused.add(one.socket)
      } else {
        this.#moved++
        this.#left.add(one.socket)
      }
    }
    this.#closeSoon()
    return true
  }

  /** Of the oldest batch that waits. */
  #awaitAnswer(): void {
    clearTimeout(this.#answerTimer)
    const [oldest] = this.#sent.values()
    if (oldest === undefined) return
    this.#answerTimer = setTimeout(
      () => {
        if (this.#lane === undefined) return
        // It may be us who stood still: the answer lies there then.
        const before = this.#sent.size
        if (!this.#readAnswers(this.#lane) || this.#sent.size === before) this.end()
        else this.#sweepSoon()
      },
      Math.max(0, oldest.at + ANSWER_MS - performance.now()),
    ).unref()
  }
}

function isOfServer(socket: HttpSocket, server: Server): boolean {
  const { _server: acceptedBy, encrypted } = socket as unknown as { _server?: unknown; encrypted?: boolean }
  return acceptedBy === server && !encrypted
}

/** Node's handle of a connection. */
function handleOf(socket: HttpSocket): { readStart(): number; readStop(): number } | null | undefined {
  return (socket as unknown as { _handle?: { readStart(): number; readStop(): number } | null })._handle
}

/** A socket's own write() and end(), if the program has given it any. */
type Voice = Partial<Pick<HttpSocket, 'write' | 'end'>>

function silence(socket: HttpSocket): Voice {
  const voice: Voice = {}
  for (const name of ['write', 'end'] as const) {
    if (Object.hasOwn(socket, name)) voice[name] = socket[name] as never
    socket[name] = swallow
  }
  return voice
}

function giveBack(socket: HttpSocket, voice: Voice): void {
  for (const name of ['write', 'end'] as const) delete (socket as Partial<HttpSocket>)[name]
  Object.assign(socket, voice)
}

function swallow(this: HttpSocket): never {
  return true as never
}
