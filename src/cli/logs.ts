import type { Output } from '../launcher/output.js'
import { openLog, stderr, stdout, tellDropped } from '../launcher/stderr.js'
import type { Log } from '../log.js'
import type { LauncherOptions } from '../options.js'

/** Where what is said goes. */
export interface Logs {
  /** The launcher's own lines. */
  readonly log: Log
  /** Those of workers, if they are to have names. */
  readonly output: Output | undefined
  /** What SIGUSR1 asks for. */
  readonly reopen: (() => void) | undefined
}

/** Throws ERR_LOG_FILE. */
export function openLogs({ logFile, logFormat, logPrefix }: LauncherOptions): Logs {
  const file = logFile === undefined ? undefined : openFile(logFile, logFormat)
  const log = file?.log ?? openLog(logFormat)
  if (!logPrefix) return { log, output: undefined, reopen: file?.reopen }
  if (file !== undefined) tellDropped(log)
  const { Output } = require('../launcher/output.js') as typeof import('../launcher/output.js')
  const writes =
    file === undefined
      ? { stdout: stdout.write.bind(stdout), stderr: stderr.write.bind(stderr) }
      : { stdout: file.write, stderr: file.write }
  return { log, output: new Output(logFormat, writes, file !== undefined), reopen: file?.reopen }
}

/** Loaded only when it is asked for. */
function openFile(
  path: string,
  format: 'text' | 'json',
): ReturnType<typeof import('../launcher/log-file.js').openLogFile> {
  const { openLogFile } = require('../launcher/log-file.js') as typeof import('../launcher/log-file.js')
  return openLogFile(path, format)
}
