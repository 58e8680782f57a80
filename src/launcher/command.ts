import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import type { ReadySignal } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import { ENV_CHANNEL, ENV_READY, ENV_TOKEN } from '../protocol.js'

/** What the workers of one generation run: fixed when the generation begins, kept for its respawns. */
export interface Spec {
  readonly file: string
  readonly argv: readonly string[]
  /** Real path: a respawn stays in the release its generation began with, whatever `current` points to by then. */
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** Where the launcher was started, as its shell saw it: through symlinks, so that each reload follows `current` anew (ecosystem.md §7.2). */
export function logicalDirectory(): string {
  const { PWD } = process.env
  let real: string
  try {
    real = process.cwd()
  } catch (cause) {
    throw unusable(PWD ?? 'of this process', cause)
  }
  try {
    const [said, is] = [statSync(PWD ?? real), statSync(real)]
    return PWD !== undefined && said.ino === is.ino && said.dev === is.dev ? PWD : real
  } catch {
    return real
  }
}

function unusable(directory: string, cause: unknown): ReuseportError {
  return new ReuseportError(
    'ERR_WORKING_DIRECTORY',
    `the working directory ${directory} cannot be used: ${(cause as Error).message}`,
    {
      facts: { path: directory },
      next: 'Workers start where the launcher was started: bring the directory back, then try again.',
      cause,
    },
  )
}

/**
 * Works the command out afresh: the directory through its symlinks, the program by PATH. Throws ERR_WORKING_DIRECTORY,
 * ERR_COMMAND_NOT_FOUND (127) or ERR_COMMAND_NOT_EXECUTABLE (126), as a shell would.
 */
export function resolveCommand(command: readonly string[], directory: string): Spec {
  let cwd: string
  try {
    cwd = realpathSync(directory)
    if (!statSync(cwd).isDirectory()) throw new Error('not a directory')
  } catch (cause) {
    throw unusable(directory, cause)
  }
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value
  env['PWD'] = cwd
  const name = command[0] as string
  return {
    file: name.includes('/') ? checkProgram(resolve(cwd, name), name) : searchPath(name, cwd),
    argv: command,
    cwd,
    env,
  }
}

/** The environment of one spawn: the agent is preloaded into every Node process of it, and finds the launcher by these variables. */
export function workerEnvironment(
  spec: Spec,
  spawn: { channel: string; token: string; preload: string; ready: ReadySignal; notify: string },
): string[] {
  const options = spec.env['NODE_OPTIONS']
  const preload = `--require "${spawn.preload.replace(/["\\]/g, '\\$&')}"`
  const env = {
    ...spec.env,
    [ENV_CHANNEL]: spawn.channel,
    [ENV_TOKEN]: spawn.token,
    ...(spawn.ready === 'message' ? { [ENV_READY]: spawn.ready } : {}),
    ...(spawn.ready === 'notify' ? { NOTIFY_SOCKET: spawn.notify } : {}),
    NODE_OPTIONS: options === undefined || options === '' ? preload : `${options} ${preload}`,
  }
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}

function searchPath(name: string, cwd: string): string {
  // What execvp(3) does without a PATH.
  const places = (process.env['PATH'] ?? '/bin:/usr/bin').split(delimiter)
  let found: string | undefined
  for (const place of places) {
    const path = resolve(cwd, join(place, name))
    try {
      if (!statSync(path).isFile()) continue
      found ??= path
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here, or not executable: as execvp does, look further.
    }
  }
  if (found !== undefined) return checkProgram(found, name)
  throw new ReuseportError('ERR_COMMAND_NOT_FOUND', `${name}: command not found`, {
    facts: { command: name, path: places },
    next: `Looked in ${places.join(', ')}.`,
  })
}

function checkProgram(path: string, name: string): string {
  try {
    if (statSync(path).isDirectory()) throw new Error('is a directory')
    accessSync(path, constants.X_OK)
    return path
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
      throw new ReuseportError('ERR_COMMAND_NOT_FOUND', `${name}: no such file`, {
        facts: { path },
        next: `Looked for ${path}.`,
        cause,
      })
    throw new ReuseportError('ERR_COMMAND_NOT_EXECUTABLE', `${path} cannot be executed: ${(cause as Error).message}`, {
      facts: { path },
      next: `chmod +x ${path}, or name its interpreter: node ${name}`,
      cause,
    })
  }
}
