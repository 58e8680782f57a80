import type { Socket } from 'node:net'
import { CLOSE_1012, Frames } from './frames.js'
import type { ServerDrain } from './server-drain.js'
import { upgradesOf } from './upgrades.js'

/** A frame that is written in pieces, in several turns of the event loop, goes on within this, unless the client is slow to take it. */
const QUIET_MS = 100
/** A message in several frames, or what looks like a frame, may come to its end first. */
const PATIENCE_MS = 1_000
/** What a client gets to answer the close frame with its own, and the program to close after it; then we end the connection. */
const ANSWER_MS = 5_000
/** From our end to the client's. */
const END_MS = 1_000

interface Talk {
  readonly frames: Frames
  /** When its close frame is due. */
  dueAt: number
  /** Of the program's last write that we saw, or of the begin. */
  lastWriteAt: number
  toldAt: number | null
  hasEnded: boolean
  /** Takes our eyes off its writes. */
  release(): void
}

/**
 * WebSocket connections get a close frame, 1012 "service restart", spread over a time, so that they do not all come back in one moment.
 *
 * It must not fall into the middle of a frame, and what was sent before the drain nobody has watched, for that would cost something for
 * each message of every program. But a turn of the event loop is enough for the usual ones: they write a frame in one go (header and
 * payload corked, or one buffer), and we come in another turn. Whoever writes pieces (a proxy that passes on what it reads) is found out by
 * watching from the begin of the drain on: the close frame is sent only when whole frames have gone by and ended here, or when nothing has
 * been written for QUIET_MS. Bytes that are no frame show that the begin was in the middle of one; then each further write is taken for a
 * begin, until several frames in a row have proven one. Who is never quiet and never at a boundary has until the deadline.
 */
export class WebSocketDrain implements ServerDrain {
  readonly kind = 'websocket'
  readonly #server: object
  readonly #spreadMs: number | null
  readonly #talks = new Map<Socket, Talk>()

  /** `spreadMs` null: they are kept until the deadline. */
  constructor(server: object, spreadMs: number | null) {
    this.#server = server
    this.#spreadMs = spreadMs
  }

  begin(): void {
    this.#meet(performance.now())
  }

  sweep(now: number): number {
    this.#meet(now)
    let closed = 0
    for (const [socket, talk] of this.#talks) {
      if (socket.destroyed) this.#forget(socket, talk)
      else if (talk.toldAt !== null) closed += this.#end(socket, talk, talk.toldAt, now)
      else if (now >= talk.dueAt && mayTell(socket, talk, now)) tell(socket, talk, now)
    }
    return closed
  }

  /** The deadline: whoever has not been told is told now, or as soon as it can be. */
  lastCall(now: number): Socket[] {
    this.#meet(now)
    for (const talk of this.#talks.values()) talk.dueAt = Math.min(talk.dueAt, now)
    this.sweep(now)
    return [...this.#talks.keys()]
  }

  closeIdle(): number {
    return 0
  }

  end(): void {
    for (const [socket, talk] of this.#talks) this.#forget(socket, talk)
  }

  /** Handshakes may still end while we drain. */
  #meet(now: number): void {
    const fresh: Socket[] = []
    for (const [socket, { isWebSocket }] of upgradesOf(this.#server))
      if (isWebSocket && socket.writable && !this.#talks.has(socket)) fresh.push(socket)
    for (const [index, socket] of fresh.entries()) {
      const wait = this.#spreadMs === null ? Number.POSITIVE_INFINITY : (this.#spreadMs * index) / fresh.length
      this.#talks.set(socket, watch(socket, now, now + wait))
    }
  }

  /** Gives how many were closed. */
  #end(socket: Socket, talk: Talk, toldAt: number, now: number): number {
    if (!talk.hasEnded && now - toldAt >= ANSWER_MS) {
      talk.hasEnded = true
      socket.end()
    }
    if (now - toldAt < ANSWER_MS + END_MS) return 0
    socket.destroy()
    return 1
  }

  #forget(socket: Socket, talk: Talk): void {
    talk.release()
    this.#talks.delete(socket)
  }
}

function mayTell(socket: Socket, { frames, lastWriteAt, dueAt }: Talk, now: number): boolean {
  // Nothing is written to a client that is slow to read, wherever its frame ends.
  const quietMs = socket.writableLength === 0 ? now - lastWriteAt : 0
  const isQuiet = quietMs >= QUIET_MS
  const isNoFrame = frames.isLost || (!frames.isProven && quietMs >= PATIENCE_MS)
  if (isQuiet && isNoFrame) frames.restart(0)
  if (!frames.isAtBoundary || !(frames.isProven || isQuiet)) return false
  return !frames.isInMessage || now - dueAt >= PATIENCE_MS
}

function tell(socket: Socket, talk: Talk, now: number): void {
  talk.toldAt = now
  talk.release()
  if (socket.writable) socket.write(CLOSE_1012)
}

/** Sees what the program writes from here on. */
function watch(socket: Socket, now: number, dueAt: number): Talk {
  const own = Object.getOwnPropertyDescriptor(socket, 'write')
  const { write } = socket
  const talk: Talk = {
    frames: new Frames(),
    dueAt,
    lastWriteAt: now,
    toldAt: null,
    hasEnded: false,
    release() {
      if (socket.write !== watched) return
      if (own === undefined) delete (socket as Partial<Socket>).write
      else Object.defineProperty(socket, 'write', own)
    },
  }
  const tellIfPossible = (): void => {
    const at = performance.now()
    if (talk.toldAt === null && !socket.destroyed && mayTell(socket, talk, at)) tell(socket, talk, at)
  }
  const watched = function (this: Socket, chunk: unknown, ...rest: unknown[]): boolean {
    talk.lastWriteAt = performance.now()
    talk.frames.feed(bytesOf(chunk, rest[0]))
    // Not now: it may go on writing in this turn.
    if (talk.lastWriteAt >= talk.dueAt && talk.frames.isAtBoundary) setImmediate(tellIfPossible)
    return (write as (...args: unknown[]) => boolean).call(this, chunk, ...rest)
  } as Socket['write']
  socket.write = watched
  return talk
}

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  return Buffer.from(String(chunk), typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
}
