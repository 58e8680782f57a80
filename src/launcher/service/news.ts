import type { Verdict } from '../../control-protocol.js'
import type { State, Worker } from '../brain/state.js'

/** What the service manager may want to know of a state. */
export interface View {
  readonly phase: State['phase']
  /** Number of the last reload that has begun; 0 before the first. */
  readonly reload: number
  readonly isReloading: boolean
  /** One line for a person: `systemctl status` shows it. */
  readonly text: string
}

/** What is told: to be dressed with the facts of the moment (pid, clock). */
export type News = 'ready' | 'reloading' | 'stopping'

export function viewOf(state: State, last: Verdict | null): View {
  return {
    phase: state.phase,
    reload: state.next.run - 1,
    isReloading: state.run !== null,
    text: textOf(state, last),
  }
}

/**
 * What has happened between two looks, in the order in which sd_notify(3) wants it. A reload that has begun and ended in between is told as
 * both: whoever has sent SIGHUP for it waits for that. READY=1 ends a reload whatever became of it: there is no word for one that failed.
 */
export function newsOf(before: View | null, now: View): News[] {
  const wasRunning = before?.phase === 'running'
  if (now.phase === 'stopping' || now.phase === 'stopped')
    return before?.phase === 'stopping' || before?.phase === 'stopped' ? [] : ['stopping']
  if (now.phase !== 'running') return []
  const news: News[] = []
  const isOther = before !== null && now.reload !== before.reload
  const wasReloading = wasRunning && before.isReloading
  if (!wasRunning || (wasReloading && (isOther || !now.isReloading))) news.push('ready')
  if (wasRunning ? isOther : now.isReloading) news.push('reloading')
  if (wasRunning && isOther && !now.isReloading) news.push('ready')
  return news
}

/** Whether something is under way that may take longer than a service manager waits by itself. */
export function isBusy({ phase, run, waiting }: State): boolean {
  return phase !== 'running' || run !== null || waiting !== null
}

/** Somebody answers clients. Before and after it runs there is nobody yet, or nobody any more, and that is as it should be. */
export function isWell(state: State): boolean {
  return state.phase !== 'running' || Object.values(state.workers).some(serves)
}

function serves({ state, stuck }: Worker): boolean {
  return state === 'serving' && !stuck
}

/** A reason can be as long as what a program has written; this is one line of a terminal, and a little. */
const LONGEST_TEXT = 300

function textOf(state: State, last: Verdict | null): string {
  const all = Object.values(state.workers)
  if (state.stop !== null) {
    const { failure } = state.stop
    return failure === null
      ? `stopping: ${count(all.length, 'worker')} left`
      : oneLine(`the start has failed: ${failure}`)
  }
  const serving = all.filter(serves)
  if (state.phase === 'starting') return `starting: ${serving.length} of ${count(state.slots.length, 'worker')} serve`
  const working = serving.filter(({ slot, generation }) => generation === state.slots[slot]?.working)
  const parts = [`generation ${state.working}: ${working.length} of ${count(state.slots.length, 'worker')} serve`]
  if (state.run !== null) parts.push(`reload ${state.run.id} to generation ${state.run.to}: ${state.run.step}`)
  else if (last !== null) parts.push(verdictInWords(last))
  return oneLine(parts.join('; '))
}

function verdictInWords({ id, result, step, reason }: Verdict): string {
  if (result === 'done') return `reload ${id} done`
  return `reload ${id} ${result} (${step})${reason === null ? '' : `: ${reason}`}`
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

export function oneLine(text: string): string {
  const [line = ''] = text.split('\n')
  const clean = line.replace(/[\x00-\x1f\x7f]/g, ' ')
  return clean.length > LONGEST_TEXT ? `${clean.slice(0, LONGEST_TEXT)}…` : clean
}
