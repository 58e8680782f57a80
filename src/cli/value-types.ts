import { checkName } from '../runtime-dir.js'
import type { OptionRow } from './option-table.js'
import { usage } from './parse.js'
import { clients, count, duration, ports, share, size, workers } from './values.js'

// Loaded when such a value is given: a status must not pay for them.
const canary = () => require('./canary.js') as typeof import('./canary.js')
const httpAddress = () => require('./http-address.js') as typeof import('./http-address.js')
const health = () => require('./health.js') as typeof import('./health.js')
const launcher = () => require('./launcher-options.js') as typeof import('./launcher-options.js')
const listen = () => require('./listen.js') as typeof import('./listen.js')
const warmup = () => require('./warmup.js') as typeof import('./warmup.js')

/** What a value looks like in a config file, as JSON Schema. */
export interface Schema {
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'array'
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly enum?: readonly (string | number)[]
  readonly minItems?: number
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
}

/** What stands behind a word in capitals in the option table. */
interface ValueType {
  /** "--bake "x" is no …". */
  readonly noun: string | ((row: OptionRow) => string)
  /** Throws ERR_USAGE. */
  readonly check: (given: string, row: OptionRow) => unknown
  readonly schema: (row: OptionRow) => Schema
  /** What a shell offers for it. */
  readonly completes?: 'file' | 'directory' | 'command'
}

const anything: Schema = { type: 'string', pattern: '[\\s\\S]' }
/** Of a word that is not looked at before it is used: it must only be there. */
const some = (noun: string, completes?: ValueType['completes']): ValueType => ({
  noun,
  check: (given, { name }) => {
    if (given === '') throw usage(`--${name} ${JSON.stringify(given)} is no ${noun}`)
  },
  schema: () => anything,
  ...(completes === undefined ? {} : { completes }),
})

/** By its name in the user database, or by its number. */
const person = (noun: string): ValueType => ({
  ...some(noun),
  schema: () => ({ anyOf: [anything, { type: 'integer', minimum: 0, maximum: 2 ** 32 - 2 }] }),
})

const PORT: Schema = { type: 'integer', minimum: 1, maximum: 65_535 }
const PATH = '^/[!-~]*$'
const VARIABLE = '^[A-Za-z_][A-Za-z0-9_]*$'

/** By the word, or by all of the notation where its parts mean something together. */
const TYPES: Readonly<Record<string, ValueType>> = {
  TIME: {
    noun: 'time',
    check: (given, { name }) => duration(given, name),
    // With its unit: who comes from milliseconds would write 30000.
    schema: () => ({ anyOf: [{ type: 'string', pattern: '^(0|\\d+(\\.\\d+)?(ms|s|m|h))$' }, { enum: [0] }] }),
  },
  N: {
    noun: ({ least = 0, most }) => `number ${most === undefined ? `of at least ${least}` : `from ${least} to ${most}`}`,
    check: (given, row) => {
      const value = count(given, row.name, row.least ?? 0)
      if (value > (row.most ?? value)) throw usage(`--${row.name} ${given} is more than ${row.most}`)
    },
    schema: ({ least = 0, most = 1e9 }) => ({ type: 'integer', minimum: least, maximum: most }),
  },
  'N|max': {
    noun: 'number of workers',
    check: (given) => workers(given),
    schema: ({ least = 1, most = 1e9 }) => ({
      anyOf: [{ type: 'integer', minimum: least, maximum: most }, { enum: ['max'] }],
    }),
  },
  'SHARE%': {
    noun: 'share',
    check: (given, { name }) => share(given, name),
    schema: () => ({ type: 'string', pattern: '^(100(\\.0+)?|\\d?\\d(\\.\\d+)?)%$' }),
  },
  TIMES: {
    noun: 'number from 1 to 1000',
    check: (given) => canary().times(given),
    schema: () => ({ type: 'number', minimum: 1, maximum: 1_000 }),
  },
  SIZE: {
    noun: 'size',
    check: (given, { name }) => size(given, name),
    schema: () => ({ type: 'string', pattern: '^(?!0+(\\.0+)?[KMG]$)\\d{1,12}(\\.\\d+)?[KMG]$' }),
  },
  PORT: {
    noun: 'port',
    check: (given, { name }) => ports(given, name),
    schema: () => PORT,
  },
  'PORT,…': {
    noun: 'list of ports',
    check: (given, { name }) => ports(given, name),
    schema: () => ({ anyOf: [PORT, { type: 'array', items: PORT, minItems: 1 }] }),
  },
  'CODE[-CODE],…': {
    noun: 'list of statuses',
    check: (given) => given.split(',').forEach(health().statusRange),
    schema: () => {
      const one: Schema = {
        anyOf: [
          { type: 'integer', minimum: 100, maximum: 599 },
          { type: 'string', pattern: '^[1-5]\\d\\d(-[1-5]\\d\\d)?$' },
        ],
      }
      return { anyOf: [one, { type: 'array', items: one, minItems: 1 }] }
    },
  },
  'KIND[=N],…': { ...some('list of kinds'), check: (given) => clients(given) },
  NAME: {
    noun: 'name',
    check: (given) => checkName(given),
    schema: () => ({ type: 'string', pattern: '^(?!\\.\\.?$)[A-Za-z0-9._-]{1,64}$' }),
  },
  HOST: {
    noun: 'host',
    check: (given) => health().host(given),
    schema: () => ({ type: 'string', pattern: '^[A-Za-z0-9._:[\\]-]+$' }),
  },
  "'NAME: VALUE'": {
    noun: 'header',
    check: (given) => health().header(given),
    schema: () => ({ type: 'string', pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\\t\\x20-\\x7e]*$" }),
  },
  '[NAME=]ADDRESS': {
    noun: 'address',
    check: (given) => listen().listenOption(given),
    schema: () => ({ type: 'string', pattern: '^([!-9;-~]+=)?((tcp|udp):|unix:/|fd:[!-9;-~])' }),
  },
  ADDR: {
    noun: 'address',
    check: (given, { name }) => httpAddress().httpAddress(given, name),
    schema: () => ({
      anyOf: [
        PORT,
        { type: 'string', pattern: '^(((\\[[0-9A-Fa-f:.]+\\]|\\*|localhost|[0-9.]*):)?[1-9]\\d{0,4}|unix:/.*)$' },
      ],
    }),
  },
  SIGNAL: {
    noun: 'signal',
    check: (given) => launcher().stopSignal(given),
    schema: () => ({ enum: launcher().STOP_SIGNALS.flatMap((name) => [name, name.slice(3)]) }),
  },
  'NAME|UID': person('user'),
  'NAME|GID': person('group'),
  VARIABLE: {
    noun: 'name of a variable',
    check: (given, { name }) => {
      if (!new RegExp(VARIABLE).test(given)) throw usage(`--${name} ${JSON.stringify(given)} is no name of a variable`)
    },
    schema: () => ({ type: 'string', pattern: VARIABLE }),
  },
  'N:PATH,…': {
    noun: 'number of requests with paths',
    check: (given) => warmup().warmupOptions({ warmup: given }),
    schema: () => ({ type: 'string', pattern: '^0*[1-9]\\d{0,8}:/[!-+\\x2d-~]*(,/[!-+\\x2d-~]*)*$' }),
  },
  PATH: {
    noun: 'path',
    check: (given, { name }) => {
      if (!new RegExp(PATH).test(given))
        throw usage(`--${name} ${JSON.stringify(given)} is no path`, 'A path begins with "/" and is percent-encoded.')
    },
    schema: () => ({ type: 'string', pattern: PATH }),
  },
  ADDRESS: some('address'),
  COMMAND: some('command', 'command'),
  FILE: some('file', 'file'),
  DIR: some('directory', 'directory'),
}

type Alternative =
  | { readonly word: string }
  | { readonly type: ValueType; readonly before: string; readonly text: string }

/** What may stand for a value: "alive:TIME" is a type with words before it, what begins with a small letter is a word as it is. */
function alternativesOf(notation: string): Alternative[] {
  const whole = TYPES[notation]
  if (whole !== undefined) return [{ type: whole, before: '', text: notation }]
  return notation.split('|').map((text) => {
    const [, before = '', name = ''] = /^([a-z]+:)?([A-Z%]+)$/.exec(text) ?? []
    const type = TYPES[name] ?? (/[A-Z]/.test(text) ? some(text) : undefined)
    return type === undefined ? { word: text } : { type, before, text }
  })
}

/** Every word in capitals of it is one that stands for something. */
export function isKnown(notation: string): boolean {
  return (
    TYPES[notation] !== undefined ||
    notation.split('|').every((part) => !/[A-Z]/.test(part) || TYPES[part.replace(/^[a-z]+:/, '')] !== undefined)
  )
}

/** The words among what may be given, for a shell. */
export function wordsOf(notation: string): string[] {
  return alternativesOf(notation).flatMap((one) => ('word' in one ? [one.word] : one.before === '' ? [] : [one.before]))
}

export function completionOf(notation: string): ValueType['completes'] {
  for (const one of alternativesOf(notation)) if ('type' in one && one.type.completes) return one.type.completes
  return undefined
}

function nounOf({ noun }: ValueType, row: OptionRow): string {
  return typeof noun === 'string' ? noun : noun(row)
}

/** Throws ERR_USAGE if this cannot be the value of the option, whatever else is given. */
export function checkValue(row: OptionRow, given: string): void {
  const all = alternativesOf(row.value as string)
  const [only] = all
  if (all.length === 1 && only !== undefined && 'type' in only) return void only.type.check(given, row)
  let next: string | undefined
  for (const one of all) {
    if ('word' in one) {
      if (one.word === given) return
    } else if (one.before !== '' && given === one.before.slice(0, -1)) {
      return // "alive", with the time that counts without one.
    } else if (given.startsWith(one.before))
      try {
        return void one.type.check(given.slice(one.before.length), row)
      } catch (error) {
        next ??= (error as { next?: string }).next
      }
  }
  throw usage(`--${row.name} ${JSON.stringify(given)} ${misfit(row)}`, next)
}

/** "is neither close nor keep", "is no time". */
export function misfit(row: OptionRow): string {
  if (row.value === undefined) return 'is neither true nor false'
  const all = alternativesOf(row.value)
  const names = all.map((one) => ('word' in one ? one.word : one.before === '' ? nounOf(one.type, row) : one.text))
  const [first, second] = names as [string, string]
  const article = 'type' in (all[0] as Alternative) ? 'a ' : ''
  if (names.length === 1) return article === '' ? `is not ${first}` : `is no ${first}`
  return names.length === 2 ? `is neither ${article}${first} nor ${second}` : `is none of ${names.join(', ')}`
}

/** "alive:" before what the schema takes as text; or alone, without its colon. */
function behind(before: string, schema: Schema): Schema {
  const text = (schema.anyOf ?? [schema]).find(({ pattern }) => pattern !== undefined)?.pattern ?? '^.*$'
  return { type: 'string', pattern: `^${before.slice(0, -1)}(:${text.replace(/^\^|\$$/g, '')})?$` }
}

/** Of one value; an option that may be given again may be an array of them. */
export function schemaOf(row: OptionRow): Schema {
  if (row.value === undefined) return { type: 'boolean' }
  const all = alternativesOf(row.value)
  const words = all.flatMap((one) => ('word' in one ? [one.word] : []))
  const types = all.flatMap((one): Schema[] => {
    if ('word' in one) return []
    const schema = one.type.schema(row)
    return [one.before === '' ? schema : behind(one.before, schema)]
  })
  const parts = [...types, ...(words.length === 0 ? [] : [{ enum: words }])]
  const one = parts.length === 1 ? (parts[0] as Schema) : { anyOf: parts }
  return row.multiple === true ? { anyOf: [one, { type: 'array', items: one }] } : one
}
