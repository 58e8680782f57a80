#!/usr/bin/env node
import { ReuseportError } from '../errors.js'
import { VERSION } from '../version.js'
import type { Shell } from './completion.js'
import { helpText } from './help.js'
import { type CommandLine, parseCommandLine } from './parse.js'
import type { Settled } from './settle.js'
import { lookOf, paint } from './terminal.js'

/** argv in, exit code out. Each verb's code is loaded when it is used: a `status` must not pay for the launcher. */
async function run(line: CommandLine): Promise<number> {
  if (line.values['help'] === true) return print(helpText(line.verb, lookOf(1)))
  if (line.values['version'] === true) return print(`${VERSION}\n`)
  if (line.verb !== 'start') outliveReaders()
  const { settle } = await import('./settle.js')
  return await obey(await settle(line))
}

async function obey(line: Settled): Promise<number> {
  switch (line.verb) {
    case 'start':
      // It does not touch process.stdout and process.stderr: that would make a pipe non-blocking for everybody who has it open.
      return (await import('./start.js')).start(line)
    case 'reload':
      return (await import('./reload.js')).reload(line)
    case 'scale':
      return (await import('./scale.js')).scale(line)
    case 'status':
      return (await import('./status.js')).status(line)
    case 'stop':
      return (await import('./stop.js')).stop(line)
    case 'config':
      return (await import('./config.js')).config(line)
    case 'completion':
      return print((await import('./completion.js')).completion(line.word as Shell))
    case 'doctor':
      return (await import('./doctor.js')).doctor(line)
    case 'events':
      return (await import('./events.js')).events(line)
    case 'verify':
      return (await import('./verify.js')).verifyCommand(line)
  }
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
  const [first, ...rest] = error.describe().split('\n') as [string, ...string[]]
  const code = paint('red', `${error.code}:`, lookOf(2))
  process.stderr.write(`${[`reuseport-run: ${first.replace(`${error.code}:`, code)}`, ...rest].join('\n')}\n`)
  return error.exitCode
}

async function main(): Promise<void> {
  let code: number
  try {
    code = await run(parseCommandLine(process.argv.slice(2)))
  } catch (error) {
    code = fail(error)
  }
  // Not process.exit: what was written to a pipe must arrive. The launcher has closed everything that would keep the loop alive.
  process.exitCode = code
}

void main()
