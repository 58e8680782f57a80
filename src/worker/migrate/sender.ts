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
/** Batches that wait for an answer: enough to keep both busy, and few in the hands of a receiver that stands still. */
const WINDOW = 4
/** The lane is full, or too many descriptors are on their way: nothing tells when that ends. */
const RETRY_MS = 20
/** A receiver that stands still for longer does not get these connections: a client may wait. As an order of the launcher (ORDER_TIMEOUT_MS). */
const ANSWER_MS = 2_000

const RESPONSE_FINISH = 'http.server.response.finish'

interface Sent {
  readonly at: number
  /** Our copies, until the answer says whose the connections are. */
  readonly connections: readonly { readonly fd: number; readonly leftMs: number | null }[]
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

  /** Taken by other workers so far. */
  get moved(): number {
    return this.#moved
  }

  /** On their way: still ours, but none of the server's. */
  get underWay(): number {
    let sum = 0
    for (const { connections } of this.#sent.values()) sum += connections.length
    return sum
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

  /** Sends what is idle now, a batch in each turn of the event loop. */
  sweep(): void {
    const lane = this.#lane
    // Over the window the next answer sweeps.
    if (lane === undefined || this.#retry !== undefined || this.#sent.size >= WINDOW) return
    const { idle, hasMore } = this.#idle()
    if (idle.length === 0) return
    const batch = this.#copy(idle)
    // Without a descriptor to spare nothing can move, now or soon: they are drained as without a lane.
    if (batch.length === 0) return this.end()
    const number = this.#nextBatch++
    const message = { batch: number, leftMs: batch.map((one) => one.leftMs) }
    const isSent = lane.send(
      message,
      batch.map(({ fd }) => fd),
    )
    if (!isSent) {
      for (const { fd } of batch) this.#native.close(fd)
      this.#retryLater()
      return
    }
    // In the turn in which they were found idle: this process reads nothing of them any more. Their copies keep them open.
    for (const { socket } of batch) socket.destroy()
    this.#sent.set(number, { at: performance.now(), connections: batch })
    this.#awaitAnswer()
    if (hasMore) this.#sweepSoon()
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
    for (const { connections } of this.#sent.values())
      for (const { fd, leftMs: left } of connections) this.#keep(fd, left)
    this.#sent.clear()
  }

  get #server(): Server {
    return this.#claim.facts.server as unknown as Server
  }

  /** Looking through all connections costs more than the batch: what was found idle is asked only whether it still is. */
  #idle(): { idle: HttpSocket[]; hasMore: boolean } {
    const mayGo = (socket: HttpSocket): boolean => !this.#refused.has(socket) && isMovable(socket, this.#server)
    if (this.#found.length === 0)
      this.#found = idleOf(this.#list, mayGo).map((socket) => ({ socket, bytesRead: socket.bytesRead }))
    const idle: HttpSocket[] = []
    for (let one = this.#found.pop(); one !== undefined; one = this.#found.pop()) {
      const { socket, bytesRead } = one
      if (isQuiet(socket) && socket.bytesRead === bytesRead && mayGo(socket)) idle.push(socket)
      if (idle.length === BATCH) break
    }
    return { idle, hasMore: idle.length > 0 }
  }

  #copy(sockets: readonly HttpSocket[]): { socket: HttpSocket; fd: number; leftMs: number | null }[] {
    const copies: { socket: HttpSocket; fd: number; leftMs: number | null }[] = []
    const now = loopNow()
    for (const socket of sockets) {
      const left = leftMs(socket, this.#server, this.#adopted, now)
      try {
        copies.push({ socket, fd: this.#native.dup(descriptorOf(socket)), leftMs: left })
      } catch {
        break // EMFILE: as many as there are descriptors for; when these have gone there are some.
      }
    }
    return copies
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
      for (const fd of packet.fds) this.#native.close(fd)
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
    for (const [index, { fd, leftMs: left }] of sent.connections.entries()) {
      if (back.has(index)) {
        const socket = this.#keep(fd, left)
        if (socket !== undefined) this.#refused.add(socket)
      } else {
        this.#moved++
        this.#native.close(fd)
      }
    }
    return true
  }

  /** Gives a connection back to the server it came from. */
  #keep(fd: number, left: number | null): HttpSocket | undefined {
    const socket = this.#claim.take(fd)
    if (socket !== undefined) this.#adopted.add(socket, this.#claim, left)
    return socket
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
