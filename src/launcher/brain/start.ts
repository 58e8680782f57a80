import type { Draft } from './draft.js'
import { type Ending, reasonOf } from './ending.js'
import { admit } from './listeners.js'
import type { Worker } from './state.js'
import { beginStop } from './stop.js'
import { makeWorking } from './working.js'

/** The first start: every worker goes live at its claim, as in plain Node; one that fails ends the launcher, for there is nothing to keep. */
export function begin(draft: Draft): void {
  const { state } = draft
  const number = state.next.generation++
  state.generations[number] = { number, state: 'starting', listeners: [] }
  for (let slot = 0; slot < state.settings.slots; slot++) draft.spawn(number, slot, 'first')
}

/** Settled after each event: once every slot serves, the first generation is the working one. */
export function settleStart(draft: Draft): void {
  const { state } = draft
  const generation = Object.values(state.generations)[0]
  if (state.phase !== 'starting' || generation === undefined) return
  const workers = draft.of(generation.number)
  admit(
    draft,
    workers.filter((worker) => worker.state === 'ready' && worker.proof === 'proven'),
  )
  if (workers.length < state.settings.slots || workers.some((worker) => worker.state !== 'serving')) return
  state.phase = 'running'
  makeWorking(
    draft,
    generation.number,
    state.slots.map((_, slot) => slot),
  )
  const fields = { workers: workers.length, addresses: generation.listeners }
  draft.log('info', 'launcher.serving', fields, 'last')
}

export function failStart(draft: Draft, worker: Worker, how: Ending): void {
  const { slots } = draft.state.settings
  // In the foreground with one worker the launcher ends as the program would have, but never with success.
  const own = how.signal !== null ? 1 : how.code === null || how.code === 0 ? 1 : how.code
  const couldNotStart = worker.pid === null
  const failure = reasonOf(worker, how)
  draft.log('error', 'start.failed', { slot: worker.slot, pid: worker.pid, reason: failure, stderr: how.stderr })
  beginStop(draft, { caller: null, exitCode: slots === 1 || couldNotStart ? own : 1, failure })
}
