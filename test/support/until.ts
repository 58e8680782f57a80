/** Long enough for a busy CI machine, far below the test's own timeout. */
const DEADLINE_MS = 15_000

/** Waits for a fact, not for a time. `what` as a function says at the deadline what was there instead. */
export async function until<T>(
  what: string | (() => string),
  look: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs: number = DEADLINE_MS,
): Promise<T> {
  const deadline = Date.now() + deadlineMs
  for (;;) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    if (Date.now() > deadline)
      throw new Error(`not within ${deadlineMs} ms: ${typeof what === 'string' ? what : what()}`)
    await new Promise((done) => setTimeout(done, 5))
  }
}
