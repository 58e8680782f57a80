import { now } from './clock.js'
import { type Check, fieldsOf, isNumber, oneOf, orNull } from './shape.js'

/** The rarest and the most frequent beat. Each costs a worker one turn of its loop; nothing is measured per request. */
const [SLOWEST_MS, FASTEST_MS] = [1_000, 10]
/** Of the time-out: so much later than it, at most, a hang is noticed. */
const BEAT_SHARE = 1 / 16
/** Of the time-out. Whoever was frozen together with us has the rest of it for his next beat. */
const LOOK_SHARE = 1 / 2

/** How long an event loop may stand still. */
export interface Patience {
  /** Then siblings take over what waits for it. 0: nobody is asked. */
  readonly timeoutMs: number
  /** Then it is said to hang. 0: never. */
  readonly killMs: number
}

/** Milliseconds from one beat of an event loop that turns to its next. */
export function beatEveryMs(timeoutMs: number): number {
  return Math.min(SLOWEST_MS, Math.max(timeoutMs * BEAT_SHARE, FASTEST_MS))
}

/** Milliseconds from one look at them to the next, at most. */
export function lookEveryMs(timeoutMs: number): number {
  return timeoutMs * LOOK_SHARE
}

/**
 * Counts the time in which this process ran. Whether it was stopped, frozen with its workers, or busy for a minute: that minute says
 * nothing about anybody else (reliability.md B-08, B-09).
 */
export class WakingClock {
  readonly #graceMs: number
  #before: number
  #now = 0

  /** A timer that is later than `graceMs` was not waiting: its process was. */
  constructor(real: number, graceMs: number) {
    this.#before = real
    this.#graceMs = graceMs
  }

  /** The time at this look, which was meant to be `inMs` after the last. */
  look(real: number, inMs: number): number {
    this.#now += Math.min(real - this.#before, inMs + this.#graceMs)
    this.#before = real
    return this.#now
  }
}

/** 'lost': its event loop stands still; 'hung': still, after so long that it will not come back; 'back': it turns again. */
export type Beat = { readonly is: 'lost' | 'hung'; readonly ms: number } | { readonly is: 'back' }

export interface SavedHeartbeat {
  readonly told: 'well' | 'lost' | 'hung'
  /** How long it has owed a beat or an answer; null: it owes none. */
  readonly silentMs: number | null
}
export const SAVED_HEARTBEAT: Check = fieldsOf({ told: oneOf('well', 'lost', 'hung'), silentMs: orNull(isNumber) })

/**
 * Whether the event loop at the other end of a channel turns. It says so by itself, with its pulse; one that has not beaten is asked, and
 * whatever it says is an answer.
 */
export class Heartbeat {
  readonly #patience: Patience
  readonly #ask: () => void
  readonly #tell: (beat: Beat) => void
  readonly #clock: () => number
  /** It has beaten once. */
  #hasPulse = false
  /** When it last said something, by `clock`. */
  #heardAt: number | null = null
  /** Since when it owes a beat, or the answer to the question. */
  #owesSince: number | null
  #isAsked = false
  #told: SavedHeartbeat['told']
  /** Of the last look. */
  #at: number | null = null

  /** `saved`: of another image of this process; the clock of this one begins at 0. */
  constructor(
    patience: Patience,
    ask: () => void,
    tell: (beat: Beat) => void,
    saved?: SavedHeartbeat,
    clock: () => number = now,
  ) {
    this.#patience = patience
    this.#ask = ask
    this.#tell = tell
    this.#clock = clock
    this.#told = saved?.told ?? 'well'
    this.#owesSince = saved?.silentMs == null ? null : -saved.silentMs
  }

  get isLost(): boolean {
    return this.#told !== 'well'
  }

  /** By a WakingClock. `agoMs`: when it has beaten since the last look; null: it has not. */
  look(at: number, agoMs: number | null): void {
    const last = this.#at ?? at
    this.#at = at
    // The time in which we did not run is no part of the time since.
    const nextBeat = (ago: number): number => Math.max(last, at - ago) + beatEveryMs(this.#patience.timeoutMs)
    if (agoMs !== null) {
      this.heard()
      this.#hasPulse = true
      this.#owesSince = nextBeat(agoMs)
      return
    }
    if (!this.#isAsked) {
      this.#isAsked = true
      // Its words are a turn of its loop, after which a beat is due; of one without a pulse nothing is due before it is asked.
      const isDue = this.#hasPulse && this.#heardAt !== null
      this.#owesSince ??= isDue ? nextBeat(this.#clock() - (this.#heardAt as number)) : at
      this.#ask()
    }
    this.#judge(at - (this.#owesSince ?? at))
  }

  /** From the last look on: after so long something is to be told of it, if it says nothing meanwhile. */
  get patientMs(): number {
    if (this.#at === null || this.#owesSince === null) return Number.POSITIVE_INFINITY
    return this.#owesSince + this.#limitMs - this.#at
  }

  /** It has said something. */
  heard(): void {
    this.#heardAt = this.#clock()
    this.#owesSince = null
    this.#isAsked = false
    if (this.#told === 'well') return
    this.#told = 'well'
    this.#tell({ is: 'back' })
  }

  /** It will never say anything again: that is no answer, and nobody waits for one. */
  end(): void {
    this.#owesSince = null
    this.#isAsked = false
  }

  save(): SavedHeartbeat {
    const since = this.#owesSince
    return { told: this.#told, silentMs: since === null ? null : Math.max(0, (this.#at ?? since) - since) }
  }

  /** So long a silence has not been told yet. 'hung' comes after 'lost', a look later at least. */
  get #limitMs(): number {
    const { timeoutMs, killMs } = this.#patience
    if (this.#told === 'well') return timeoutMs
    return this.#told === 'lost' && killMs > 0 ? killMs : Number.POSITIVE_INFINITY
  }

  #judge(silentMs: number): void {
    if (silentMs < this.#limitMs) return
    const next = this.#told === 'well' ? 'lost' : 'hung'
    const since = this.#owesSince
    // Not before what is in our own queue has been read.
    setImmediate(() => {
      if (this.#owesSince !== since || this.#told === next) return
      this.#told = next
      this.#tell({ is: next, ms: Math.round(silentMs) })
    })
  }
}
