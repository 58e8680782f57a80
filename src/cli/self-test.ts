import { closeSync } from 'node:fs'
import { logicalDirectory } from '../launcher/command.js'
import { openToAppend } from '../launcher/log-file.js'
import { tryImage } from '../launcher/upgrade/self-test.js'
import { parseCommandLine } from './parse.js'
import { settle } from './settle.js'
import { settledOptions } from './settled-options.js'

/** Says on stdout whether this launcher could take over from the one that has started it. Throws why it could not. */
export async function selfTest(argv: readonly string[]): Promise<number> {
  const trial = tryImage()
  const { logFile } = settledOptions(await settle(parseCommandLine(argv)), logicalDirectory())
  if (logFile !== undefined) closeSync(openToAppend(logFile))
  process.stdout.write(`${JSON.stringify(trial)}\n`)
  return 0
}
