import type { NetworkCounters } from '../kernel-counters.js'
import type { Exit } from './launcher-process.js'
import type { LeftProcess } from './leftovers.js'
import { BUCKETS, type BucketCounts, isLost, lostOf, noCounts, requestsOf } from './load/buckets.js'
import type { Tally } from './load/recorder.js'
import type { ReloadRecord } from './reloads.js'
import type { Total } from './report.js'

/** All that a run has shown. */
export interface Evidence {
  readonly workers: number
  /** Reloads that were asked for. */
  readonly asked: number
  readonly reloads: readonly ReloadRecord[]
  readonly tallies: readonly Tally[]
  readonly minRequests: number
  readonly counters: { readonly judged: boolean; readonly change: NetworkCounters | null }
  readonly exit: Exit | null
  readonly leftProcesses: readonly LeftProcess[]
  readonly leftSockets: readonly string[]
  /** What ended the run before its time, or went wrong at its end. */
  readonly troubles: readonly string[]
}

/** Everything that speaks against "nothing was lost"; an empty list is the only way to pass. */
export function judge(evidence: Evidence): string[] {
  const total = totalOf(evidence.tallies)
  return [
    ...evidence.troubles,
    ...judgeRequests(total, evidence.minRequests),
    ...judgeKinds(evidence.tallies),
    ...evidence.tallies.flatMap(judgeClosed),
    ...evidence.reloads.flatMap((reload) => judgeReload(reload, evidence.workers)),
    ...judgeNumberOfReloads(evidence),
    ...judgeCounters(evidence),
    ...judgeEnd(evidence),
  ]
}

export function totalOf(tallies: readonly Tally[]): Total {
  const buckets = noCounts()
  for (const tally of tallies) for (const bucket of BUCKETS) buckets[bucket] += tally.buckets[bucket]
  const sum = (of: (tally: Tally) => number): number => tallies.reduce((total, tally) => total + of(tally), 0)
  return {
    requests: requestsOf(buckets),
    lost: lostOf(buckets),
    buckets,
    connects: sum(({ connects }) => connects),
    reconnects: sum(({ reconnects }) => reconnects),
    endedPolitely: sum(({ endedPolitely }) => endedPolitely),
    idleClosed: sum(({ idleClosed }) => idleClosed),
    unaskedBytes: sum(({ unaskedBytes }) => unaskedBytes),
  }
}

/** "3 reset-after-request, 1 truncated". */
export function describeLost(buckets: BucketCounts): string {
  return BUCKETS.filter((bucket) => isLost(bucket) && buckets[bucket] > 0)
    .map((bucket) => `${buckets[bucket]} ${bucket}`)
    .join(', ')
}

function judgeRequests(total: Total, minRequests: number): string[] {
  const reasons: string[] = []
  if (total.lost > 0)
    reasons.push(`${total.lost} of ${total.requests} requests were lost: ${describeLost(total.buckets)}`)
  if (total.unaskedBytes > 0) reasons.push(`${total.unaskedBytes} connections got bytes that belong to no request`)
  if (total.requests < minRequests) reasons.push(`only ${total.requests} of at least ${minRequests} requests were sent`)
  return reasons
}

/** Clients that were never answered prove nothing. */
function judgeKinds(tallies: readonly Tally[]): string[] {
  if (tallies.length === 0) return ['no request was sent']
  return tallies
    .filter(({ buckets }) => buckets.ok === 0)
    .map(({ kind }) => `no request of the kind "${kind}" was answered`)
}

/** A closed connection loses no request of a client that waits its turn, and is not what was promised. */
function judgeClosed({ kind, ends, endedPolitely, idleClosed }: Tally): string[] {
  if (ends === 'never' && endedPolitely + idleClosed > 0)
    return [
      `${endedPolitely + idleClosed} connections of the kind "${kind}" were closed (${idleClosed} of them without notice) instead of moved`,
    ]
  if (ends === 'politely' && idleClosed > 0)
    return [`${idleClosed} connections of the kind "${kind}" were closed without notice`]
  return []
}

function judgeReload({ number, result, step, reason, workers: slots }: ReloadRecord, workers: number): string[] {
  if (result !== 'done') return [`reload ${number} was ${result} in the step ${step}: ${reason ?? 'no reason given'}`]
  const reasons: string[] = []
  if (slots.length !== workers) reasons.push(`reload ${number} was about ${slots.length} workers instead of ${workers}`)
  const old = new Set(slots.map(({ oldPid }) => oldPid))
  for (const { slot, newPid, cut } of slots) {
    if (newPid === null) reasons.push(`reload ${number} says done, and names no new worker in slot ${slot}`)
    else if (old.has(newPid))
      reasons.push(`reload ${number} says done, and process ${newPid} in slot ${slot} is an old one`)
    if (cut > 0) reasons.push(`reload ${number} cut ${cut} connections of slot ${slot} at the drain's deadline`)
  }
  return reasons
}

function judgeNumberOfReloads({ asked, reloads }: Evidence): string[] {
  return reloads.length < asked ? [`only ${reloads.length} of ${asked} reloads were run`] : []
}

function judgeCounters({ counters: { judged, change }, reloads }: Evidence): string[] {
  if (!judged) return []
  if (change === null) return ['the kernel counters cannot be read']
  const hasHit = change.EstabResets > 0 || change.AttemptFails > 0
  return JUDGED.filter((name) => change[name] > 0 && (name !== 'OutRsts' || hasHit)).map((name) => {
    const where = reloads.filter(({ kernel }) => kernel !== null && kernel[name] !== 0).map(({ number }) => number)
    const when = where.length === 0 ? 'outside of the reloads' : `at reload ${where.join(', ')}`
    return `${name} +${change[name]}, ${when}: the kernel ${MEANING[name](change)}`
  })
}

const JUDGED = ['OutRsts', 'ListenDrops', 'ListenOverflows'] as const

const MEANING: Readonly<Record<(typeof JUDGED)[number], (change: NetworkCounters) => string>> = {
  // A packet that a busy processor looks at when its connection has been closed by both sides is answered with a reset, too: to nobody.
  OutRsts: ({ EstabResets, AttemptFails }) =>
    `reset connections (EstabResets +${EstabResets}, AttemptFails +${AttemptFails}; the program's own attempts to reach a closed port count too)`,
  ListenDrops: () => 'dropped connections that could not be queued',
  ListenOverflows: () => 'found an accept queue full',
}

function judgeEnd({ exit, leftProcesses, leftSockets }: Evidence): string[] {
  const reasons: string[] = []
  if (exit === null) reasons.push('the launcher did not end when it was told to')
  else if (exit.code !== 0) reasons.push(`the launcher ended with ${exit.signal ?? `code ${exit.code}`}`)
  for (const { pid, command } of leftProcesses) reasons.push(`process ${pid} was left behind: ${command}`)
  for (const path of leftSockets) reasons.push(`a socket was left behind: ${path}`)
  return reasons
}
