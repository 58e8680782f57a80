import type { ControlClient } from '../control-client.js'
import type { Verdict } from '../control-protocol.js'
import type { Deadline } from './deadline.js'
import { monotonicMs } from './load/clock.js'

/** One reload under load. Times are milliseconds since it was ordered. */
export interface ReloadRecord {
  readonly number: number
  /** When it was ordered, CLOCK_MONOTONIC. */
  readonly at: number
  readonly result: Verdict['result']
  readonly step: Verdict['step']
  readonly reason: string | null
  readonly stderr: readonly string[]
  /** Until every new worker served. */
  readonly admittedMs: number | null
  /** Until every old worker had gone. */
  readonly retiredMs: number | null
  /** Until the launcher answered. */
  readonly answeredMs: number
  readonly workers: Verdict['workers']
  /** Change of the kernel's counters, from the order to the answer. */
  readonly kernel: Verdict['kernel']
}

export interface ReloadPlan {
  readonly reloads: number
  /** Reload on until so many requests have been sent. */
  readonly minRequests: number
  readonly reloadTimeoutMs: number
  readonly requests: () => number
  readonly onReload: (record: ReloadRecord) => void
}

/**
 * Reloads one after the other, each awaited until the last old worker has gone. Goes on after a failed reload: what the next one does
 * to the clients is worth knowing. Throws what ends the loop early: a launcher that does not answer, the deadline, an interruption.
 */
export async function reloadAgainAndAgain(control: ControlClient, plan: ReloadPlan, deadline: Deadline): Promise<void> {
  for (let number = 1; number <= plan.reloads || plan.requests() < plan.minRequests; number++) {
    const at = monotonicMs()
    const verdict = await deadline.within(plan.reloadTimeoutMs, `reload ${number}`, control.reload({ wait: 'retired' }))
    plan.onReload(record(number, at, verdict))
  }
}

function record(number: number, at: number, verdict: Verdict): ReloadRecord {
  const { result, step, reason, stderr, workers, kernel } = verdict
  return {
    number,
    at,
    result,
    step,
    reason,
    stderr,
    admittedMs: lastOf(workers.map(({ ms }) => ms.admitted)),
    retiredMs: lastOf(workers.map(({ ms }) => ms.exited)),
    answeredMs: monotonicMs() - at,
    workers,
    kernel,
  }
}

/** The reload has come so far when the last slot has; null when one never did. */
function lastOf(times: readonly (number | undefined)[]): number | null {
  let last = 0
  for (const time of times) {
    if (time === undefined) return null
    last = Math.max(last, time)
  }
  return times.length === 0 ? null : last
}
