import {
  type ByKind,
  CONNECTION_KINDS,
  type ConnectionKind,
  type CutRequest,
  type DrainOutcome,
  type Fates,
  type Held,
} from '../../protocol.js'
import type { Server } from '../handles.js'
import { Sender } from '../migrate/sender.js'
import { kindOf } from '../speaks.js'
import { census, doing } from './census.js'

type Counts = Map<ConnectionKind, number>

/** What becomes of the connections of one draining server, by kind. */
export class Ledger {
  readonly #server: Server
  /** What those are that nothing else is known of. */
  readonly #base: ConnectionKind
  readonly #atBegin: number
  /** A lane may have come before the order to drain. */
  readonly #movedBefore: number
  #known: Map<object, ConnectionKind>
  /** Of the known ones: no longer there. */
  readonly #gone: Counts = new Map()
  /** Of all that are no longer there: cut, and what they were in the middle of. */
  readonly #cutEarly: Counts = new Map()
  readonly #cutShort: CutRequest[] = []
  /** Of all that are no longer there: closed by us. */
  readonly #closed: Counts = new Map()

  constructor(server: Server) {
    this.#server = server
    this.#base = kindOf(server)
    this.#atBegin = this.open
    this.#movedBefore = Sender.of(server)?.moved ?? 0
    this.#known = census(server)
  }

  /** Without those that are another worker's. */
  get open(): number {
    return this.#server._connections - (Sender.of(this.#server)?.left ?? 0)
  }

  /** Notes that we have closed so many. */
  close(kind: ConnectionKind, count: number): void {
    add(this.#closed, kind, count)
  }

  #look(): void {
    const now = census(this.#server)
    for (const [connection, kind] of this.#known) if (!now.has(connection)) add(this.#gone, kind, 1)
    this.#known = now
  }

  /** Whatever ends in `deed` is cut. Gives how many. */
  cutBy(deed: () => void): number {
    this.#look()
    const [before, known] = [this.open, this.#known]
    const requests = [...known].map(([connection, kind]) => [connection, this.#requestsOf(connection, kind)] as const)
    deed()
    this.#look()
    const cut = before - this.open
    const gone = [...known].filter(([connection]) => !this.#known.has(connection))
    for (const [, kind] of gone) add(this.#cutEarly, kind, 1)
    if (cut > gone.length) add(this.#cutEarly, this.#base, cut - gone.length)
    for (const [connection, cutShort] of requests) if (!this.#known.has(connection)) this.#cutShort.push(...cutShort)
    return cut
  }

  /** As it is now. */
  held(): Held {
    this.#look()
    const held: Partial<Record<ConnectionKind, { open: number; oldestMs: number | null }>> = {}
    for (const [connection, kind] of this.#known) {
      const ages = doing(this.#server, connection, kind).requests.map(({ ageMs }) => ageMs)
      const { open = 0, oldestMs = null } = held[kind] ?? {}
      held[kind] = { open: open + 1, oldestMs: oldest([oldestMs, ...ages]) }
    }
    const unknown = this.open - this.#known.size
    if (unknown > 0) {
      const { open = 0, oldestMs = null } = held[this.#base] ?? {}
      held[this.#base] = { open: open + unknown, oldestMs }
    }
    return held
  }

  /** The end: what is open now counts as cut. */
  outcome(): DrainOutcome {
    const kinds = this.#fates()
    const sum = (key: keyof Fates): number => Object.values(kinds).reduce((total, one) => total + one[key], 0)
    return {
      ended: sum('ended'),
      closed: sum('closed'),
      cut: sum('cut'),
      moved: sum('moved'),
      kinds,
      requests: [...this.#cutShort, ...[...this.#known].flatMap(([key, kind]) => this.#requestsOf(key, kind))],
    }
  }

  #fates(): ByKind<Fates> {
    const held = this.held()
    const gone = new Map(this.#gone)
    // Those that were never known for what they were. Fewer: some were gone, and came back because nobody would take them.
    add(gone, this.#base, this.#atBegin - this.open - sum(gone))
    const movedInAll = Sender.of(this.#server)?.moved ?? 0
    const fates: Partial<Record<ConnectionKind, Fates>> = {}
    for (const kind of CONNECTION_KINDS) {
      const cutEarly = this.#cutEarly.get(kind) ?? 0
      const all = Math.max(0, gone.get(kind) ?? 0)
      const closed = Math.min(this.#closed.get(kind) ?? 0, all)
      const cut = cutEarly + (held[kind]?.open ?? 0)
      // Only idle HTTP/1 connections without TLS can be moved.
      const moved = kind === 'http' ? movedInAll : 0
      const ended = Math.max(0, all - closed - cutEarly - (moved === 0 ? 0 : moved - this.#movedBefore))
      if (ended + closed + cut + moved > 0) fates[kind] = { ended, closed, cut, moved }
    }
    return fates
  }

  #requestsOf(connection: object, kind: ConnectionKind): CutRequest[] {
    const { connection: stream, requests } = doing(this.#server, connection, kind)
    const { bytesRead, bytesWritten } = stream
    return requests.map((request) => ({ kind, ...request, bytesWritten, bytesRead }))
  }
}

function oldest(ages: readonly (number | null)[]): number | null {
  return ages.reduce((one, other) => (one === null || other === null ? (one ?? other) : Math.max(one, other)), null)
}

function add(counts: Counts, kind: ConnectionKind, count: number): void {
  counts.set(kind, (counts.get(kind) ?? 0) + count)
}

function sum(counts: Counts): number {
  return [...counts.values()].reduce((total, one) => total + one, 0)
}
