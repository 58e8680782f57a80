import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import type { Configured, Fault } from './config/check.js'
import { findConfig, namedConfig } from './config/find.js'
import { keyOf, SETTINGS, variableOf } from './config/keys.js'
import type { ConfigFile } from './config/read.js'
import { isLikeStart, OPTIONS, type OptionRow, type Verb } from './option-table.js'
import type { Origin } from './origins.js'
import { type CommandLine, SEE_HELP } from './parse.js'
import { checkValue } from './value-types.js'

/** A command line with what the environment and a config file add to it, all of it looked at. */
export interface Settled extends CommandLine {
  /** Environment of the program, from the config file. */
  readonly env: Readonly<Record<string, string>>
  /** By the name of the option; `command` and `env` are there too. */
  readonly origins: Readonly<Record<string, Origin>>
  /** The command line alone: to be settled again. */
  readonly asGiven: CommandLine
  /** The config file; null: there is none. */
  readonly file: string | null
}

type Values = Record<string, CommandLine['values'][string]>

/** Command line over environment over config file. Throws ERR_USAGE or ERR_CONFIG, with every fault that there is. */
export async function settle(line: CommandLine, directory: string = logicalDirectory()): Promise<Settled> {
  const faults: Fault[] = []
  const values: Values = {}
  const origins: Record<string, Origin> = {}
  checkLine(line, faults)
  const wanted = settingsOf(line.verb)
  const given = (name: string): boolean => line.values[name] !== undefined
  const variables = fromEnvironment(
    wanted.filter(({ name }) => !given(name)),
    faults,
  )
  const path = configPath(line, directory)
  const file = path === undefined || !isAsked(line, wanted, variables) ? null : await readAndCheck(path, line, faults)
  if (faults.length > 0) throw refusal(faults.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)))
  for (const { name } of wanted) {
    if (given(name)) origins[name] = { from: 'command line' }
    else if (Object.hasOwn(variables, name)) {
      origins[name] = { from: 'environment', variable: variableOf({ name }) }
      take(values, name, variables[name])
    } else if (file !== null && Object.hasOwn(file.said.values, name)) {
      origins[name] = { from: 'file', path: file.path, line: file.lineOf(keyOf({ name })) }
      take(values, name, file.said.values[name])
    }
  }
  const said = file?.said
  const command = line.command.length > 0 ? line.command : (said?.command ?? [])
  const inFile = (key: string): Origin => ({ from: 'file', path: path as string, line: file?.lineOf(key) })
  if (line.command.length > 0) origins['command'] = { from: 'command line' }
  else if (said?.command !== undefined) origins['command'] = inFile('command')
  if (said !== undefined && Object.keys(said.env).length > 0) origins['env'] = inFile('env')
  return {
    ...line,
    values: { ...values, ...line.values },
    command: startsSomething(line.verb) ? command : line.command,
    env: said?.env ?? {},
    origins,
    asGiven: line,
    file: file?.path ?? null,
  }
}

/** A switch that is said to be off is as one that is not given. */
function take(values: Values, name: string, value: Values[string]): void {
  if (value !== false) values[name] = value
}

function startsSomething(verb: Verb): boolean {
  return verb === 'start' || verb === 'verify' || isLikeStart(verb)
}

/** A verb that orders something looks for the launcher only. */
function settingsOf(verb: Verb): readonly OptionRow[] {
  return SETTINGS.filter(({ verbs }) => verbs.includes(isLikeStart(verb) ? 'start' : verb))
}

/** A reload does not need the file if it is told which launcher is meant. */
function isAsked({ verb, values }: CommandLine, wanted: readonly OptionRow[], variables: Values): boolean {
  return startsSomething(verb) || wanted.some(({ name }) => values[name] === undefined && variables[name] === undefined)
}

function configPath({ verb, values }: CommandLine, directory: string): string | undefined {
  if (verb === 'completion' || values['no-config'] === true) return undefined
  const named = values['config'] ?? process.env['REUSEPORT_RUN_CONFIG']
  return typeof named === 'string' && named !== '' ? namedConfig(named, directory) : findConfig(directory)
}

/** Loaded only when there is a file. */
async function readAndCheck(
  path: string,
  { verb }: CommandLine,
  faults: Fault[],
): Promise<ConfigFile & { readonly said: Configured }> {
  const { readConfig } = await import('./config/read.js')
  const { checkConfig } = await import('./config/check.js')
  const file = await readConfig(path)
  // What it says of other things does not keep anybody from stopping a launcher.
  const said = checkConfig(file, startsSomething(verb) ? faults : [])
  return { ...file, said }
}

function checkLine({ verb, values }: CommandLine, faults: Fault[]): void {
  for (const row of OPTIONS) {
    const value = values[row.name]
    if (value === undefined || row.value === undefined || verb === 'completion') continue
    for (const word of Array.isArray(value) ? value : [value]) note(row, String(word), faults, (text) => text)
  }
}

function fromEnvironment(rows: readonly OptionRow[], faults: Fault[]): Values {
  const values: Values = {}
  for (const row of rows) {
    const variable = variableOf(row)
    const given = process.env[variable]
    if (given === undefined || given === '') continue
    if (row.value === undefined) {
      const is = { 1: true, true: true, 0: false, false: false }[given]
      if (is === undefined)
        faults.push({ where: '', what: `${variable} ${JSON.stringify(given)} is neither 1 nor 0`, next: undefined })
      else values[row.name] = is
      continue
    }
    const words = row.multiple === true ? given.split('\n').filter((word) => word !== '') : [given]
    const rename = (text: string): string => text.replace(`--${row.name}`, variable)
    for (const word of words) note(row, word, faults, rename)
    values[row.name] = row.multiple === true ? words : given
  }
  return values
}

function note(row: OptionRow, word: string, faults: Fault[], rename: (text: string) => string): void {
  try {
    checkValue(row, word)
  } catch (error) {
    if (!(error instanceof ReuseportError)) throw error
    faults.push({ where: '', what: rename(error.message), next: error.next })
  }
}

/** One as it always was; several each on a line. */
function refusal(faults: readonly Fault[]): ReuseportError {
  const code = faults.some(({ where }) => where !== '') ? 'ERR_CONFIG' : 'ERR_USAGE'
  const worded = faults.map(({ where, what }) => (where === '' ? what : `${where}: ${what}`))
  const [first] = faults as [Fault]
  if (faults.length === 1)
    return new ReuseportError(code, worded[0] as string, first.next === undefined ? {} : { next: first.next })
  const lines = faults.map(
    ({ next }, index) => `\n  ${worded[index]}${next === undefined || next === SEE_HELP ? '' : `. ${next}`}`,
  )
  return new ReuseportError(code, `${faults.length} faults${lines.join('')}`, {
    facts: { faults: worded },
  })
}
