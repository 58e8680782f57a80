import { addHeld, addOutcomes } from '../../outcomes.js'
import type { DrainOutcome, Held } from '../../protocol.js'
import type { Server } from '../handles.js'
import { Sender } from '../migrate/sender.js'
import { StandIn } from '../stand-in.js'
import { watchCloses } from './early-close.js'
import { HttpDrain } from './http.js'
import { Http2Drain } from './http2.js'
import { Ledger } from './ledger.js'
import type { ServerDrain } from './server-drain.js'
import { SilentDrain } from './silent.js'
import { StreamDrain } from './streams.js'
import { WebSocketDrain } from './websocket.js'

/** Node tells nobody when the last connection of a server that is not closed has ended, so it is looked at; only while draining. */
const LOOK_EVERY_MS = 25
/** How often what is still held is looked through, and told when it has changed. */
const TELL_EVERY_MS = 500
/** Most drains are over by then, and it costs something for each connection. */
const FIRST_TELL_MS = 100
/** Before the deadline, at most half of the time until then: a client needs one more request to hear that its connection ends. */
const HURRY_MS = 3_000
/** What was told to end at the deadline itself: until it has. The launcher waits 2 s more than the deadline. */
const LAST_CALL_MS = 1_000
/** What is closed over TLS, or HTTP/2, has ended before its connection, and Node counts connections. */
const LAST_COUNT_MS = 100

export interface DrainPlan {
  readonly deadlineMs: number
  /** WebSocket clients are told over this time; null: at the deadline. */
  readonly spreadMs: number | null
  /** The program wants to hear of the end: the process does not end before that is told. */
  readonly isAwaited?: boolean
}

/** A drain that goes on: of this process, or of it and its children. */
export interface Draining {
  /** Known when it is over. */
  readonly outcome: DrainOutcome | undefined
  /** To be called when nothing is accepted any more. */
  begin(deadlineMs: number): void
  setDeadline(deadlineMs: number): void
  /** Something has changed that would be seen at the next look. */
  look(): void
  /** The servers go on as before. */
  cancel(): void
}

export interface DrainEvents {
  /** `goesOn`: the process does. */
  done(outcome: DrainOutcome, goesOn: boolean): void
  holds(held: Held): void
  closedEarly(call: string, cut: number, open: number): void
}

/**
 * The end of this worker's connections: each is told as its protocol allows, and what has no such word (plain TCP, downloads) lives until
 * the deadline. Reports once; the process itself is ended by the launcher.
 */
export class Drain implements Draining {
  readonly #servers: readonly Server[]
  readonly #plan: Omit<DrainPlan, 'deadlineMs'>
  readonly #events: DrainEvents
  #parts: readonly { readonly ledger: Ledger; readonly drains: readonly ServerDrain[] }[] = []
  #deadline = 0
  #hurryAt = 0
  /** After the deadline: what was told to end then, and until when it may. */
  #lastCall: { readonly told: readonly { readonly destroyed: boolean }[]; until: number; hasEnded: boolean } | undefined
  #look: NodeJS.Timeout | undefined
  #stopWatching: (() => void)[] = []
  #toldAt = 0
  #told = ''
  #outcome: DrainOutcome | undefined

  constructor(servers: readonly Server[], plan: Omit<DrainPlan, 'deadlineMs'>, events: DrainEvents) {
    this.#servers = servers
    this.#plan = plan
    this.#events = events
  }

  get outcome(): DrainOutcome | undefined {
    return this.#outcome
  }

  begin(deadlineMs: number): void {
    this.setDeadline(deadlineMs)
    this.#parts = this.#servers.map((server) => ({ ledger: new Ledger(server), drains: this.#drainsOf(server) }))
    this.#stopWatching = this.#parts.flatMap(({ ledger }, index) => {
      const server = this.#servers[index] as Server
      // What stands for a program ends by its program's word.
      if (server instanceof StandIn) return []
      return watchCloses(server, (call, deed) => {
        const cut = ledger.cutBy(deed)
        // Not those that had nothing to close.
        if (cut > 0 || call === 'server.close()') this.#events.closedEarly(call, cut, ledger.open)
      })
    })
    this.#toldAt = performance.now() + FIRST_TELL_MS - TELL_EVERY_MS
    process.once('exit', this.#onExit)
    for (const { drains } of this.#parts) for (const drain of drains) drain.begin()
    this.#look = setInterval(() => this.#sweep(), LOOK_EVERY_MS)
    if (this.#plan.isAwaited !== true) this.#look.unref()
    this.#sweep()
  }

  /** Something has changed that the next look would see. */
  look(): void {
    if (this.#outcome === undefined && this.#look !== undefined) this.#sweep()
  }

  setDeadline(deadlineMs: number): void {
    this.#deadline = performance.now() + deadlineMs
    this.#hurryAt = this.#deadline - Math.min(HURRY_MS, deadlineMs / 2)
  }

  cancel(): void {
    clearInterval(this.#look)
    process.off('exit', this.#onExit)
    for (const stop of this.#stopWatching.splice(0)) stop()
    for (const { drains } of this.#parts) for (const drain of drains) drain.end()
  }

  #sweep(): void {
    const now = performance.now()
    if (now >= this.#hurryAt) for (const { drains } of this.#parts) for (const drain of drains) drain.hurry?.()
    this.#close((drain) => drain.sweep(now))
    if (this.#open() === 0) return this.#finish()
    if (this.#lastCall !== undefined) {
      const last = this.#lastCall
      if (now >= last.until) return this.#finish()
      if (last.hasEnded || !last.told.every(({ destroyed }) => destroyed)) return
      last.hasEnded = true
      last.until = Math.min(last.until, now + LAST_COUNT_MS)
      return
    }
    if (now < this.#deadline) return this.#tell(now)
    const closed = this.#close((drain) => drain.closeIdle())
    const told = this.#parts.flatMap(({ drains }) => drains.flatMap((drain) => drain.lastCall?.(now) ?? []))
    const ms = told.length > 0 ? LAST_CALL_MS : closed > 0 ? LAST_COUNT_MS : 0
    this.#lastCall = { told, until: now + ms, hasEnded: told.length === 0 }
    for (const { ledger, drains } of this.#parts)
      ledger.cutBy(() => {
        for (const drain of drains) drain.cut?.()
      })
    // What was closed right now still counts in _connections until its 'close'.
    setImmediate(() => this.#sweep())
  }

  #drainsOf(server: Server): ServerDrain[] {
    return [
      HttpDrain.of(server),
      Http2Drain.of(server),
      SilentDrain.of(server),
      new WebSocketDrain(server, this.#plan.spreadMs),
      new StreamDrain(server),
    ].filter((drain) => drain !== undefined)
  }

  #close(deed: (drain: ServerDrain) => number): number {
    let sum = 0
    for (const { ledger, drains } of this.#parts)
      for (const drain of drains) {
        const closed = deed(drain)
        ledger.close(drain.kind, closed)
        sum += closed
      }
    return sum
  }

  #tell(now: number): void {
    if (now - this.#toldAt < TELL_EVERY_MS) return
    this.#toldAt = now
    const held = this.#held()
    const text = JSON.stringify(Object.entries(held).map(([kind, { open }]) => [kind, open]))
    if (text === this.#told) return
    this.#told = text
    this.#events.holds(held)
  }

  /** The process ends before its drain: what it still has is lost with it, and this is the last that is heard of it. */
  readonly #onExit = (): void => {
    this.#finish(this.#open() > 0, false)
  }

  #finish(early = false, goesOn = true): void {
    if (this.#outcome !== undefined) return
    this.cancel()
    this.#outcome = { ...addOutcomes(this.#parts.map(({ ledger }) => ledger.outcome())), early }
    this.#events.done(this.#outcome, goesOn)
  }

  #held(): Held {
    return addHeld(this.#parts.map(({ ledger }) => ledger.held()))
  }

  #open(): number {
    return this.#servers.reduce((sum, server) => sum + server._connections - (Sender.of(server)?.left ?? 0), 0)
  }
}
