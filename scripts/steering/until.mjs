import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

/** On a machine that is busy, too. */
const STEP_MS = 60_000

/** Waits for a fact. */
export async function until(what, look, ms = STEP_MS) {
  for (const deadline = monotonicMs() + ms; ; ) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    if (monotonicMs() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await sleep(5)
  }
}
