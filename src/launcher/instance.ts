import type { LauncherOptions } from '../options.js'
import { NO_SLOT } from './brain/state.js'

/**
 * Variables by which a program knows which of its workers this one is. As with PM2 the number is that of the slot, 0 … n-1: a successor has
 * it from its predecessor, and for as long as that drains there are two with the same.
 */
export function instanceVariables(
  { name, compat, instanceVar }: Pick<LauncherOptions, 'name' | 'compat' | 'instanceVar'>,
  slot: number,
): Readonly<Record<string, string>> {
  const number = slot === NO_SLOT ? {} : { [instanceVar ?? '']: String(slot) }
  if (compat !== 'pm2') return instanceVar === undefined ? {} : number
  return { ...number, name, ...(slot === NO_SLOT ? {} : { pm_id: String(slot) }) }
}
