/**
 * When a slot may be started again after unexpected exits. Five within 30 s are answered at once (the example of OTP's supervisor
 * guide), then the pause doubles from 1 s to 60 s; never given up: one bad slot must not end a service that others still carry
 * (reliability.md R9).
 */
export interface Tally {
  /** Monotonic times (Ms) of the exits within the period. */
  readonly exits: readonly number[]
  /** How often the pause has been doubled; 0: no pause. */
  readonly step: number
}

export const EMPTY_TALLY: Tally = { exits: [], step: 0 }

const INTENSITY = 5
const PERIOD_MS = 30_000
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

/** The tally after one more exit. A worker that had lived for a period beyond its pause starts with a clean one. */
export function addExit(tally: Tally, at: number): Tally {
  const since = (exit: number): number => at - exit
  const last = tally.exits.at(-1)
  if (last === undefined || since(last) > PERIOD_MS + pauseMs(tally)) return { exits: [at], step: 0 }
  const exits = [...tally.exits.filter((exit) => since(exit) <= PERIOD_MS), at]
  const step = tally.step > 0 || exits.length > INTENSITY ? tally.step + 1 : 0
  return { exits, step }
}

/** Milliseconds from the exit to the next start. */
export function pauseMs(tally: Tally): number {
  return tally.step === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (tally.step - 1), LONGEST_PAUSE_MS)
}
