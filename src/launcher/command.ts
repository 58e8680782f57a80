import { accessSync, closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import type { Change, ReadySignal } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import { isSameFile, namedDirectory } from '../named-directory.js'
import type { HealthOptions, LauncherOptions } from '../options.js'
import { ENV_CHANNEL, ENV_COMPAT, ENV_PATHS, ENV_READY, ENV_TOKEN } from '../protocol.js'
import { readEnvFile } from './env-file.js'

/** What of the options belongs to a generation: another one may have others. */
export type Program = Pick<LauncherOptions, 'command' | 'env' | 'envFiles' | 'stopSignal' | 'health'>

/** What the workers of one generation run: fixed when the generation begins, kept for its respawns and for an undo. */
export interface Spec {
  /** A binary goes by its real path: a respawn runs the same one, whatever `/opt/node/current` points to by then. */
  readonly file: string
  /** Tells a file that was replaced under its name: inode and time of its last change. */
  readonly stamp: string
  readonly argv: readonly string[]
  /** Where the launcher was started, as it was named: what PWD says while it is the same directory. */
  readonly directory: string
  /** Real path: a respawn stays in the release its generation began with, whatever `current` points to by then. */
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** What ends one of them. */
  readonly stopSignal: NodeJS.Signals
  /** How one of them is asked whether it is well. */
  readonly health: HealthOptions | undefined
  /** Variables of the environment files that the launcher's own environment has with another value: that one counts, as with node --env-file. */
  readonly shadowed: readonly string[]
}

/** Where the launcher was started, so that each reload follows `current` anew (ecosystem.md §7.2). */
export function logicalDirectory(): string {
  try {
    return namedDirectory(process.cwd())
  } catch (cause) {
    throw unusable(process.env['PWD'] ?? 'of this process', cause)
  }
}

/** As a shell has it: the directory as it was named, unless that leads elsewhere by now (a respawn after `current` was turned). */
function workingDirectory({ directory, cwd }: Spec): string {
  try {
    return isSameFile(directory, cwd) ? directory : cwd
  } catch {
    return cwd
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
 * Works the command out afresh: the directory through its symlinks, the environment from its files, the program by PATH. Throws
 * ERR_WORKING_DIRECTORY, ERR_ENV_FILE, ERR_COMMAND_NOT_FOUND (127) or ERR_COMMAND_NOT_EXECUTABLE (126), the latter two as a shell would.
 */
export function resolveCommand({ command, env: own, envFiles, stopSignal, health }: Program, directory: string): Spec {
  let cwd: string
  try {
    cwd = realpathSync(directory)
    if (!statSync(cwd).isDirectory()) throw new Error('not a directory')
  } catch (cause) {
    throw unusable(directory, cause)
  }
  const fromFiles: Record<string, string> = { ...own }
  for (const file of envFiles) Object.assign(fromFiles, readEnvFile(file, cwd))
  const env: Record<string, string> = { ...fromFiles }
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value
  const name = command[0] as string
  const found = name.includes('/') ? checkProgram(resolve(cwd, name), name) : searchPath(name, cwd, env['PATH'])
  const file = isBinary(found) ? realpathSync(found) : found
  const { ino, mtime } = statSync(file)
  return {
    file,
    stamp: `inode ${ino}, of ${mtime.toISOString()}`,
    argv: command,
    directory,
    cwd,
    env,
    stopSignal,
    health,
    shadowed: Object.keys(fromFiles).filter((key) => key !== 'PWD' && fromFiles[key] !== env[key]),
  }
}

/** How one generation runs differently from another. */
export function changesBetween(before: Spec, after: Spec): Change[] {
  const changes: Change[] = []
  if (before.cwd !== after.cwd) changes.push({ what: 'directory', from: before.cwd, to: after.cwd })
  if (before.file !== after.file) changes.push({ what: 'program', from: before.file, to: after.file })
  else if (before.stamp !== after.stamp)
    changes.push({
      what: 'program',
      from: `${before.file} (${before.stamp})`,
      to: `${after.file} (${after.stamp})`,
    })
  const words = ({ argv }: Spec): string => argv.join(' ')
  if (words(before) !== words(after)) changes.push({ what: 'command', from: words(before), to: words(after) })
  for (const name of new Set([...Object.keys(before.env), ...Object.keys(after.env)])) {
    const [from, to] = [before.env[name], after.env[name]]
    // PWD follows the directory. No values: they may be secrets, and a verdict is read by many.
    if (name === 'PWD' || from === to) continue
    changes.push({
      what: `environment ${name}`,
      from: from === undefined ? null : 'set',
      to: to === undefined ? null : from === undefined ? 'set' : 'another value',
    })
  }
  return changes
}

/** Scripts are told the name they were called by, and look around from there; a binary is not. */
function isBinary(path: string): boolean {
  const ELF = '\x7fELF'
  const start = Buffer.alloc(ELF.length)
  try {
    const fd = openSync(path, 'r')
    try {
      return readSync(fd, start) === ELF.length && start.toString('latin1') === ELF
    } finally {
      closeSync(fd)
    }
  } catch {
    return false // May be executed, but not read: no script can be that.
  }
}

/** The environment of one spawn: the agent is preloaded into every Node process of it, and finds the launcher by these variables. */
export function workerEnvironment(
  spec: Spec,
  spawn: {
    channel: string
    token: string
    preload: string
    ready: ReadySignal
    compat: 'pm2' | undefined
    notify: string
    compileCache: string | undefined
    paths: readonly string[]
    /** Of this worker alone. */
    variables: Readonly<Record<string, string>>
  },
): string[] {
  const options = spec.env['NODE_OPTIONS']
  const preload = `--require "${spawn.preload.replace(/["\\]/g, '\\$&')}"`
  const env = {
    ...compileCache(spawn),
    ...spec.env,
    PWD: workingDirectory(spec),
    ...spawn.variables,
    [ENV_CHANNEL]: spawn.channel,
    [ENV_TOKEN]: spawn.token,
    ...(spawn.ready === 'message' ? { [ENV_READY]: spawn.ready } : {}),
    ...(spawn.compat === undefined ? {} : { [ENV_COMPAT]: spawn.compat }),
    ...(spawn.ready === 'notify' ? { NOTIFY_SOCKET: spawn.notify } : {}),
    ...(spawn.paths.length > 0 ? { [ENV_PATHS]: JSON.stringify(spawn.paths) } : {}),
    NODE_OPTIONS: options === undefined || options === '' ? preload : `${options} ${preload}`,
  }
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}

/** The same for a program that is given its sockets, and has no agent. */
export function foreignEnvironment(
  spec: Spec,
  {
    ready,
    notify,
    variables,
    ...spawn
  }: {
    ready: ReadySignal
    notify: string
    compileCache: string | undefined
    variables: Readonly<Record<string, string>>
  },
): string[] {
  const env = {
    ...compileCache(spawn),
    ...spec.env,
    PWD: workingDirectory(spec),
    ...(ready === 'notify' ? { NOTIFY_SOCKET: notify } : {}),
    ...variables,
  }
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}

/** A directory of the program's own counts. */
function compileCache({ compileCache }: { compileCache: string | undefined }): Record<string, string> {
  return compileCache === undefined ? {} : { NODE_COMPILE_CACHE: compileCache }
}

function searchPath(name: string, cwd: string, path: string | undefined): string {
  // What execvp(3) does without a PATH.
  const places = [...new Set((path ?? '/bin:/usr/bin').split(delimiter))]
  let found: string | undefined
  for (const place of places) {
    const file = resolve(cwd, join(place, name))
    try {
      if (!statSync(file).isFile()) continue
      found ??= file
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not here, or not executable: as execvp does, look further.
    }
  }
  if (found !== undefined) return checkProgram(found, name)
  throw new ReuseportError('ERR_COMMAND_NOT_FOUND', `${name}: command not found`, {
    facts: { command: name, path: places },
    next: `${hintAt(resolve(cwd, name), name)}Looked in ${places.join(', ')}.`,
  })
}

/** A file that lies in the directory is no command: what it would take to run it. */
function hintAt(path: string, name: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return ''
  return `For the file that lies here: ${/\.[cm]?[jt]s$/.test(name) ? `node ${name}` : `./${name}`}. `
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
