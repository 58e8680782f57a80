import { type Check, fieldsOf, isNumber, oneOf, orNull } from './shape.js'

/** How often an event loop is asked, at least. Its answer costs a worker one turn of that loop; nothing is measured per request. */
const LONGEST_PAUSE_MS = 1_000
/** Of the time-out: so much later than it, at most, a hang is noticed. */
const PING_SHARE = 1 / 16
/** With very many workers asking must not become work: about a tenth of the launcher's time, at 0.1 ms for a question and its answer. */
const MS_PER_WORKER = 1
/** A clock of the waking hours counts no gap beyond this: a timer that late was not waiting, its process was. */
const LONGEST_GAP = 2

/** How long an event loop may stand still. */
export interface Patience {
  /** Then siblings take over what waits for it. 0: nobody is asked. */
  readonly timeoutMs: number
  /** Then it is said to hang. 0: never. */
  readonly killMs: number
}

/** Milliseconds from one round of questions to the next. */
export function pingEveryMs(timeoutMs: number, asked: number): number {
  return Math.min(LONGEST_PAUSE_MS, Math.max(timeoutMs * PING_SHARE, asked * MS_PER_WORKER, 10))
}

/**
 * Counts the time in which this process ran. Whether it was stopped, frozen with its workers, or busy for a minute: that minute says
 * nothing about anybody else (reliability.md B-08, B-09).
 */
export class WakingClock {
  #before: number
  #now = 0

  constructor(real: number) {
    this.#before = real
  }

  /** The time at this look, of which the last was meant to be `everyMs` ago. */
  look(real: number, everyMs: number): number {
    this.#now += Math.min(real - this.#before, LONGEST_GAP * everyMs)
    this.#before = real
    return this.#now
  }
}

/** 'lost': its event loop stands still; 'hung': still, after so long that it will not come back; 'back': it turns again. */
export type Beat = { readonly is: 'lost' | 'hung'; readonly ms: number } | { readonly is: 'back' }

export interface SavedHeartbeat {
  readonly told: 'well' | 'lost' | 'hung'
  /** How long a question has waited for its answer; null: none does. */
  readonly silentMs: number | null
}
export const SAVED_HEARTBEAT: Check = fieldsOf({ told: oneOf('well', 'lost', 'hung'), silentMs: orNull(isNumber) })

/** Whether the event loop at the other end of a channel turns: it is asked, and whatever it says is an answer. */
export class Heartbeat {
  readonly #patience: Patience
  readonly #ask: () => void
  readonly #tell: (beat: Beat) => void
  /** Of the question that waits for an answer. */
  #askedAt: number | null = null
  #told: SavedHeartbeat['told']
  #tickedAt = 0

  /** `saved`: of another image of this process; the clock of this one begins at 0. */
  constructor(patience: Patience, ask: () => void, tell: (beat: Beat) => void, saved?: SavedHeartbeat) {
    this.#patience = patience
    this.#ask = ask
    this.#tell = tell
    this.#told = saved?.told ?? 'well'
    this.#askedAt = saved?.silentMs == null ? null : -saved.silentMs
  }

  get isLost(): boolean {
    return this.#told !== 'well'
  }

  /** To be called every `pingEveryMs`, with the time of a WakingClock. */
  tick(now: number): void {
    this.#tickedAt = now
    const askedAt = this.#askedAt
    if (askedAt === null) {
      this.#askedAt = now
      this.#ask()
      return
    }
    const next = this.#judge(now - askedAt)
    if (next === null) return
    // Not before what is in our own queue has been read.
    setImmediate(() => {
      if (this.#askedAt !== askedAt || this.#told === next) return
      this.#told = next
      this.#tell({ is: next, ms: Math.round(now - askedAt) })
    })
  }

  /** It has said something. */
  heard(): void {
    this.#askedAt = null
    if (this.#told === 'well') return
    this.#told = 'well'
    this.#tell({ is: 'back' })
  }

  /** It will never say anything again: that is no answer, and nobody waits for one. */
  end(): void {
    this.#askedAt = null
  }

  save(): SavedHeartbeat {
    return { told: this.#told, silentMs: this.#askedAt === null ? null : this.#tickedAt - this.#askedAt }
  }

  /** What is to be told of this silence and has not been. 'hung' comes after 'lost', a round later at least. */
  #judge(silentMs: number): 'lost' | 'hung' | null {
    const { timeoutMs, killMs } = this.#patience
    if (this.#told === 'well') return silentMs >= timeoutMs ? 'lost' : null
    return this.#told === 'lost' && killMs > 0 && silentMs >= killMs ? 'hung' : null
  }
}
