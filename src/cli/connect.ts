import { ControlClient } from '../control-client.js'
import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import { findLauncher } from '../runtime-dir.js'
import { findOrphans, noLauncherBut, type Orphans } from './orphans.js'
import type { CommandLine } from './parse.js'
import { duration, launcherName, text } from './values.js'

/** One that stands still (SIGSTOP), or is busy for so long, gets no order. */
const FIND_MS = 30_000

/**
 * Finds the launcher that a verb is meant for. Without --name it must have been started from this directory: two checkouts of one package
 * share a default name, and a deploy must not reload the other one. Throws ERR_NO_LAUNCHER, ERR_NAME_TAKEN.
 */
export async function connect(line: CommandLine, signal?: AbortSignal): Promise<ControlClient> {
  const directory = logicalDirectory()
  try {
    return await connectFrom(directory, line, signal)
  } catch (error) {
    const orphans = isNoLauncher(error) ? findOrphans(line, directory) : undefined
    throw orphans === undefined ? error : noLauncherBut(orphans, error)
  }
}

/** The same for an order that can be done without a launcher. */
export async function connectOrFind(line: CommandLine, signal?: AbortSignal): Promise<ControlClient | Orphans> {
  const directory = logicalDirectory()
  try {
    return await connectFrom(directory, line, signal)
  } catch (error) {
    const orphans = isNoLauncher(error) ? findOrphans(line, directory) : undefined
    if (orphans === undefined) throw error
    return orphans
  }
}

function isNoLauncher(error: unknown): boolean {
  return error instanceof ReuseportError && error.code === 'ERR_NO_LAUNCHER'
}

async function connectFrom(directory: string, { values }: CommandLine, signal?: AbortSignal): Promise<ControlClient> {
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
  return ControlClient.connect({ name, runtimeDir, signal })
}

/**
 * Finds the launcher and gives it an order, as long as --timeout says in all; if it does not, only the finding has a limit, for the order has
 * the launcher's own. Throws ERR_TIMED_OUT; what was ordered goes on, but nothing of ours is left waiting for it.
 */
export async function within<T>(
  line: CommandLine,
  what: string,
  order: (client: ControlClient) => Promise<T>,
): Promise<T> {
  return await withinTime(line, what, (signal) => connect(line, signal), order)
}

/** The same, with whatever `find` finds. */
export async function withinTime<C, T>(
  line: CommandLine,
  what: string,
  find: (signal?: AbortSignal) => Promise<C>,
  order: (found: C) => Promise<T>,
): Promise<T> {
  const given = text(line.values, 'timeout')
  const ms = given === undefined ? FIND_MS : duration(given, 'timeout')
  const giveUp = new AbortController()
  const timer = setTimeout(() => giveUp.abort(), ms)
  let isOrdered = false
  try {
    const found = await find(giveUp.signal)
    isOrdered = true
    if (given === undefined) clearTimeout(timer)
    return await order(found)
  } catch (cause) {
    if (!giveUp.signal.aborted) throw cause
    if (!isOrdered)
      throw new ReuseportError(
        'ERR_TIMED_OUT',
        `the launcher has not answered within ${ms} ms: no ${what} was ordered`,
        {
          facts: { ms },
          next: 'It is stopped (SIGSTOP), busy, or needs longer than that for any answer.',
          cause,
        },
      )
    throw new ReuseportError('ERR_TIMED_OUT', `the ${what} is still going on after ${ms} ms`, {
      facts: { ms },
      next: 'The launcher goes on with it; `reuseport-run status` tells how it ends.',
      cause,
    })
  } finally {
    clearTimeout(timer)
  }
}
