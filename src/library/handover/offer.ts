import { clearTimeout, setTimeout } from 'node:timers'
import { type Native, type Poller, READABLE } from '../../native.js'
import type { ListenerKey } from '../../protocol.js'
import { type FromNew, type FromOld, HANDOVER_VERSION, type Refusal } from './messages.js'
import { Talk } from './talk.js'

/** For each step that is the other process' alone (reliability.md §2.12: hand-over step). */
const STEP_MS = 10_000
/** Between the word that it is too late and the kill. */
const LEAVE_MS = 1_000
/** A process that was killed is gone in milliseconds, unless the kernel holds it. */
const DEATH_MS = 5_000
const SIGKILL = 9

export interface OfferWorld {
  readonly generation: number
  readonly readyTimeoutMs: number
  /** False: not now. */
  begin(offer: Offer): boolean
  /** Lent: 'path', 'lock', and the listeners. */
  sockets(): readonly { readonly name: string; readonly fd: number }[]
  /** It is about to have these: flows that stay here are kept from now on. undefined: there are none. */
  keepFlows(takes: readonly ListenerKey[]): Promise<unknown> | undefined
  /** They are the new one's, whose pid that is. */
  taken(talk: OfferTalk, takes: readonly ListenerKey[], pid: number): void
  /** It has gone, and it is as if nobody had come. */
  over(offer: Offer): void
  /** What the new one says after it has taken them. */
  heard(message: FromNew): void
  ended(): void
}

export type OfferTalk = Talk<FromNew, FromOld>

type State =
  /** It has not said what it wants. */
  | 'greeting'
  /** It has copies of all sockets, and accepts from none. */
  | 'offered'
  /** It is ready, and this one keeps its flows. */
  | 'keeping'
  /** It was told to accept. */
  | 'committed'
  /** It is told to go, or was killed: over when it has gone. */
  | 'fencing'
  /** It accepts, and is alive as far as has been read. */
  | 'acting'
  | 'taken'
  | 'over'

/**
 * A process that has come to take over, as the old one sees it. Nothing is given up before it has said that it accepts; one that holds copies of
 * the sockets and cannot be heard of is killed, and waited for, before anything else (the fence): it might accept, or not, at any later time.
 */
export class Offer {
  readonly #native: Native
  readonly #world: OfferWorld
  readonly #talk: OfferTalk
  readonly #pid: number
  readonly #pidfd: number | undefined
  #death: Poller | undefined
  #state: State = 'greeting'
  #timer: NodeJS.Timeout | undefined
  #takes: readonly ListenerKey[] = []
  /** What it says behind `acting`. */
  readonly #early: FromNew[] = []

  /** Takes `fd`, a connection by the handover path. */
  constructor(native: Native, fd: number, world: OfferWorld) {
    this.#native = native
    this.#world = world
    const { pid, uid } = native.peerCredentials(fd)
    this.#talk = new Talk<FromNew, FromOld>(native, fd, {
      heard: (message) => this.#heard(message),
      ended: () => this.#ended(),
    })
    this.#pid = pid
    this.#pidfd = pid === 0 || pid === process.pid ? undefined : pidfdOf(native, fd, pid)
    if (uid !== process.geteuid?.()) this.#refuse('who', `it is of user ${uid}`)
    else if (pid === process.pid) this.#refuse('who', 'it is this process itself')
    else if (this.#pidfd === undefined) this.#refuse('who', 'it is not to be seen from here (another pid namespace)')
    else this.#wait(STEP_MS, () => this.close())
  }

  /** Not after it has taken over. Whoever it is may look for another process. */
  close(): void {
    if (this.#state === 'over' || this.#state === 'taken') return
    this.#state = 'over'
    clearTimeout(this.#timer)
    this.#forgetProcess()
    this.#talk.close()
    this.#world.over(this)
  }

  #heard(message: FromNew): void {
    switch (message.type) {
      case 'hello':
        if (this.#state === 'greeting') this.#greet(message.version)
        return
      case 'ready':
        if (this.#state !== 'offered' || !Array.isArray(message.takes)) return
        this.#takes = message.takes
        this.#keep()
        return
      case 'acting':
        if (this.#state !== 'committed') return
        this.#state = 'acting'
        clearTimeout(this.#timer)
        // If it has died since, its end is read before that.
        setImmediate(() => this.#handOver())
        return
      default:
        if (this.#state === 'taken') this.#world.heard(message)
        else if (this.#state === 'acting') this.#early.push(message)
    }
  }

  #greet(version: number): void {
    if (version !== HANDOVER_VERSION) return this.#refuse('version', `this is version ${HANDOVER_VERSION} of it`)
    if (!this.#world.begin(this)) return this.#refuse('busy', 'another process is taking over, or this one only begins')
    const sockets = this.#world.sockets()
    const fds = sockets.map(({ name }) => name) as unknown as Extract<FromOld, { type: 'sockets' }>['fds']
    const { generation, readyTimeoutMs } = this.#world
    this.#state = 'offered'
    this.#talk.send(
      { type: 'sockets', version: HANDOVER_VERSION, generation, fds },
      sockets.map(({ fd }) => fd),
    )
    this.#wait(readyTimeoutMs, () => this.#sendAway(readyTimeoutMs))
  }

  #keep(): void {
    const kept = this.#world.keepFlows(this.#takes)
    if (kept === undefined) return this.#commit()
    this.#state = 'keeping'
    void kept.then(() => {
      if (this.#state === 'keeping') this.#commit()
    })
  }

  #commit(): void {
    this.#state = 'committed'
    this.#talk.send({ type: 'commit' })
    this.#wait(STEP_MS, () => this.#kill())
  }

  #handOver(): void {
    if (this.#state !== 'acting') return
    this.#state = 'taken'
    this.#forgetProcess()
    this.#talk.send({ type: 'taken' })
    this.#world.taken(this.#talk, this.#takes, this.#pid)
    for (const message of this.#early.splice(0)) this.#world.heard(message)
  }

  #refuse(code: Refusal, message: string): void {
    this.#talk.send({ type: 'refused', code, message })
    this.close()
  }

  /** It closes its copies when it hears that, and then its end of the channel. */
  #sendAway(ms: number): void {
    this.#state = 'fencing'
    this.#talk.send({ type: 'refused', code: 'late', message: `it was not ready within ${ms} ms` })
    this.#wait(LEAVE_MS, () => this.#kill())
  }

  #kill(): void {
    this.#state = 'fencing'
    const pidfd = this.#pidfd as number
    this.#death = new this.#native.Poller(pidfd, () => this.#ended())
    this.#death.start(READABLE)
    try {
      this.#native.pidfdSignal(pidfd, SIGKILL)
      this.#wait(DEATH_MS, () => this.#ended())
    } catch {
      // EPERM: it is of another user now. It is waited for, however long: closing the channel would tell it that this one has died.
    }
  }

  /** The other end is closed. */
  #ended(): void {
    if (this.#state === 'taken') this.#world.ended()
    else this.close()
  }

  #forgetProcess(): void {
    this.#death?.close()
    if (this.#pidfd !== undefined) this.#native.close(this.#pidfd)
  }

  #wait(ms: number, late: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      // It may be this process that stood still: the answer lies there then.
      const before = this.#state
      this.#talk.read()
      if (this.#state === before) late()
    }, ms).unref()
  }
}

/** undefined: it has ended, or cannot be seen. */
function pidfdOf(native: Native, fd: number, pid: number): number | undefined {
  try {
    return native.peerPidfd(fd)
  } catch {
    // Before Linux 6.5.
  }
  try {
    return native.pidfdOpen(pid)
  } catch {
    return undefined
  }
}
