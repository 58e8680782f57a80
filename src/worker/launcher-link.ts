import { Channel } from '../channel.js'
import { ReuseportError } from '../errors.js'
import type { Native } from '../native.js'
import type { Claimed, Hello, Reply, ToLauncher, ToWorker } from '../protocol.js'
import { type Incoming, type Malformed, parsePacket } from '../serving/incoming.js'
import type { ReceivedFds } from '../serving/received-fds.js'
import { Reconnect } from './reconnect.js'
import { say } from './say.js'

/**
 * `listen()` blocks the program's thread for this long at most. The launcher answers in a millisecond; it may be busy starting others or
 * exec'ing its own upgrade (reliability.md §2.12: 10 s for a step of a hand-over). Over it the program sees a listen error.
 */
const ANSWER_MS = 10_000
/** Between two connects while the launcher's backlog is full (EAGAIN), which cannot be awaited. */
const CONNECT_AGAIN_MS = 5

type Welcome = Extract<Reply, { type: 'welcome' }>
type Refused = Extract<Reply, { type: 'refused' }>
export type ClaimReport = Extract<ToLauncher, { type: 'claim' }>

export interface LinkEvents {
  hello(): Hello
  welcomed(welcome: Welcome, fds: ReceivedFds): void
  /** The launcher that had taken this worker is gone. */
  lost(): void
  /** Every message that is not part of a greeting or a claim. */
  message(incoming: Incoming<ToWorker>): void
}

/** What there is between this thread and the launcher: `refused` and nothing else is for good. */
type Standing = 'apart' | 'greeting' | 'joined' | 'refused'

/**
 * The worker's side of the conversation: greeting, the one question that is answered synchronously, and finding the next launcher when
 * this one is gone.
 */
export class LauncherLink {
  readonly #native: Native
  readonly #path: string
  readonly #events: LinkEvents
  readonly #reconnect: Reconnect = new Reconnect(() => this.#rejoin())
  #standing: Standing = 'apart'
  #channel: Channel | undefined
  #everJoined = false
  #greetingTimer: NodeJS.Timeout | undefined
  /** What came while `listen()` was waiting for something else. */
  #postponed: Incoming<ToWorker>[] = []
  #awaitedClaim: number | undefined
  #answer: { reply: Claimed; fds: ReceivedFds } | undefined

  constructor(native: Native, path: string, events: LinkEvents) {
    this.#native = native
    this.#path = path
    this.#events = events
  }

  get isJoined(): boolean {
    return this.#standing === 'joined'
  }

  /** False when there is no launcher to hear it: then `hello` tells the next one what it has to know. */
  send(message: ToLauncher, fds: readonly number[] = []): boolean {
    return this.#standing === 'joined' && this.#channel !== undefined && this.#channel.send(message, fds)
  }

  /** A thread ends and its process goes on: nothing else would close the descriptor. */
  leave(): void {
    this.#standing = 'refused'
    this.#channel?.close()
    this.#channel = undefined
  }

  /** Blocks until the launcher has answered. undefined: it does not take this process. Throws ERR_CHANNEL without an answer. */
  ask(claim: ClaimReport): { reply: Claimed; fds: ReceivedFds } | undefined {
    const deadline = performance.now() + ANSWER_MS
    try {
      if (this.#standing === 'apart') this.#connect(deadline)
      this.#waitUntil(() => this.#standing !== 'greeting', deadline, 'did not greet')
      if (this.#standing === 'refused') return undefined
      this.#awaitedClaim = claim.id
      this.send(claim)
      this.#waitUntil(() => this.#answer !== undefined, deadline, 'did not answer a claim')
      return this.#answer
    } finally {
      this.#answer = undefined
      this.#awaitedClaim = undefined
      this.#channel?.start()
      // Not now: listen() has not returned, the server has no handle yet that an order could act on.
      if (this.#postponed.length > 0) setImmediate(() => this.#deliverPostponed())
    }
  }

  #connect(deadline: number): void {
    for (;;) {
      try {
        this.#open()
        return
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() >= deadline) {
          if (this.#everJoined) this.#reconnect.schedule()
          throw this.#error('no launcher answers', error)
        }
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, CONNECT_AGAIN_MS)
      }
    }
  }

  #open(): void {
    this.#channel = Channel.connect(this.#native, this.#path, () => this.#readAll())
    this.#standing = 'greeting'
    this.#channel.send(this.#events.hello())
  }

  #waitUntil(isDone: () => boolean, deadline: number, otherwise: string): void {
    while (!isDone()) {
      const incoming = this.#receive() ?? 'end'
      if (incoming === 'end') {
        this.#ended()
        throw this.#error('the launcher has ended the channel')
      }
      if (incoming !== 'empty') {
        this.#take(incoming, true)
        continue
      }
      const left = Math.ceil(deadline - performance.now())
      if (left <= 0 || !this.#channel?.waitReadable(left)) {
        if (this.#standing === 'greeting') {
          this.#channel?.close()
          this.#ended()
        }
        throw this.#error(`the launcher ${otherwise} within ${ANSWER_MS} ms`)
      }
    }
  }

  #readAll(): void {
    this.#deliverPostponed()
    for (;;) {
      const incoming = this.#receive() ?? 'empty'
      if (incoming === 'empty') return
      if (incoming === 'end') {
        this.#ended()
        return
      }
      this.#take(incoming, false)
    }
  }

  #receive(): Incoming<ToWorker> | Malformed | 'empty' | 'end' | undefined {
    const packet = this.#channel?.receive()
    return typeof packet === 'object' ? parsePacket<ToWorker>(this.#native, packet) : packet
  }

  #deliverPostponed(): void {
    for (const incoming of this.#postponed.splice(0)) this.#events.message(incoming)
  }

  #take(incoming: Incoming<ToWorker> | Malformed, postpone: boolean): void {
    if ('malformed' in incoming) {
      this.#complain(incoming)
      return
    }
    const { message, fds } = incoming
    switch (message.type) {
      case 'welcome':
        this.#welcomed(message as Welcome, fds)
        break
      case 'refused':
        this.#refused(message as Refused)
        break
      case 'claimed':
        this.#claimed(message as Claimed, fds)
        return
      default:
        if (postpone) this.#postponed.push(incoming)
        else this.#events.message(incoming)
        return
    }
    fds.closeRest()
  }

  #welcomed(welcome: Welcome, fds: ReceivedFds): void {
    clearTimeout(this.#greetingTimer)
    this.#standing = 'joined'
    this.#everJoined = true
    this.#reconnect.succeeded()
    this.#events.welcomed(welcome, fds)
  }

  /** A launcher of another version may be followed by one of ours; every other refusal is final. */
  #refused(refused: Refused): void {
    clearTimeout(this.#greetingTimer)
    this.#channel?.close()
    this.#channel = undefined
    const mayChange = refused.code === 'version' && this.#everJoined
    this.#standing = mayChange ? 'apart' : 'refused'
    if (mayChange) this.#reconnect.schedule()
    say(`this process (pid ${process.pid}) is not managed: ${refused.message} (${refused.code})`)
  }

  #claimed(reply: Claimed, fds: ReceivedFds): void {
    if (reply.id === this.#awaitedClaim) {
      this.#answer = { reply, fds }
      return
    }
    // listen() gave up on this one: the socket must not wait in a queue that nobody accepts from.
    fds.closeRest()
    this.send({ type: 'released', id: reply.id })
  }

  #complain({ malformed, seq }: Malformed): void {
    if (seq === undefined) this.send({ type: 'warning', code: 'ERR_PROTOCOL', message: malformed })
    else this.send({ type: 'nack', seq, code: 'ERR_PROTOCOL', message: malformed })
  }

  /** The launcher is gone. A worker that it had taken looks for the next one for ever, and serves meanwhile. */
  #ended(): void {
    clearTimeout(this.#greetingTimer)
    this.#channel = undefined
    if (this.#standing === 'refused') return
    const wasJoined = this.#standing === 'joined'
    this.#standing = 'apart'
    if (this.#everJoined) this.#reconnect.schedule()
    if (wasJoined) this.#events.lost()
  }

  #rejoin(): void {
    if (this.#standing !== 'apart') return
    try {
      this.#open()
    } catch {
      this.#reconnect.schedule()
      return
    }
    this.#channel?.start()
    this.#greetingTimer = setTimeout(() => {
      this.#channel?.close()
      this.#ended()
    }, ANSWER_MS).unref()
  }

  #error(message: string, cause?: unknown): ReuseportError {
    return new ReuseportError('ERR_CHANNEL', `listen() needs the launcher that started this process: ${message}`, {
      facts: { channel: this.#path, pid: process.pid },
      next: 'Is the launcher still running? Its own log says why it ended.',
      cause,
    })
  }
}
