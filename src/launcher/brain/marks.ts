import type { WarmupReport } from '../../control-protocol.js'
import type { DrainOutcome } from '../../protocol.js'
import type { Draft } from './draft.js'
import type { Run, RunMark, RunWorker, Worker } from './state.js'

const NEW: ReadonlySet<RunMark> = new Set(['spawned', 'claimed', 'ready', 'proven', 'warm', 'admitted'])

/** A program can give cause for any number of them. */
const MOST_NOTES = 50

/** Notes in the reload that a worker belongs to how far it has come: the times and counts of the verdict. */
export function mark(draft: Draft, worker: Worker, what: RunMark, outcome?: DrainOutcome): void {
  for (const [reload, entry] of entriesOf(draft, worker)) {
    const isNew = entry.newId === worker.id
    if (isNew) entry.newPid = worker.pid
    if (outcome !== undefined) entry.outcome = outcome
    const ofTheNew = NEW.has(what)
    if (ofTheNew === isNew) entry.ms[what] ??= Math.round((draft.at - reload.startedAt) * 10) / 10
  }
}

/** What became of its connections, unless it is known already. */
export function settleOutcome(draft: Draft, worker: Worker, outcome: DrainOutcome): void {
  for (const [, entry] of entriesOf(draft, worker)) entry.outcome ??= outcome
}

/** What came of its warm-up. */
export function noteWarmup(draft: Draft, worker: Worker, report: WarmupReport): void {
  for (const [, entry] of entriesOf(draft, worker)) if (entry.newId === worker.id) entry.warmup = report
}

/** What a person should know of this worker, in the verdict of its reload. */
export function remark(draft: Draft, worker: Worker, text: string): void {
  for (const [{ notes }] of entriesOf(draft, worker))
    if (notes.length < MOST_NOTES) notes.push(`slot ${worker.slot} (pid ${worker.pid}): ${text}`)
}

function entriesOf(draft: Draft, worker: Worker): (readonly [Run, RunWorker])[] {
  const { run, retiring } = draft.state
  return (run === null ? retiring : [run, ...retiring]).flatMap((reload) =>
    reload.workers
      .filter(({ oldId, newId }) => oldId === worker.id || newId === worker.id)
      .map((entry) => [reload, entry] as const),
  )
}
