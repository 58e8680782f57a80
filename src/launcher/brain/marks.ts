import type { DrainOutcome } from '../../protocol.js'
import type { Draft } from './draft.js'
import type { RunMark, Worker } from './state.js'

const NEW: ReadonlySet<RunMark> = new Set(['spawned', 'claimed', 'ready', 'proven', 'admitted'])

/** Notes in the reload that a worker belongs to how far it has come: the times and counts of the verdict. */
export function mark(draft: Draft, worker: Worker, what: RunMark, outcome?: DrainOutcome): void {
  const { run, retiring } = draft.state
  for (const reload of run === null ? retiring : [run, ...retiring]) {
    for (const entry of reload.workers) {
      const isNew = entry.newId === worker.id
      if (!isNew && entry.oldId !== worker.id) continue
      if (isNew) entry.newPid = worker.pid
      if (outcome !== undefined) entry.outcome = outcome
      const ofTheNew = NEW.has(what)
      if (ofTheNew === isNew) entry.ms[what] ??= Math.round((draft.at - reload.startedAt) * 10) / 10
    }
  }
}
