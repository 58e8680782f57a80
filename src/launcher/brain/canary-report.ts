import type { CanaryReport, Served } from '../../control-protocol.js'
import { addAnswered, timeOfBucket } from '../../protocol.js'
import type { Canary, Run } from './state.js'

/** What it is, and what it and the others have done in its time. */
export function canaryReport(run: Run, at: number): CanaryReport | null {
  const { canary } = run
  if (canary === null) return null
  const { plan, slot, since, promoted } = canary
  const ms = canary.ms ?? (since === null ? null : Math.round(at - since))
  const { share, by } = plan
  const pid = run.workers.find((entry) => entry.slot === slot)?.newPid ?? null
  const [own, others] = [servedBy(run, canary, true), servedBy(run, canary, false)]
  return { slot, pid, share, by, ms, promoted, canary: own, others }
}

/** By the canary, or by the others. */
export function servedBy(run: Run, canary: Canary, isOwn: boolean): Served {
  const id = run.workers.find(({ slot }) => slot === canary.slot)?.newId
  const parts = Object.entries(canary.counts).flatMap(([worker, counts]) =>
    (Number(worker) === id) === isOwn ? counts : [],
  )
  const { times, ...sums } = addAnswered(parts)
  return { ...sums, p50Ms: quantile(times, 0.5), p95Ms: quantile(times, 0.95) }
}

/** The upper end of the bucket in which this part of the answers has ended, in ms; null: there were none. */
function quantile(times: readonly number[], part: number): number | null {
  const total = times.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  let sum = 0
  const bucket = times.findIndex((count) => {
    sum += count
    return sum >= part * total
  })
  return Number(timeOfBucket(bucket).toPrecision(2))
}
