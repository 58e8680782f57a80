import type { Claim } from './claim.js'

type Queued = Pick<Claim, 'isQueueEmpty' | 'letGo'> & { pause(into: 'draining'): void }

/** Accepting a whole queue takes milliseconds; under a flood it would never be empty, and a stop has to end. */
const ACCEPT_REST_MS = 1_000

/**
 * Begin of a service's end: what the kernel has already completed for a client is still accepted, and then our copies are closed, so
 * that later clients are refused instead of left waiting.
 */
export async function acceptTheRest(claims: readonly Queued[]): Promise<void> {
  const deadline = performance.now() + ACCEPT_REST_MS
  while (claims.some((claim) => !claim.isQueueEmpty()) && performance.now() < deadline) await new Promise(setImmediate)
  for (const claim of claims) {
    claim.pause('draining')
    claim.letGo()
  }
}
