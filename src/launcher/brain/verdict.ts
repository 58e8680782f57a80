import type { KindVerdict, Verdict } from '../../control-protocol.js'
import type { ByKind, DrainOutcome } from '../../protocol.js'
import { canaryReport } from './canary-report.js'
import type { Draft } from './draft.js'
import { type Caller, NO_SLOT, type Run, type Worker } from './state.js'

/** Tells those who wait. A signal has nobody to be told; the verdict is kept for `status` all the same. */
export function answer(draft: Draft, run: Run, callers: readonly Caller[], verdict: Omit<Verdict, 'kernel'>): void {
  const ids = callers.flatMap(({ id }) => (id === null ? [] : [id]))
  draft.afterwards({ do: 'verdict', callers: ids, run: run.id, verdict })
}

/** What became of a reload so far. `failure`: what it failed of, unless it was undone, which the run knows itself. */
export function verdictOf(
  draft: Draft,
  run: Run,
  result: Verdict['result'],
  failure: { readonly reason: string; readonly stderr: readonly string[] } | null = null,
): Omit<Verdict, 'kernel'> {
  const { undo } = run
  return {
    id: run.id,
    result,
    step: undo?.step ?? run.step,
    reason: (undo ?? failure)?.reason ?? null,
    stderr: (undo ?? failure)?.stderr ?? [],
    changes: run.changes,
    from: run.from,
    to: run.to,
    undo: undo === null ? null : { ms: undo.ms },
    notes: run.notes,
    canary: canaryReport(run, draft.at),
    workers: run.workers.map(({ slot, oldPid, newPid, ms, kept, warmup, answered, outcome }) => ({
      slot,
      oldPid,
      newPid,
      ms,
      kept,
      warmup,
      answered,
      moved: outcome?.moved ?? 0,
      closed: (outcome?.ended ?? 0) + (outcome?.closed ?? 0),
      cut: outcome?.cut ?? 0,
      kinds: kindsOf(outcome),
      requests: outcome?.requests ?? [],
      moreRequests: outcome?.moreRequests ?? 0,
    })),
    draining:
      result === 'done' || result === 'undone'
        ? leavingOf(draft, run).filter(({ slot }) => slot !== NO_SLOT).length
        : 0,
  }
}

/** The old workers, and a canary that the others have taken the place of; after an undo the new ones. */
export function leavingOf(draft: Draft, run: Run): Worker[] {
  if (run.undo !== null) return draft.of(run.to)
  return [...draft.of(run.from), ...draft.of(run.to).filter(({ role }) => role === 'canary')]
}

function kindsOf(outcome: DrainOutcome | null): ByKind<KindVerdict> {
  return Object.fromEntries(
    Object.entries(outcome?.kinds ?? {}).map(([kind, { ended, closed, cut, moved }]) => [
      kind,
      { moved, closed: ended + closed, cut },
    ]),
  )
}

/** For the log: "http 5 moved". What there was none of is left out. */
export function kindsInWords(...parts: readonly (ByKind<object> | undefined)[]): string[] {
  const counts = new Map<string, number>()
  for (const part of parts)
    for (const [kind, fates] of Object.entries(part ?? {}))
      for (const [fate, count] of Object.entries(fates as Readonly<Record<string, number>>))
        counts.set(`${kind} ${fate}`, (counts.get(`${kind} ${fate}`) ?? 0) + count)
  return [...counts].flatMap(([text, count]) => (count === 0 ? [] : text.replace(' ', ` ${count} `)))
}
