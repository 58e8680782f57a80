import { ControlClient } from '../control-client.js'
import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import { findLauncher } from '../runtime-dir.js'
import type { CommandLine } from './parse.js'
import { duration, launcherName, text } from './values.js'

/**
 * Finds the launcher that a verb is meant for. Without --name it must have been started from this directory: two checkouts of one package
 * share a default name, and a deploy must not reload the other one. Throws ERR_NO_LAUNCHER, ERR_NAME_TAKEN.
 */
export async function connect({ values }: CommandLine): Promise<ControlClient> {
  const directory = logicalDirectory()
  const name = launcherName(values, directory)
  const runtimeDir = text(values, 'runtime-dir')
  if (text(values, 'name') === undefined) {
    const { startedFrom } = findLauncher(name, runtimeDir)
    if (startedFrom !== undefined && startedFrom !== directory)
      throw new ReuseportError(
        'ERR_NAME_TAKEN',
        `the launcher called ${JSON.stringify(name)} was started from ${startedFrom}, this is ${directory}`,
        {
          facts: { name, startedFrom, directory },
          next: `If that is the one you mean: --name ${name}.`,
        },
      )
  }
  return ControlClient.connect({ name, runtimeDir })
}

/** Waits as long as --timeout says, if it does. Throws ERR_TIMED_OUT; what was ordered goes on. */
export async function within<T>({ values }: CommandLine, what: string, answer: Promise<T>): Promise<T> {
  const given = text(values, 'timeout')
  if (given === undefined) return await answer
  const ms = duration(given, 'timeout')
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new ReuseportError('ERR_TIMED_OUT', `the ${what} is still going on after ${ms} ms`, {
          facts: { ms },
          next: 'The launcher goes on with it; `reuseport-run status` tells how it ends.',
        }),
      )
    }, ms)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
