import { logicalDirectory } from '../launcher/command.js'
import { Launcher } from '../launcher/launcher.js'
import { catchSignals } from '../launcher/signals.js'
import { createLog } from '../log.js'
import { launcherOptions } from './launcher-options.js'
import type { CommandLine } from './parse.js'

/** Runs the launcher in the foreground until it ends. */
export async function start(line: CommandLine): Promise<number> {
  const options = launcherOptions(line, logicalDirectory())
  const log = createLog(options.logFormat)
  const obey = catchSignals(log)
  const launcher = await Launcher.start(options, log)
  obey(launcher)
  return await launcher.ended
}
