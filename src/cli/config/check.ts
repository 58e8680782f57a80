import { ReuseportError } from '../../errors.js'
import { nearest } from '../nearest.js'
import { OPTIONS, type OptionRow } from '../option-table.js'
import { checkValue, misfit, type Schema, schemaOf } from '../value-types.js'
import { isDenial, keyOf, SETTINGS } from './keys.js'
import type { ConfigFile } from './read.js'

/** What a config file says, as the command line would say it. */
export interface Configured {
  readonly values: Readonly<Record<string, string | boolean | readonly string[]>>
  readonly command: readonly string[] | undefined
  readonly env: Readonly<Record<string, string>>
}

/** Something that cannot be meant, and where it stands. */
export interface Fault {
  /** Empty: what it says names it already. */
  readonly where: string
  readonly line?: number | undefined
  readonly what: string
  readonly next: string | undefined
}

const OWN: readonly string[] = ['$schema', 'command', 'env']
export const VARIABLE: RegExp = /^[A-Za-z_][A-Za-z0-9_.-]*$/

/** All of it is looked at: who has made three mistakes is told of three. `faults` gets them. */
export function checkConfig({ path, content, lineOf }: ConfigFile, faults: Fault[]): Configured {
  const values: Record<string, string | boolean | readonly string[]> = {}
  const found: Configured = { values, command: undefined, env: {} }
  const say = (key: string, what: string, next?: string): void => {
    const line = lineOf(key.split(/[.[]/)[0] as string)
    faults.push({ where: `${path}${line === undefined ? '' : `:${line}`}`, line, what: `${key} ${what}`, next })
  }
  if (!isRecord(content)) {
    faults.push({ where: path, what: 'it holds no object', next: 'For example: {"workers": 2, "bake": "10s"}' })
    return found
  }
  for (const [key, value] of Object.entries(content)) {
    if (value === undefined || OWN.includes(key)) continue
    const row = SETTINGS.find((one) => keyOf(one) === key)
    if (row === undefined) say(key, ...unknownKey(key))
    else Object.assign(values, valuesOf(row, key, value, say))
  }
  const command = commandOf(content['command'], say)
  return { values, command, env: envOf(content['env'], say) }
}

type Say = (key: string, what: string, next?: string) => void

function unknownKey(key: string): [what: string, next?: string] {
  const own = SETTINGS.map(keyOf)
  const option = OPTIONS.find(({ name }) => name === key || keyOf({ name }) === key)
  if (option !== undefined && SETTINGS.includes(option)) return [`is written ${keyOf(option)} here`]
  if (option !== undefined) return ['can be given on the command line only']
  const near = nearest(key, [...own, ...OWN])
  return [`is no key${near === undefined ? '' : `; did you mean ${near}?`}`]
}

function valuesOf(row: OptionRow, key: string, value: unknown, say: Say): Configured['values'] {
  if (row.value === undefined) {
    if (typeof value === 'boolean') return { [row.name]: isDenial(row) ? !value : value }
    say(key, `${show(value)} is neither true nor false`)
    return {}
  }
  if (row.multiple !== true || !Array.isArray(value)) {
    const word = wordOf(row, key, value, say)
    return word === undefined ? {} : { [row.name]: row.multiple === true ? [word] : word }
  }
  return { [row.name]: value.flatMap((one, index) => wordOf(row, `${key}[${index}]`, one, say) ?? []) }
}

/** The word that the command line would have in place of this value. */
function wordOf(row: OptionRow, key: string, value: unknown, say: Say): string | undefined {
  const word = Array.isArray(value) ? value.join(',') : String(value)
  // What a header says may be a secret, and this goes into logs.
  const given = row.name === 'health-header' ? '' : `${show(value)} `
  if (!fits(value, schemaOf({ ...row, multiple: false }))) {
    const { next } = refusal(row, word) ?? {}
    say(
      key,
      `${given}${misfit(row)}`,
      /\d$/.test(word) && row.value === 'TIME' ? 'Write "500ms", "30s", "2m" or "1h".' : next,
    )
    return undefined
  }
  const refused = refusal(row, word)
  if (refused === undefined) return word
  say(
    key,
    refused.message.replace(`--${row.name} `, '').replace(JSON.stringify(word), () => show(value)),
    refused.next,
  )
  return undefined
}

function refusal(row: OptionRow, word: string): ReuseportError | undefined {
  try {
    checkValue(row, word)
    return undefined
  } catch (error) {
    if (error instanceof ReuseportError) return error
    throw error
  }
}

/** As far as a schema says it; what it cannot say, `checkValue` does. */
function fits(
  value: unknown,
  { type, pattern, minimum, maximum, enum: known, minItems, items, anyOf }: Schema,
): boolean {
  if (anyOf !== undefined) return anyOf.some((one) => fits(value, one))
  if (known !== undefined) return known.includes(value as string)
  if (type === 'array')
    return Array.isArray(value) && value.length >= (minItems ?? 0) && value.every((one) => fits(one, items as Schema))
  if (type === 'string') return typeof value === 'string' && (pattern === undefined || new RegExp(pattern).test(value))
  if (typeof value !== 'number' || (type === 'integer' && !Number.isInteger(value))) return false
  return value >= (minimum ?? value) && value <= (maximum ?? value)
}

function commandOf(value: unknown, say: Say): readonly string[] | undefined {
  if (value === undefined) return undefined
  const isCommand = Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string')
  if (isCommand && value[0] !== '' && !value.some((word: string) => word.includes('\0'))) return value as string[]
  say('command', `${show(value)} is no list of words`, 'Write ["node", "server.js"].')
  return undefined
}

function envOf(value: unknown, say: Say): Readonly<Record<string, string>> {
  if (value === undefined) return {}
  if (!isRecord(value)) {
    say('env', 'is no object', 'Write {"NODE_ENV": "production"}.')
    return {}
  }
  const env: Record<string, string> = {}
  for (const [name, one] of Object.entries(value)) {
    if (!VARIABLE.test(name)) say(`env.${name}`, 'is no name of a variable')
    else if (!['string', 'number', 'boolean'].includes(typeof one) || String(one).includes('\0'))
      // Not the value: it may be a secret.
      say(`env.${name}`, 'is neither text nor a number, true or false')
    else env[name] = String(one)
  }
  return env
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
