import fc from 'fast-check'
import { describe, it } from 'vitest'
import { foreignSchedules, run, schedules } from '../support/schedule.js'

/** Of each kind, always the same ones; SCHEDULES=20000 tries so many others (docs/testing.md). */
const ASKED = process.env['SCHEDULES']
const RUNS = Number(ASKED ?? 5_000)

/** Making a failed schedule shorter takes its time; SHRINK=1 takes it. */
const OPTIONS = {
  numRuns: RUNS,
  endOnFailure: process.env['SHRINK'] === undefined,
  ...(ASKED === undefined ? { seed: 1 } : {}),
}

describe('any schedule', () => {
  it('with bad versions alone: every slot has an acceptor after every step, and at rest the service is whole', () => {
    fc.assert(
      fc.property(schedules(false), (schedule) => void run(schedule, false)),
      OPTIONS,
    )
  }, 600_000)

  it('with workers killed too: no socket is ever lost, every caller is answered once, and at rest the service is whole (D-14)', () => {
    fc.assert(
      fc.property(schedules(true), (schedule) => void run(schedule, true)),
      OPTIONS,
    )
  }, 600_000)

  it('of a program without our agent: the same, with and without workers killed', () => {
    for (const faults of [false, true])
      fc.assert(
        fc.property(foreignSchedules(faults), (schedule) => void run(schedule, faults)),
        { ...OPTIONS, numRuns: Math.ceil(RUNS / 4) },
      )
  }, 600_000)
})
