import type { Log } from '../log.js'
import { type Fds, type Native, native } from '../native.js'
import {
  type Hello,
  type OrphanTerms,
  PROTOCOL_VERSION,
  type Rejoin,
  type Report,
  type SocketName,
} from '../protocol.js'
import type { Offered } from './brain/events.js'
import { tokenOf } from './orphans.js'
import type { Pending } from './pending.js'
import type { Sockets } from './sockets.js'
import type { Offer, WorkerChannel } from './worker-channel.js'

/** Those who have come, and the sockets that they bring back. Which of them is what is the brain's to decide. */
export class Offers {
  readonly #native: Native = native()
  readonly #pending: Pending
  readonly #sockets: Sockets
  readonly #log: Log
  readonly #terms: OrphanTerms | undefined
  readonly #byId = new Map<number, Offer>()
  #nextId = 1
  /** Is told when somebody has given all that he has. null: whoever comes now is late. */
  #given: ((offer: Offer) => void) | null = null

  constructor(options: {
    pending: Pending
    sockets: Sockets
    terms: OrphanTerms | undefined
    log: Log
  }) {
    this.#pending = options.pending
    this.#sockets = options.sockets
    this.#terms = options.terms
    this.#log = options.log
  }

  /** From here on sockets are taken back; `given` is called for each process that has given what it has. */
  collect(given: (offer: Offer) => void): void {
    this.#given = given
  }

  /** All that have come so far. Whoever comes from here on is late. */
  close(): Offer[] {
    this.#given = null
    return [...this.#byId.values()]
  }

  /**
   * Somebody of our uid has come with this. Throws when it cannot be watched. `late`: is told of it when nobody is collected any more.
   */
  come(channel: WorkerChannel, hello: Hello, rejoin: Rejoin, late: (offer: Offer) => void): void {
    const { pid } = channel.peer
    const known = [...this.#byId.values()].find(({ token }) => token === hello.token)
    const isFirst = known === undefined
    const offer = known ?? {
      id: this.#nextId++,
      token: hello.token,
      pid,
      pidfd: this.#pidfdOf(channel, hello.token),
      startedAt: new Date(rejoin.startedAt),
      channels: [],
      early: [],
      isGiving: false,
    }
    offer.channels.push({ channel, rejoin })
    channel.offer = offer
    this.#byId.set(offer.id, offer)
    const { generation, slot, term, working } = rejoin
    const place = { generation, slot, term, working }
    channel.isFirst = isFirst
    const orphan = this.#terms === undefined ? {} : { orphan: this.#terms }
    channel.send({ type: 'welcome', version: PROTOCOL_VERSION, ...place, first: isFirst, ...orphan, fds: [] })
    if (this.#given === null) {
      if (isFirst) late(offer)
    } else this.#take(offer, channel, rejoin)
  }

  /** The one that has this token, if it has come. */
  has(token: string): Offer | undefined {
    return [...this.#byId.values()].find((offer) => offer.token === token)
  }

  /** SO_PEERPIDFD needs Linux 6.5. Before it: of the process that has this pid now, if it was started with this token. */
  #pidfdOf(channel: WorkerChannel, token: string): number {
    try {
      return channel.peerPidfd()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOPROTOOPT') throw error
    }
    const { pid } = channel.peer
    const pidfd = this.#native.pidfdOpen(pid)
    if (tokenOf(pid) === token) return pidfd
    this.#native.close(pidfd)
    throw new Error('it has ended')
  }

  /** Nobody is asked for what we have. */
  #take(offer: Offer, channel: WorkerChannel, { sockets }: Rejoin): void {
    if (sockets.every((name) => this.#sockets.has(name))) {
      if (!offer.isGiving) this.#given?.(offer)
      return
    }
    offer.isGiving = true
    this.#pending.ask(channel, { type: 'collect' }, [], () => {
      offer.isGiving = false
      this.#given?.(offer)
    })
  }

  /** What is said by somebody who is not ours yet. */
  heard(channel: WorkerChannel, offer: Offer, report: Report, fds: Fds): void {
    if (report.type === 'sockets') return this.#takeBack(report.fds, fds)
    this.#native.closeAll(fds)
    if (report.type === 'ack' || report.type === 'nack') this.#pending.answered(channel, report)
    else offer.early.push({ channel, report })
  }

  #takeBack(names: readonly SocketName[], fds: Fds): void {
    for (const [index, fd] of fds.entries()) {
      const name = names[index]
      try {
        if (name === undefined || !this.#sockets.takeBack(name, fd)) this.#native.close(fd)
      } catch (error) {
        this.#native.close(fd)
        this.#log('warn', 'adoption.refused', {
          address: name?.listener,
          slot: name?.slot,
          reason: (error as Error).message,
        })
      }
    }
  }

  /** It has closed its channel before it was ours. */
  closed(channel: WorkerChannel, offer: Offer): void {
    const at = offer.channels.findIndex((one) => one.channel === channel)
    if (at !== -1) offer.channels.splice(at, 1)
    if (offer.channels.length > 0) return
    if (this.#byId.delete(offer.id)) this.#native.close(offer.pidfd)
  }

  /** It is ours from here on, descriptor and all. undefined: it has gone. */
  remove(id: number): Offer | undefined {
    const offer = this.#byId.get(id)
    this.#byId.delete(id)
    return offer
  }
}

/** What the brain must know of one. Throws what is wrong with it. */
export function offeredOf({ id, pid, channels }: Offer): Offered {
  const [first] = channels
  if (first === undefined) throw new Error('it has gone')
  const { generation, slot, state, term, working } = first.rejoin
  const all = channels.flatMap(({ rejoin }) => rejoin)
  return {
    offer: id,
    pid,
    generation,
    slot,
    state,
    term,
    working,
    claims: channels.flatMap(({ channel, rejoin }) => claimsOf(channel, rejoin)),
    sockets: all.flatMap(({ sockets }) => sockets),
    adopted: all.flatMap(({ adopted }) => adopted),
  }
}

/** The claims of one of its threads, as the brain names them. */
export function claimsOf(channel: WorkerChannel, { claims }: Rejoin): Offered['claims'] {
  return claims.map(({ id, address, backlog, listening, ready }) => ({
    claim: `${channel.id}:${id}`,
    address,
    backlog,
    listening,
    says: ready !== undefined,
    said: ready === 'said',
  }))
}
