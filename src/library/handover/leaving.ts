import { clearTimeout, setTimeout } from 'node:timers'
import type { DrainCounts } from '../../meeting.js'
import type { Native } from '../../native.js'
import { addOutcomes } from '../../outcomes.js'
import type { DrainOutcome, ListenerKey } from '../../protocol.js'
import { acceptTheRest } from '../../serving/accept-the-rest.js'
import { Claim } from '../../serving/claim.js'
import { DatagramClaim } from '../../serving/datagrams.js'
import { Drain } from '../../serving/drain/drain.js'
import type { Adopted } from '../../serving/migrate/adopted.js'
import { Sender } from '../../serving/migrate/sender.js'
import { speaks } from '../../serving/speaks.js'
import type { Entry } from './entry.js'
import type { FromNew } from './messages.js'
import type { OfferTalk } from './offer.js'

/** WebSockets are told to come back over this time, as the launcher's --drain-spread has it. */
const SPREAD_MS = 5_000
/** The new one closes its copies of what it never wanted. */
const DROP_MS = 2_000

export interface LeavingWorld {
  readonly native: Native
  readonly adopted: Adopted
  readonly talk: OfferTalk
  readonly drainTimeoutMs: number
  /** Nothing is left. */
  over(): void
}

/**
 * The way out of a process that has been succeeded: what has been taken from it is drained, and its idle connections go to the new one. What was
 * not taken is served on meanwhile; it ends last.
 */
export class Leaving {
  readonly #world: LeavingWorld
  readonly #entries: readonly Entry[]
  /** Served on. */
  readonly #orphans: Set<Entry>
  readonly #drains = new Set<Drain>()
  readonly #outcomes: DrainOutcome[] = []
  /** Only what nobody has taken is left. */
  #isLast = false
  #isEnding = false
  #dropTimer: NodeJS.Timeout | undefined

  constructor(world: LeavingWorld, entries: readonly Entry[], takes: readonly ListenerKey[]) {
    this.#world = world
    this.#entries = entries
    this.#orphans = new Set(entries)
    this.#giveUp(entries.filter(({ key }) => takes.includes(key)))
  }

  heard(message: FromNew): void {
    if (message.type === 'take') {
      const late = [...this.#orphans].filter(({ key }) => key === message.listener)
      if (late.length > 0) this.#giveUp(late)
    } else if (message.type === 'dropped') void this.#endOrphans()
  }

  /** The new one has died. What it has taken is its own. */
  ended(): void {
    // Whoever comes next binds beside it, and would get a part of what comes only.
    for (const entry of this.#entries)
      if (entry.claim instanceof DatagramClaim && !this.#orphans.has(entry)) entry.claim.giveUp()
    void this.#endOrphans()
  }

  /** Its sockets are the new one's, and accepted from there already. */
  #giveUp(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.#orphans.delete(entry)
      entry.claim.pause('draining')
      entry.claim.letGo()
      if (entry.migrate && entry.claim instanceof Claim) this.#openLane(entry.claim)
    }
    this.#drain(entries, true)
  }

  #drain(entries: readonly Entry[], hasSuccessor: boolean): void {
    const { drainTimeoutMs } = this.#world
    const servers = entries.map(({ server }) => server)
    const plan = { spreadMs: Math.min(SPREAD_MS, drainTimeoutMs / 2), isAwaited: true }
    const drain = new Drain(servers, plan, {
      done: (outcome) => {
        this.#outcomes.push(outcome)
        this.#drains.delete(drain)
        // Not in the middle of its own begin.
        setImmediate(() => this.#next())
      },
      holds: () => {},
      closedEarly: () => {},
    })
    this.#drains.add(drain)
    drain.begin(drainTimeoutMs)
    for (const { claim, fate } of entries) {
      const tell = (): void => fate.draining(drainTimeoutMs, hasSuccessor)
      if (claim instanceof DatagramClaim) claim.afterLinger(tell)
      else tell()
    }
  }

  #openLane(claim: Claim): void {
    if (speaks(claim.facts.server) !== 'http') return
    const { native, adopted, talk } = this.#world
    const [mine, theirs] = native.socketPair()
    talk.send({ type: 'lane', listener: claim.facts.listener, fds: ['lane'] }, [theirs])
    native.close(theirs)
    const sender = Sender.for(native, claim, adopted, () => {
      for (const drain of this.#drains) drain.look()
    })
    if (sender === undefined) native.close(mine)
    else sender.open(mine)
  }

  #next(): void {
    if (this.#drains.size > 0 || this.#isLast) return
    if (this.#orphans.size === 0) return this.#finish()
    this.#isLast = true
    // Its copies would keep a queue open that nobody accepts from.
    if (!this.#world.talk.send({ type: 'leaving' })) return void this.#endOrphans()
    this.#dropTimer = setTimeout(() => void this.#endOrphans(), DROP_MS)
  }

  async #endOrphans(): Promise<void> {
    if (!this.#isLast || this.#isEnding) return
    this.#isEnding = true
    clearTimeout(this.#dropTimer)
    const orphans = [...this.#orphans]
    this.#orphans.clear()
    if (orphans.length > 0) {
      await acceptTheRest(orphans.map(({ claim }) => claim))
      for (const { unlink } of orphans) unlink()
      this.#drain(orphans, false)
    }
    this.#isLast = false
    this.#isEnding = false
    this.#next()
  }

  #finish(): void {
    const { moved = 0, ended, closed, cut } = addOutcomes(this.#outcomes)
    const counts: DrainCounts = { moved, ended, closed, cut }
    for (const { fate, end } of this.#entries) {
      fate.drained(counts)
      end()
    }
    this.#world.talk.close()
    this.#world.over()
  }
}
