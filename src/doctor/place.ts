import { ControlClient } from '../control-client.js'
import type { Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import { type FoundLauncher, findLauncher, tryRuntimeDir } from '../runtime-dir.js'
import { VERSION } from '../version.js'
import { type Finding, fail, ok, warn } from './finding.js'

/** A launcher answers in milliseconds. */
const ANSWER_MS = 3_000

/** Whether there can be a launcher of this name in its runtime directory. */
export function checkRuntimeDir(name: string, runtimeDir: string | undefined): Finding {
  try {
    return ok('runtime-dir', tryRuntimeDir(name, runtimeDir))
  } catch (error) {
    return failure('runtime-dir', error)
  }
}

/** Who has the name now. The finding, and what that launcher says of itself if it may be the one that is meant. */
export async function checkName(
  name: string,
  runtimeDir: string | undefined,
  directory: string,
): Promise<{ finding: Finding; status: Status | null }> {
  let found: FoundLauncher
  try {
    found = findLauncher(name, runtimeDir)
  } catch (error) {
    return { finding: isMissing(error) ? ok('name', `${name}: free`) : failure('name', error), status: null }
  }
  try {
    const client = await ControlClient.connect({ name, runtimeDir, signal: AbortSignal.timeout(ANSWER_MS) })
    const status = await client.status()
    return { finding: describeRunning(status, found.startedFrom, directory), status }
  } catch (error) {
    return { finding: describeSilent(name, error), status: null }
  }
}

function describeRunning(
  { name, pid, state, version }: Status,
  startedFrom: string | undefined,
  directory: string,
): Finding {
  if (startedFrom !== undefined && startedFrom !== directory)
    return fail(
      'name',
      `${name} is the name of a launcher (pid ${pid}) that was started from ${startedFrom}; this is ${directory}`,
      `Give this one another: --name ${name}-2`,
    )
  const text = `${name} runs: pid ${pid}, ${state}`
  if (version === VERSION) return ok('name', text)
  return warn(
    'name',
    `${text}, of version ${version}; this is ${VERSION}`,
    'It keeps its own version until it is started anew.',
  )
}

/** Its files are there, and nobody answers. */
function describeSilent(name: string, error: unknown): Finding {
  if (!isMissing(error)) return failure('name', error)
  return warn(
    'name',
    `${name}: its launcher does not answer. ${(error as ReuseportError).next}`,
    'If it was killed, start it again. If it is stopped (SIGSTOP) or busy, it has the name until it ends.',
  )
}

function isMissing(error: unknown): boolean {
  return error instanceof ReuseportError && error.code === 'ERR_NO_LAUNCHER'
}

function failure(check: string, error: unknown): Finding {
  if (!(error instanceof ReuseportError)) throw error
  return fail(check, error.message, error.next ?? '')
}
