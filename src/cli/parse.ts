import { parseArgs } from 'node:util'
import { ReuseportError } from '../errors.js'
import { OPTIONS, type OptionRow, optionsOf, VERBS, type Verb } from './option-table.js'

/** A command line, understood: whose options, and what is to be run. */
export interface CommandLine {
  readonly verb: Verb
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>
  readonly command: readonly string[]
}

/**
 * Options end at the first word that is none (or at `--`): what follows belongs to the program, its `-h` too. A first word that names a
 * verb is that verb; after `--` it is always a program. Throws ERR_USAGE.
 */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { cut, isProgram } = firstWord(argv)
  const word = argv[cut]
  if (isProgram || word === undefined || !isVerb(word)) {
    const command = word === '--' ? argv.slice(cut + 1) : argv.slice(cut)
    return { verb: 'start', values: strict(argv.slice(0, cut), 'start'), command }
  }
  const after = argv.slice(cut + 1)
  const before = argv.slice(0, cut)
  if (word === 'scale') return scaleLine(before, after)
  if (word !== 'start' && word !== 'verify' && word !== 'doctor') {
    const rest = firstWord(after)
    if (after[rest.cut] !== undefined && after[rest.cut] !== '--')
      throw usage(
        `${word} takes no argument: ${after[rest.cut]}`,
        `To run a program of that name: reuseport-run -- ${word}.`,
      )
    return { verb: word, values: strict([...before, ...after.slice(0, rest.cut)], word), command: [] }
  }
  const rest = firstWord(after)
  const command = after[rest.cut] === '--' ? after.slice(rest.cut + 1) : after.slice(rest.cut)
  return { verb: word, values: strict([...before, ...after.slice(0, rest.cut)], word), command }
}

/** "-1" is a number here and no option. */
function scaleLine(before: readonly string[], after: readonly string[]): CommandLine {
  const takesValue = (word: string | undefined): boolean =>
    OPTIONS.some(({ name, value }) => value !== undefined && word === `--${name}`)
  const isNumber = (word: string, index: number): boolean =>
    /^[+-]?\d{1,9}$/.test(word) && !takesValue(after[index - 1])
  const [number, ...more] = after.filter(isNumber)
  if (number === undefined || more.length > 0) throw usage('scale takes one number, of 1 to 1024 workers: 4, +1 or -1')
  const options = after.filter((word, index) => !isNumber(word, index))
  return { verb: 'scale', values: strict([...before, ...options], 'scale'), command: [number] }
}

export function usage(message: string, next = 'See reuseport-run --help.'): ReuseportError {
  return new ReuseportError('ERR_USAGE', message, { next })
}

function isVerb(word: string): word is Verb {
  return (VERBS as readonly string[]).includes(word)
}

type Types = Record<string, { type: 'string' | 'boolean'; multiple?: boolean; short?: string }>

function types(rows: readonly OptionRow[]): Types {
  return Object.fromEntries(
    rows.map(({ name, short, value, multiple = false }) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        multiple,
        ...(short === undefined ? {} : { short }),
      },
    ]),
  )
}

/** Where the options end: the index of the first word, or of `--`. */
function firstWord(argv: readonly string[]): { cut: number; isProgram: boolean } {
  const { tokens } = parseArgs({
    args: [...argv],
    options: types(OPTIONS),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const end = tokens.find(({ kind }) => kind === 'positional' || kind === 'option-terminator')
  return { cut: end?.index ?? argv.length, isProgram: end?.kind === 'option-terminator' }
}

function strict(args: readonly string[], verb: Verb): CommandLine['values'] {
  const options = types(optionsOf(verb))
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const unknown = /^Unknown option '(-{1,2}[^']*)'/.exec(message)?.[1]
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' && unknown !== undefined)
      throw unknownOption(unknown, verb, Object.keys(options))
    throw usage((message.split('. ')[0] as string).replace(/\.$/, ''))
  }
}

function unknownOption(option: string, verb: Verb, names: readonly string[]): ReuseportError {
  const name = option.replace(/^-+/, '')
  const elsewhere = OPTIONS.find((row) => row.name === name)
  if (elsewhere !== undefined)
    return usage(`${option} is no option of ${verb}; it belongs to ${elsewhere.verbs.join(', ')}`)
  const near = nearest(name, names)
  return usage(`unknown option ${option}${near === undefined ? '' : `; did you mean --${near}?`}`)
}

/** The verb that a word which is no program may have been meant to be. */
export function nearestVerb(word: string): Verb | undefined {
  return nearest(word, VERBS)
}

function nearest<T extends string>(word: string, names: readonly T[]): T | undefined {
  const near = names.map((name) => ({ name, far: distance(word, name) })).sort((a, b) => a.far - b.far)[0]
  return near !== undefined && near.far <= Math.max(1, Math.floor(near.name.length / 3)) ? near.name : undefined
}

/** How many letters to change, add, leave out or swap with their neighbour (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swap = isSwap ? (before[j - 2] as number) + 1 : Number.POSITIVE_INFINITY
      next[j] = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, change, swap)
    }
    before = row
    row = next
  }
  return row[b.length] as number
}
