import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { ReuseportError } from '../errors.js'
import { resolveCommand, type Spec } from '../launcher/command.js'
import { DEFAULTS, type LauncherOptions } from '../options.js'
import { type Finding, fail, ok, warn } from './finding.js'
import { isOldEnough } from './platform.js'

/** `node --version` takes tens of milliseconds. */
const VERSION_MS = 5_000
/** An entry file is source; what is longer is a bundle, of which the beginning is looked at. */
const MOST_SOURCE = 4 * 1_048_576

/** What would be run, looked at without running it. `isGiven`: it is given its sockets (--listen), and has no agent. */
export function checkProgram({
  command,
  directory,
  env = {},
  envFiles,
  isGiven,
}: {
  command: readonly string[]
  directory: string
  env?: LauncherOptions['env']
  envFiles: readonly string[]
  isGiven: boolean
}): Finding[] {
  let spec: Spec
  try {
    spec = resolveCommand({ ...DEFAULTS, command, env, envFiles }, directory)
  } catch (error) {
    if (!(error instanceof ReuseportError)) throw error
    return [fail('program', error.message, error.next ?? '')]
  }
  const found = ok('program', `${command.join(' ')}: ${spec.file}`)
  if (isGiven) return [found]
  return [found, ...checkWrapper(spec), ...checkRuntime(spec), ...checkPermission(spec), ...checkCluster(spec)]
}

const PACKAGE_MANAGERS = ['npm', 'npx', 'yarn', 'pnpm', 'pnpx', 'corepack']
const SHELLS = ['sh', 'bash', 'dash', 'zsh', 'ash']
const WATCHERS = ['nodemon', 'node-dev', 'ts-node-dev', 'tsx watch', 'pm2-dev']
const DAEMONS = ['pm2', 'pm2-runtime', 'forever']

/** What stands between the launcher and the process that listens. */
function checkWrapper({ argv, cwd }: Spec): Finding[] {
  const name = basename(argv[0] as string)
  const isNamed = (names: readonly string[]): boolean => names.includes(name) || names.includes(`${name} ${argv[1]}`)
  if (isNamed(DAEMONS))
    return [
      fail('wrapper', `${name} runs the program as a child of its own`, `Leave it out: ${plainCommand(argv, cwd)}`),
    ]
  if (isNamed(WATCHERS))
    return [
      warn(
        'wrapper',
        `${name} restarts the program by itself, past every check`,
        `Leave it out: ${plainCommand(argv, cwd)}`,
      ),
    ]
  if (isNamed(PACKAGE_MANAGERS) || (isNamed(SHELLS) && !/^\s*exec\s[^;&|]*$/.test(argv[argv.indexOf('-c') + 1] ?? '')))
    return [
      warn(
        'wrapper',
        `${name} stands before the program: it works, with one process more per worker`,
        `Name the program itself: ${plainCommand(argv, cwd)}`,
      ),
    ]
  return []
}

/** The command behind `npm start` and its like, from package.json. */
function plainCommand(argv: readonly string[], cwd: string): string {
  const { scripts } = packageOf(cwd)
  const [tool, ...words] = argv.map((word) => basename(word))
  const script = (words[0] === 'run' ? words[1] : words[0]) ?? 'start'
  const text = scripts[script]
  const isRun = PACKAGE_MANAGERS.includes(tool as string)
  // What only a shell understands is no command for us.
  if (isRun && text !== undefined && !/[;&|<>$`"'\\*?()]/.test(text)) return `reuseport-run … -- ${text}`
  return 'reuseport-run … -- node server.js'
}

/** Which Node, or what else, will run it. */
function checkRuntime({ argv, file, cwd, env }: Spec): Finding[] {
  const name = basename(argv[0] as string)
  if (name === 'bun' || name === 'deno')
    return [
      fail(
        'program-node',
        `${name} cannot load the agent: to the launcher the program never listens`,
        'Give it its sockets (--listen tcp:3000), or run it with node.',
      ),
    ]
  const node = name === 'node' ? file : SHELLS.includes(name) || isScript(file) ? nodeByPath(cwd, env) : undefined
  if (node === undefined) return []
  const real = realpathSync(node)
  if (real === realpathSync(process.execPath)) return [ok('program-node', `${process.version}, as the launcher`)]
  let version: string
  try {
    version = execFileSync(real, ['--version'], { encoding: 'utf8', timeout: VERSION_MS, cwd }).trim()
  } catch (error) {
    return [fail('program-node', `${node} --version: ${(error as Error).message}`, 'Name another Node.')]
  }
  if (isOldEnough(version)) return [ok('program-node', `${version} (${real}); the launcher has ${process.version}`)]
  return [
    fail('program-node', `${version} (${real}) is too old`, 'Install a newer one: 20.19, 22, 24 and 26 are tested.'),
  ]
}

/** What `npm`, `sh` and `#!/usr/bin/env node` find. */
function nodeByPath(cwd: string, env: Spec['env']): string | undefined {
  return (env['PATH'] ?? '')
    .split(':')
    .map((place) => resolve(cwd, place, 'node'))
    .find((path) => existsSync(path))
}

function checkPermission({ argv, env }: Spec): Finding[] {
  const words = [...argv, ...(env['NODE_OPTIONS'] ?? '').split(/\s+/)]
  if (!words.includes('--permission') || words.includes('--allow-addons')) return []
  return [
    fail(
      'permission',
      '--permission keeps the agent out of the program',
      'Add --allow-addons, or give the program its sockets with --listen.',
    ),
  ]
}

/** Whether its first file forks workers of its own. A guess: it is read, not run. */
function checkCluster({ argv, cwd }: Spec): Finding[] {
  const entry = entryOf(argv, cwd)
  if (entry === undefined) return []
  const source = readStart(entry)
  const [, name] =
    /(?:require\(\s*|from\s+|import\(?\s*)['"](?:node:)?(cluster|throng|recluster)['"]/.exec(source) ?? []
  if (name === undefined) return []
  return [
    warn(
      'cluster',
      `${entry} seems to fork workers of its own (${name})`,
      'It works: they stay behind their primary, which is the worker. Without them, and with -n, each has a socket of its own, and idle connections move at a reload.',
    ),
  ]
}

/** The program's first file: the first word behind node that is one. */
function entryOf(argv: readonly string[], cwd: string): string | undefined {
  return argv
    .slice(1)
    .filter((word) => !word.startsWith('-'))
    .flatMap((word) => ['', '.js', '.mjs', '.cjs', '/index.js'].map((end) => join(resolve(cwd, word) + end)))
    .find((path) => /\.[cm]?[jt]sx?$/.test(path) && isFile(path))
}

function isScript(path: string): boolean {
  return readStart(path, 2) === '#!'
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** Its first bytes; empty where it may not be read: then nothing is said about it. */
function readStart(path: string, bytes: number = MOST_SOURCE): string {
  try {
    const fd = openSync(path, 'r')
    try {
      const start = Buffer.alloc(Math.min(bytes, fstatSync(fd).size))
      return start.toString('utf8', 0, readSync(fd, start))
    } finally {
      closeSync(fd)
    }
  } catch {
    return ''
  }
}

function packageOf(cwd: string): { scripts: Readonly<Record<string, string>> } {
  try {
    const { scripts } = JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8')) as {
      scripts?: Record<string, string>
    }
    return { scripts: scripts ?? {} }
  } catch {
    return { scripts: {} }
  }
}
