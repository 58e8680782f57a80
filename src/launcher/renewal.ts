import { isDeepStrictEqual } from 'node:util'
import type { LauncherOptions } from '../options.js'

/** What belongs to a generation, or is looked up when it is needed: a reload may bring another value. All else is for the launcher's life. */
const RENEWABLE = [
  'command',
  'env',
  'envFiles',
  'stopSignal',
  'health',
  'readyTimeoutMs',
  'drainTimeoutMs',
  'killAfterMs',
  'websocket',
  'drainSpreadMs',
  'strategy',
  'surge',
  'bakeMs',
  'bakeMax5xx',
  'migrate',
  'bakeMigrate',
  'parkMs',
  'memoryCheck',
  'maxMemory',
  'maxAgeMs',
  'limitIntervalMs',
] as const satisfies readonly (keyof LauncherOptions)[]

/**
 * The options with which the next reload goes, when `asked` is what they are meant to be by now; and the names, as in a config file, of
 * those that only another launcher can take.
 */
export function renewed(
  now: LauncherOptions,
  asked: LauncherOptions,
): { readonly options: LauncherOptions; readonly kept: readonly string[] } {
  const options = { ...now, ...Object.fromEntries(RENEWABLE.map((key) => [key, asked[key]])) } as LauncherOptions
  // Whether anybody asks at all, and for how long, is known from the start on.
  const isHealthFixed =
    (now.health === undefined) !== (asked.health === undefined) ||
    (now.health?.livenessMs === undefined) !== (asked.health?.livenessMs === undefined)
  const taken = isHealthFixed ? { ...options, health: now.health } : options
  const kept = (Object.keys(now) as (keyof LauncherOptions)[])
    .filter((key) => !isDeepStrictEqual(taken[key], asked[key]))
    .map((key) => (key === 'aliveMs' ? 'ready' : key.replace(/Ms$/, '')))
  return { options: taken, kept: [...new Set(kept)] }
}

export function describeKept(names: readonly string[]): string {
  const scale = names.includes('workers') ? '; the number of workers: reuseport-run scale' : ''
  return `${names.join(', ')}: meant to be something else by now, which needs a new launcher${scale}`
}
