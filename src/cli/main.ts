#!/usr/bin/env node
import { ReuseportError } from '../errors.js'
import { ENV_STATE, SELF_TEST } from '../launcher/upgrade/words.js'
import { VERSION } from '../version.js'
import type { Shell } from './completion.js'
import type { Verb } from './option-table.js'
import { type CommandLine, parseCommandLine } from './parse.js'
import type { Settled } from './settle.js'

/** argv in, exit code out. Each verb's code is loaded when it is used: a `status` must not pay for the launcher; by
 * `require`, for the first `import()` of a process costs it milliseconds. */
async function run(line: CommandLine): Promise<number> {
  if (line.values['help'] === true) return help(line.verb)
  if (line.values['version'] === true) return print(`${VERSION}\n`)
  if (line.verb !== 'start') outliveReaders()
  const { settle } = require('./settle.js') as typeof import('./settle.js')
  if (process.env[ENV_STATE] === undefined || line.verb !== 'start') return await obey(await settle(line))
  // First of all: it says from where this launcher was started.
  const { takeImage } = require('../launcher/upgrade/inherited.js') as typeof import('../launcher/upgrade/inherited.js')
  const before = takeImage()
  return (require('./start.js') as typeof import('./start.js')).start(await settle(line), before)
}

async function obey(line: Settled): Promise<number> {
  switch (line.verb) {
    case 'start':
      // It does not touch process.stdout and process.stderr: that would make a pipe non-blocking for everybody who has it open.
      return (require('./start.js') as typeof import('./start.js')).start(line)
    case 'reload':
      return (require('./reload.js') as typeof import('./reload.js')).reload(line)
    case 'scale':
      return (require('./scale.js') as typeof import('./scale.js')).scale(line)
    case 'status':
      return (require('./status.js') as typeof import('./status.js')).status(line)
    case 'stop':
      return (require('./stop.js') as typeof import('./stop.js')).stop(line)
    case 'config':
      return (require('./config.js') as typeof import('./config.js')).config(line)
    case 'completion':
      return print((require('./completion.js') as typeof import('./completion.js')).completion(line.word as Shell))
    case 'import-pm2':
      return (require('./import-pm2.js') as typeof import('./import-pm2.js')).importPm2(line)
    case 'upgrade':
      return (require('./upgrade.js') as typeof import('./upgrade.js')).upgrade(line)
    case 'doctor':
      return (require('./doctor.js') as typeof import('./doctor.js')).doctor(line)
    case 'events':
      return (require('./events.js') as typeof import('./events.js')).events(line)
    case 'verify':
      return (require('./verify.js') as typeof import('./verify.js')).verifyCommand(line)
  }
}

function help(verb: Verb): number {
  const { lookOf } = require('./terminal.js') as typeof import('./terminal.js')
  return print((require('./help.js') as typeof import('./help.js')).helpText(verb, lookOf(1)))
}

function print(text: string): number {
  outliveReaders()
  process.stdout.write(text)
  return 0
}

/** A reader that has gone (`| head`) is no failure. */
function outliveReaders(): void {
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
}

function fail(error: unknown): number {
  if (!(error instanceof ReuseportError)) throw error
  outliveReaders()
  const { lookOf, paint } = require('./terminal.js') as typeof import('./terminal.js')
  const [first, ...rest] = error.describe().split('\n') as [string, ...string[]]
  const code = paint('red', `${error.code}:`, lookOf(2))
  process.stderr.write(`${[`reuseport-run: ${first.replace(`${error.code}:`, code)}`, ...rest].join('\n')}\n`)
  return error.exitCode
}

async function main(): Promise<void> {
  let code: number
  const [first, ...rest] = process.argv.slice(2)
  try {
    code =
      first === SELF_TEST
        ? await (require('./self-test.js') as typeof import('./self-test.js')).selfTest(rest)
        : await run(parseCommandLine(process.argv.slice(2)))
  } catch (error) {
    code = fail(error)
  }
  // Not process.exit: what was written to a pipe must arrive. The launcher has closed everything that would keep the loop alive.
  process.exitCode = code
}

void main()
