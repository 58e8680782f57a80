import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import { EventStream } from '../launcher/event-stream.js'
import { Launcher } from '../launcher/launcher.js'
import { catchSignals } from '../launcher/signals.js'
import { stderr, stdout } from '../launcher/stderr.js'
import { letGoOfClosedTerminals } from '../launcher/terminal.js'
import type { Image } from '../launcher/upgrade/image.js'
import type { Log } from '../log.js'
import { native } from '../native.js'
import type { LauncherOptions, WatchOptions } from '../options.js'
import { openLogs } from './logs.js'
import { nearestVerb } from './parse.js'
import { type Settled, settle } from './settle.js'
import { settledOptions } from './settled-options.js'
import type { Watched } from './watched.js'

/** Runs the launcher in the foreground until it ends. `before`: what another image of this process has left. */
export async function start(line: Settled, before?: Image): Promise<number> {
  const directory = before?.specs.directory ?? logicalDirectory()
  const options = settledOptions(line, directory)
  const events = new EventStream()
  const logs = openLogs(options)
  const dev =
    options.watch === undefined
      ? undefined
      : watchedBy({ ...options, watch: options.watch }, directory, line, logs.log, events)
  const log = dev?.log ?? events.beside(logs.log)
  const signals = catchSignals(log, logs.reopen, before?.signals)
  if (before !== undefined) {
    // Those that came meanwhile come now.
    native().lowerShield()
    stderr.write(Buffer.from(before.stderr, 'base64'))
    stdout.write(Buffer.from(before.stdout ?? '', 'base64'))
  }
  const reread = async (): Promise<LauncherOptions> => settledOptions(await settle(line.asGiven, directory), directory)
  const told = { log, events, output: logs.output, saveSignals: signals.save, reread }
  const launcher =
    before === undefined
      ? await Launcher.start(options, told).catch((error: unknown) => {
          throw orVerb(error, options.command)
        })
      : Launcher.resume(options, told, before)
  signals.obey(launcher)
  dev?.obey(launcher)
  const code = await launcher.ended
  await Promise.all([stdout.flushed(), stderr.flushed()])
  letGoOfClosedTerminals()
  // Not by an empty event loop: on that way out Node takes its signal handlers away first, and a second SIGTERM in those milliseconds
  // would make a stop in good order an end by a signal.
  process.exit(code)
}

/** Loaded only when it is asked for. */
function watchedBy(
  options: LauncherOptions & { readonly watch: WatchOptions },
  directory: string,
  { file }: Settled,
  own: Log,
  events: EventStream,
): Watched {
  const { quiet, watched } = require('./watched.js') as typeof import('./watched.js')
  // Who reads by eye sees little; who reads by program, or later, all.
  const isBrief = options.logFormat === 'text' && options.logFile === undefined
  return watched(options, { directory, file, log: events.beside(isBrief ? quiet(own) : own) })
}

/** "relaod" was taken for a program. If there is none, the verb may have been meant. */
function orVerb(error: unknown, command: readonly string[]): unknown {
  const verb = nearestVerb(command[0] as string)
  if (!(error instanceof ReuseportError) || error.code !== 'ERR_COMMAND_NOT_FOUND' || verb === undefined) return error
  const { message, facts, next, cause } = error
  return new ReuseportError('ERR_COMMAND_NOT_FOUND', message, {
    facts,
    next: `Did you mean the verb ${verb}? ${next}`,
    cause,
  })
}
