import type { CanaryPlan } from '../control-protocol.js'
import { type CommandLine, usage } from './parse.js'
import { duration, share, text } from './values.js'

const WATCHED_MS = 120_000
const REST: readonly string[] = ['for', 'canary-by', 'canary-max-5xx', 'canary-max-latency']
/** Shares are steered in parts of this. */
const FINEST = 10_000

/** What the options of `reload` say of a canary; undefined: none is meant. Throws ERR_USAGE. */
export function canaryPlan({ values }: CommandLine): CanaryPlan | undefined {
  const given = text(values, 'canary')
  if (given === undefined) {
    const lonely = REST.find((name) => values[name] !== undefined)
    if (lonely !== undefined) throw usage(`--${lonely} is meant for a canary, and there is no --canary`)
    return undefined
  }
  const max5xx = text(values, 'canary-max-5xx')
  return {
    share: shareOf(given),
    by: by(text(values, 'canary-by')),
    forMs: watched(text(values, 'for')),
    max5xx: max5xx === undefined ? null : share(max5xx, 'canary-max-5xx'),
    maxLatency: times(text(values, 'canary-max-latency')),
  }
}

function shareOf(given: string): number {
  const value = Math.round(share(given, 'canary') * FINEST) / FINEST
  if (value > 0 && value < 1) return value
  const next = value >= 1 ? 'Every connection is an ordinary reload: leave --canary out.' : 'Write 1%, 10% or 50%.'
  throw usage(`--canary ${given} is not between 0.01% and 99.99%`, next)
}

function watched(given: string | undefined): number {
  const ms = given === undefined ? WATCHED_MS : duration(given, 'for')
  if (ms > 0) return ms
  throw usage(`--for ${given} leaves no time to watch the canary`, 'Write 30s, 2m or 1h.')
}

function by(given: string | undefined): CanaryPlan['by'] {
  if (given === undefined || given === 'random' || given === 'client') return given ?? 'random'
  throw usage(`--canary-by ${JSON.stringify(given)} is neither random nor client`)
}

export function times(given: string | undefined): number | null {
  if (given === undefined) return null
  if (/^\d+(\.\d+)?$/.test(given) && Number(given) >= 1 && Number(given) <= 1_000) return Number(given)
  throw usage(
    `--canary-max-latency ${JSON.stringify(given)} is no number from 1 to 1000`,
    'Write 2 or 1.5: times as long.',
  )
}
