import {
  type ByKind,
  CONNECTION_KINDS,
  type ConnectionKind,
  type DrainOutcome,
  type Fates,
  type Held,
  MAX_CUT_REQUESTS,
} from './protocol.js'

/** What several servers, threads or processes have counted, as one. */
export function addOutcomes(outcomes: readonly DrainOutcome[]): DrainOutcome {
  const sum = (key: 'ended' | 'closed' | 'cut' | 'moved'): number =>
    outcomes.reduce((total, one) => total + (one[key] ?? 0), 0)
  const requests = outcomes.flatMap((one) => one.requests ?? [])
  const more = outcomes.reduce((total, one) => total + (one.moreRequests ?? 0), 0)
  return {
    ended: sum('ended'),
    closed: sum('closed'),
    cut: sum('cut'),
    moved: sum('moved'),
    kinds: addFates(outcomes.map((one) => one.kinds ?? {})),
    requests: requests.slice(0, MAX_CUT_REQUESTS),
    early: outcomes.some(({ early }) => early === true),
    moreRequests: more + Math.max(0, requests.length - MAX_CUT_REQUESTS),
  }
}

export function addFates(parts: readonly ByKind<Fates>[]): ByKind<Fates> {
  return merge(parts, (a, b) => ({
    ended: a.ended + b.ended,
    closed: a.closed + b.closed,
    cut: a.cut + b.cut,
    moved: a.moved + b.moved,
  }))
}

export function addHeld(parts: readonly Held[]): Held {
  const older = (a: number | null, b: number | null): number | null => (a === null ? b : Math.max(a, b ?? 0))
  return merge(parts, (a, b) => ({ open: a.open + b.open, oldestMs: older(a.oldestMs, b.oldestMs) }))
}

function merge<T>(parts: readonly ByKind<T>[], add: (a: T, b: T) => T): ByKind<T> {
  const all: Partial<Record<ConnectionKind, T>> = {}
  for (const kind of CONNECTION_KINDS)
    for (const part of parts) {
      const [one, sum] = [part[kind], all[kind]]
      if (one !== undefined) all[kind] = sum === undefined ? one : add(sum, one)
    }
  return all
}
