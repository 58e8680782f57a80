import type { State } from './brain/state.js'

/** Nothing is under way: what it took is garbage. */
export function isAtRest({ phase, run, waiting, retiring, upgrade }: State): boolean {
  return phase === 'running' && run === null && waiting === null && retiring.length === 0 && upgrade === null
}
