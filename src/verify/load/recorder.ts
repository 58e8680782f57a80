import { type BucketCounts, isLost, type LostBucket, lostOf, noCounts, requestsOf } from './buckets.js'
import { Latencies, type LatencySummary } from './latency.js'
import type { Ends, IdleEvent, Outcome } from './outcome.js'

/** What one kind of client has met. */
export interface Tally {
  readonly kind: string
  readonly connections: number
  /** How the server may end these connections. */
  readonly ends: Ends
  readonly buckets: BucketCounts
  /** Connections that were opened. */
  readonly connects: number
  /** Those of them that took the place of one that the server had ended. */
  readonly reconnects: number
  /**
   * Connections that the server ended with an announcement: a response that said `Connection: close`, a GOAWAY, a close frame 1012, the
   * clean end of an event stream. Not lost.
   */
  readonly endedPolitely: number
  /** Connections that the server closed while idle, without notice. Not lost, but the next request could have been. */
  readonly idleClosed: number
  /** Connections that got bytes which belong to no request. */
  readonly unaskedBytes: number
  /** Of the requests that were ok. */
  readonly latencyMs: LatencySummary | null
}

/** One of the first incidents, with all that is known: the purpose is to find that one. */
export interface Incident {
  readonly kind: string
  readonly request: string
  readonly bucket: LostBucket | 'idle-closed' | 'ended-politely' | 'unasked-bytes'
  readonly reason: string
  readonly status: number | null
  /** CLOCK_MONOTONIC, milliseconds. */
  readonly at: number
  readonly localPort: number | null
  /** Position of the request on its connection, from 1; for an idle close the requests that the connection had carried. */
  readonly nth: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** Incidents kept of each sort and kind: the first are nearest to the cause. */
const KEPT_PER_SORT = 4

type MutableTally = { -readonly [Key in Exclude<keyof Tally, 'latencyMs'>]: Tally[Key] } & { latencies: Latencies }

/** Counts every outcome of every client, and keeps the first incidents in detail. */
export class Recorder {
  readonly #tallies = new Map<string, MutableTally>()
  readonly #references = new Map<string, number>()
  readonly #incidents: Incident[] = []
  readonly #kept = new Map<string, number>()

  constructor(kinds: readonly { readonly kind: string; readonly connections: number; readonly ends: Ends }[]) {
    for (const kind of kinds) {
      const counts = { connects: 0, reconnects: 0, endedPolitely: 0, idleClosed: 0, unaskedBytes: 0 }
      this.#tallies.set(kind.kind, { ...kind, buckets: noCounts(), ...counts, latencies: new Latencies() })
    }
  }

  /** The program ends the connections of this kind by itself, as its first answer has shown. */
  setEnds(kind: string, ends: Ends): void {
    this.#tally(kind).ends = ends
  }

  /** The first status seen for a request is what all later ones are held to. */
  setReference(request: string, status: number): void {
    this.#references.set(request, status)
  }

  outcome(kind: string, request: string, outcome: Outcome): void {
    const tally = this.#tally(kind)
    const judged = outcome.bucket === 'ok' ? this.#judgeStatus(request, outcome) : outcome
    tally.buckets[judged.bucket]++
    if (judged.bucket === 'ok') tally.latencies.add(judged.ms)
    const { bucket } = judged
    if (isLost(bucket)) {
      const { status, at, localPort, nth, bytesSent, bytesReceived } = judged
      const reason = judged.reason ?? ''
      this.#keep({ kind, request, bucket, reason, status, at, localPort, nth, bytesSent, bytesReceived })
    }
  }

  /** `isAgain`: in place of a connection that the server had ended. */
  connected(kind: string, isAgain: boolean): void {
    const tally = this.#tally(kind)
    tally.connects++
    if (isAgain) tally.reconnects++
  }

  /** `event`: what is known of an HTTP/1.1 connection, which may have had to stay. */
  endedPolitely(kind: string, request: string, event?: Pick<IdleEvent, 'at' | 'localPort' | 'requests'>): void {
    const tally = this.#tally(kind)
    tally.endedPolitely++
    if (tally.ends !== 'never' || event === undefined) return
    const { at, localPort, requests: nth } = event
    const what = { bucket: 'ended-politely', reason: 'Connection: close', status: null } as const
    this.#keep({ kind, request, ...what, at, localPort, nth, bytesSent: 0, bytesReceived: 0 })
  }

  idle(kind: string, request: string, event: IdleEvent): void {
    const tally = this.#tally(kind)
    if (event.kind === 'closed') tally.idleClosed++
    else tally.unaskedBytes++
    const { reason, at, localPort, requests: nth } = event
    const bucket = event.kind === 'closed' ? 'idle-closed' : 'unasked-bytes'
    this.#keep({ kind, request, bucket, reason, status: null, at, localPort, nth, bytesSent: 0, bytesReceived: 0 })
  }

  get requests(): number {
    return this.#sum(requestsOf)
  }

  get lost(): number {
    return this.#sum(lostOf)
  }

  tallies(): Tally[] {
    return [...this.#tallies.values()].map(({ latencies, ...tally }) => ({ ...tally, latencyMs: latencies.summary() }))
  }

  incidents(): Incident[] {
    return this.#incidents
  }

  #judgeStatus(request: string, outcome: Outcome): Outcome {
    const status = outcome.status as number
    const reference = this.#references.get(request)
    if (reference === undefined) this.#references.set(request, status)
    if (status < 500 && (reference === undefined || status === reference)) return outcome
    const reason = reference === undefined ? `status ${status}` : `status ${status}, the first was ${reference}`
    return { ...outcome, bucket: 'bad-status', reason }
  }

  #keep(incident: Incident): void {
    const sort = `${incident.kind} ${incident.bucket}`
    const kept = this.#kept.get(sort) ?? 0
    if (kept === KEPT_PER_SORT) return
    this.#kept.set(sort, kept + 1)
    this.#incidents.push(incident)
  }

  #sum(of: (counts: BucketCounts) => number): number {
    let sum = 0
    for (const tally of this.#tallies.values()) sum += of(tally.buckets)
    return sum
  }

  #tally(kind: string): MutableTally {
    const tally = this.#tallies.get(kind)
    if (tally === undefined) throw new Error(`no clients of kind ${kind}`)
    return tally
  }
}
