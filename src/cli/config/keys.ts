import { OPTIONS, type OptionRow } from '../option-table.js'

const ABOUT_THE_FILE: readonly string[] = ['config', 'no-config']

/** What may be said of a launcher in a config file and in the environment, not only on the command line. */
export const SETTINGS: readonly OptionRow[] = OPTIONS.filter(
  ({ name, verbs, group }) => verbs.includes('start') && group !== 'other' && !ABOUT_THE_FILE.includes(name),
)

/** `drainTimeout` for --drain-timeout; a switch that says no has the key of what it denies: `migrate`. */
export function keyOf({ name }: Pick<OptionRow, 'name'>): string {
  return name.replace(/^no-/, '').replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}

/** Its key is true when the switch is not given. */
export function isDenial({ name, value }: Pick<OptionRow, 'name' | 'value'>): boolean {
  return value === undefined && name.startsWith('no-')
}

/** `REUSEPORT_RUN_DRAIN_TIMEOUT`. */
export function variableOf({ name }: Pick<OptionRow, 'name'>): string {
  return `REUSEPORT_RUN_${name.replaceAll('-', '_').toUpperCase()}`
}
