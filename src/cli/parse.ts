import { parseArgs } from 'node:util'
import { ReuseportError } from '../errors.js'
import { MOST_WORKERS } from '../options.js'
import { nearest } from './nearest.js'
import { isLikeStart, OPTIONS, type OptionRow, optionsOf, VERBS, type Verb, WORDS } from './option-table.js'

/** A command line, understood: whose options, and what is to be run. */
export interface CommandLine {
  readonly verb: Verb
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>
  readonly command: readonly string[]
  /** Of a verb that has words of its own (`config print`). */
  readonly word?: string
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
  if (word === 'import-pm2') return fileLine(word, before, after)
  const words = WORDS[word]
  if (words !== undefined) return wordLine(word, words, before, after)
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

/** `config print -n 2 -- node app.js`, `completion bash`. */
function wordLine(
  verb: Verb,
  words: readonly string[],
  before: readonly string[],
  after: readonly string[],
): CommandLine {
  const { cut } = firstWord(after)
  const own = strict([...before, ...after.slice(0, cut)], verb)
  const word = after[cut]
  if (word === undefined && (own['help'] === true || own['version'] === true)) return { verb, values: own, command: [] }
  if (word === undefined || !words.includes(word)) {
    const near = word === undefined ? undefined : nearest(word, words)
    const got =
      word === undefined ? '' : `, not ${JSON.stringify(word)}${near === undefined ? '' : `; did you mean ${near}?`}`
    throw usage(`${verb} takes one of ${words.join(', ')}${got}`)
  }
  const more = after.slice(cut + 1)
  const rest = firstWord(more)
  const values = strict([...before, ...after.slice(0, cut), ...more.slice(0, rest.cut)], verb)
  const command = more[rest.cut] === '--' ? more.slice(rest.cut + 1) : more.slice(rest.cut)
  if (command.length > 0 && !isLikeStart(verb)) throw usage(`${verb} ${word} takes no argument: ${command[0]}`)
  return { verb, values, command, word }
}

/** `import-pm2 --env production ecosystem.config.js`, and the options may come after the file. */
function fileLine(verb: Verb, before: readonly string[], after: readonly string[]): CommandLine {
  const { cut } = firstWord(after)
  const file = after[cut] === '--' ? undefined : after[cut]
  const values = strict([...before, ...after.slice(0, cut), ...after.slice(cut + 1)], verb)
  if (values['help'] === true || values['version'] === true) return { verb, values, command: [] }
  if (file === undefined) throw usage(`${verb} needs a file`, `For example: reuseport-run ${verb} ecosystem.config.js`)
  return { verb, values, command: [file] }
}

/** "-1" is a number here and no option. */
function scaleLine(before: readonly string[], after: readonly string[]): CommandLine {
  const takesValue = (word: string | undefined): boolean =>
    OPTIONS.some(({ name, value }) => value !== undefined && word === `--${name}`)
  const isNumber = (word: string, index: number): boolean =>
    /^[+-]?\d{1,9}$/.test(word) && !takesValue(after[index - 1])
  const [number, ...more] = after.filter(isNumber)
  const own = strict([...before, ...after.filter((word, index) => !isNumber(word, index))], 'scale')
  if (own['help'] === true || own['version'] === true) return { verb: 'scale', values: own, command: [] }
  if (number === undefined || more.length > 0)
    throw usage(`scale takes one number, of 1 to ${MOST_WORKERS} workers: 4, +1 or -1`)
  return { verb: 'scale', values: own, command: [number] }
}

export const SEE_HELP = 'See reuseport-run --help.'

export function usage(message: string, next: string = SEE_HELP): ReuseportError {
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
  const elsewhere = OPTIONS.flatMap((row) => (row.name === name ? row.verbs : []))
  if (elsewhere.length > 0) return usage(`${option} is no option of ${verb}; it belongs to ${elsewhere.join(', ')}`)
  const near = nearest(name, names)
  return usage(`unknown option ${option}${near === undefined ? '' : `; did you mean --${near}?`}`)
}

/** The verb that a word which is no program may have been meant to be. */
export function nearestVerb(word: string): Verb | undefined {
  return nearest(word, VERBS)
}
