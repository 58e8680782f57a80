import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import { shortPath } from './config/find.js'
import { isDenial, keyOf, SETTINGS } from './config/keys.js'
import type { OptionRow } from './option-table.js'
import { describeOrigin, type Origin } from './origins.js'
import type { Settled } from './settle.js'
import { settledOptions } from './settled-options.js'
import { checkValue } from './value-types.js'

/** Says what a start with the same words would be told, and by whom. */
export async function config(line: Settled): Promise<number> {
  const directory = logicalDirectory()
  // What cannot be meant together is found only here.
  settledOptions(line.command.length > 0 ? line : { ...line, command: ['node'] }, directory)
  if (line.word === 'check') return check(line, directory)
  const entries = entriesOf(line)
  if (line.values['json'] === true) process.stdout.write(`${JSON.stringify(asJson(line, entries))}\n`)
  else process.stdout.write(describe(line, entries, directory))
  return 0
}

function check({ file }: Settled, directory: string): number {
  if (file === null)
    throw new ReuseportError('ERR_CONFIG', `${directory} has no config file`, {
      next: 'It would be reuseport-run.config.json, or what --config names.',
    })
  process.stdout.write(`${shortPath(file, directory)}: no fault\n`)
  return 0
}

type Value = string | boolean | readonly string[] | null

interface Entry {
  readonly key: string
  /** null: none, see `without`. */
  readonly value: Value
  readonly origin: Origin | undefined
  /** What counts if it is not said, where that is no value. */
  readonly without: string | undefined
}

function entriesOf({ values, origins, command, env }: Settled): Entry[] {
  const program: Entry[] = [
    { key: 'command', value: command.length === 0 ? null : command, origin: origins['command'], without: undefined },
    // Names only: values may be secrets.
    { key: 'env', value: Object.keys(env), origin: origins['env'], without: undefined },
  ]
  const settings = SETTINGS.map((row): Entry => {
    const origin = origins[row.name]
    const key = keyOf(row)
    if (row.name === 'workers' && origin === undefined && process.env['WEB_CONCURRENCY'])
      return {
        key,
        value: process.env['WEB_CONCURRENCY'],
        origin: { from: 'environment', variable: 'WEB_CONCURRENCY' },
        without: undefined,
      }
    if (row.value === undefined)
      return { key, value: (values[row.name] === true) !== isDenial(row), origin, without: undefined }
    if (origin === undefined) return { key, value: defaultOf(row), origin, without: row.default }
    return { key, value: shown(row, values[row.name] as Value), origin, without: undefined }
  })
  return [...program, ...settings]
}

/** What a header says may be a secret. */
function shown(row: OptionRow, value: Value): Value {
  if (row.name !== 'health-header' || !Array.isArray(value)) return value
  return value.map((one: string) => one.replace(/:.*$/s, ': …'))
}

/** The default, where it is a value; else what counts is a matter of words. */
export function defaultOf(row: OptionRow): string | null {
  const first = row.default?.split(';')[0]
  if (first === undefined) return null
  try {
    checkValue(row, first)
    return /\s/.test(first) ? null : first
  } catch {
    return null
  }
}

function asJson({ file }: Settled, entries: readonly Entry[]): object {
  return {
    schema: 1,
    file,
    settings: Object.fromEntries(
      entries.map(({ key, value, origin }) => [key, { value, ...(origin ?? { from: 'default' }) }]),
    ),
  }
}

function describe({ file }: Settled, entries: readonly Entry[], directory: string): string {
  const rows = entries.map(({ key, value, origin, without }) => [
    key,
    value === null ? '-' : text(value),
    origin === undefined
      ? value === null && without !== undefined
        ? `default: ${without}`
        : 'default'
      : shortPath(describeOrigin(origin), directory),
  ]) as [string, string, string][]
  const width = (column: 0 | 1): number => Math.max(...rows.map((row) => row[column].length))
  const [first, second] = [width(0), Math.min(width(1), 30)]
  const head = file === null ? 'no config file' : shortPath(file, directory)
  return `${head}\n\n${rows.map(([key, value, from]) => `${key.padEnd(first)}  ${value.padEnd(second)}  ${from}\n`).join('')}`
}

function text(value: Exclude<Value, null>): string {
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return value
  return value.length === 0 ? '-' : value.join(' ')
}
