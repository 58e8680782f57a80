import { resolve } from 'node:path'
import type { Strategy } from '../control-protocol.js'
import { DEFAULTS, type LauncherOptions, WATCH_DEFAULTS, type WatchOptions } from '../options.js'
import { findWorkerUser, type WorkerUser } from '../worker-user.js'
import { healthOptions } from './health.js'
import { httpOption } from './http-address.js'
import { listenOptions, readyOptions } from './listen.js'
import { type CommandLine, usage } from './parse.js'
import { count, launcherName, ports, share, size, text, texts, timeOr, workers } from './values.js'
import { warmupOptions } from './warmup.js'

/** A look at all workers takes its time, where there are hundreds. */
const SHORTEST_INTERVAL_MS = 100

/** What a launcher is to be, from the command line that starts it. Throws ERR_USAGE. */
export function launcherOptions(
  { values, command, env = {} }: CommandLine & { readonly env?: Readonly<Record<string, string>> },
  directory: string,
): LauncherOptions {
  if (command.length === 0) throw usage('no command to run', 'For example: reuseport-run -n 2 -- node app.js')
  const logFormat = text(values, 'log-format') ?? DEFAULTS.logFormat
  if (logFormat !== 'text' && logFormat !== 'json')
    throw usage(`--log-format ${JSON.stringify(logFormat)} is neither text nor json`)
  const bakeMax5xx = text(values, 'bake-max-5xx')
  const listen = listenOptions(values)
  const health = healthOptions(values)
  const watch = watchOptions(values, directory)
  const runAs = user(text(values, 'user'), text(values, 'group'))
  const time = (name: string, fallback: number): number => timeOr(values, name, fallback)
  return {
    name: launcherName(values, directory),
    runtimeDir: text(values, 'runtime-dir'),
    pidFile: pidFile(text(values, 'pid-file'), directory),
    command,
    workers: workers(text(values, 'workers')),
    ports: ports(text(values, 'ports')),
    readyTimeoutMs: time('ready-timeout', DEFAULTS.readyTimeoutMs),
    drainTimeoutMs: time('drain-timeout', DEFAULTS.drainTimeoutMs),
    killAfterMs: time('kill-after', DEFAULTS.killAfterMs),
    websocket: websocket(text(values, 'websocket')),
    drainSpreadMs: time('drain-spread', DEFAULTS.drainSpreadMs),
    ...pm2Options(values),
    user: runAs,
    compileCache: compileCache(values, runAs),
    listen,
    ...readyOptions(text(values, 'ready'), listen),
    strategy: strategy(text(values, 'strategy')),
    surge: surge(text(values, 'surge')),
    // Who has just saved a file waits for it, and sees what is wrong himself.
    bakeMs: time('bake', watch === undefined ? DEFAULTS.bakeMs : 0),
    bakeMax5xx: bakeMax5xx === undefined ? DEFAULTS.bakeMax5xx : share(bakeMax5xx, 'bake-max-5xx'),
    migrate: values['no-migrate'] !== true,
    bakeMigrate: bakeMigrate(values),
    balance: balance(text(values, 'balance')),
    standby: standby(text(values, 'standby')),
    parkMs: time('park', DEFAULTS.parkMs),
    udpLingerMs: udpLinger(time('udp-linger', DEFAULTS.udpLingerMs), time('drain-timeout', DEFAULTS.drainTimeoutMs)),
    hangTimeoutMs: time('hang-timeout', DEFAULTS.hangTimeoutMs),
    hangKillMs: time('hang-kill', DEFAULTS.hangKillMs),
    memoryCheck: values['memory-check'] === true,
    maxMemory: size(text(values, 'max-memory'), 'max-memory'),
    maxAgeMs: timeOr(values, 'max-age', DEFAULTS.maxAgeMs),
    limitIntervalMs: Math.max(time('limit-interval', DEFAULTS.limitIntervalMs), SHORTEST_INTERVAL_MS),
    health,
    warmup: warmupOptions(values, health),
    env,
    envFiles: texts(values, 'env-file'),
    ...orphanOptions(values),
    statusPage: httpOption(values, 'status-page'),
    logFormat,
    logFile: logFile(text(values, 'log-file'), directory),
    logPrefix: logPrefix(values, listen.length > 0),
    watch,
    metrics: httpOption(values, 'metrics'),
  }
}

/** The launcher may go to another directory than it was started from. */
function logFile(given: string | undefined, directory: string): string | undefined {
  return given === undefined ? undefined : resolve(directory, given)
}

/** Without the agent nobody could give it its own output back when the launcher dies: the next line would end it. */
function logPrefix(values: CommandLine['values'], isForeign: boolean): boolean {
  if (values['log-prefix'] !== true) return false
  if (!isForeign || values['die-with-launcher'] === true) return true
  throw usage(
    '--log-prefix with --listen needs --die-with-launcher',
    'The lines go through the launcher: a program without our agent would be ended by its next one if the launcher died.',
  )
}

/** To name a path is to ask for it. */
function watchOptions(values: CommandLine['values'], directory: string): WatchOptions | undefined {
  const paths = texts(values, 'watch-path')
  if (values['watch'] !== true && paths.length === 0) return undefined
  return {
    paths: (paths.length === 0 ? ['.'] : paths).map((path) => resolve(directory, path)),
    ignore: texts(values, 'watch-ignore'),
    delayMs: timeOr(values, 'watch-delay', WATCH_DEFAULTS.delayMs),
  }
}

function pidFile(given: string | undefined, directory: string): string | undefined {
  if (given === '') throw usage('--pid-file needs a path')
  return given === undefined ? undefined : resolve(directory, given)
}

function user(name: string | undefined, group: string | undefined): WorkerUser | undefined {
  if (name !== undefined) return findWorkerUser(name, group)
  if (group === undefined) return undefined
  throw usage('--group needs --user', 'It is the group of the user that the workers run as.')
}

/** Whoever may write into that directory gives the workers code: it is ours, and nothing in ours is theirs. */
function compileCache(values: CommandLine['values'], runAs: WorkerUser | undefined): boolean {
  if (values['compile-cache'] !== true) return false
  if (runAs === undefined) return true
  throw usage(
    '--compile-cache and --user exclude each other',
    'Give the program NODE_COMPILE_CACHE, with a directory of that user alone.',
  )
}

function orphanOptions(values: CommandLine['values']): Pick<LauncherOptions, 'orphanTimeoutMs' | 'dieWithLauncher'> {
  const dieWithLauncher = values['die-with-launcher'] === true
  const orphanTimeoutMs = timeOr(values, 'orphan-timeout', undefined)
  if (dieWithLauncher && orphanTimeoutMs !== undefined)
    throw usage('--die-with-launcher and --orphan-timeout exclude each other')
  return { dieWithLauncher, orphanTimeoutMs }
}

function bakeMigrate(values: CommandLine['values']): boolean {
  if (values['bake-migrate'] !== true) return false
  if (values['no-migrate'] !== true) return true
  throw usage('--bake-migrate and --no-migrate exclude each other')
}

/** Signals that a program may handle, and that mean nothing else to Node or the kernel. */
export const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR2']

export function stopSignal(given: string | undefined): NodeJS.Signals {
  if (given === undefined) return DEFAULTS.stopSignal
  const found = STOP_SIGNALS.find((name) => name === given || name === `SIG${given}`)
  if (found !== undefined) return found
  throw usage(`--stop-signal ${JSON.stringify(given)} is none of ${STOP_SIGNALS.join(', ')}`)
}

/** A program made for PM2 knows no SIGTERM, and which of its instances it is. */
function pm2Options(values: CommandLine['values']): Pick<LauncherOptions, 'compat' | 'stopSignal' | 'instanceVar'> {
  const as = compat(text(values, 'compat'))
  const signal = text(values, 'stop-signal')
  const variable = text(values, 'instance-var')
  const standbys = text(values, 'standby')
  if ((as !== undefined || variable !== undefined) && standbys !== undefined && Number(standbys) > 0)
    throw usage(
      `--standby and ${as === undefined ? '--instance-var' : '--compat pm2'} exclude each other`,
      'A warm spare has no number before it takes the place of another worker.',
    )
  return {
    compat: as,
    stopSignal: as !== undefined && signal === undefined ? 'SIGINT' : stopSignal(signal),
    instanceVar: variable ?? (as === undefined ? DEFAULTS.instanceVar : 'NODE_APP_INSTANCE'),
  }
}

function compat(given: string | undefined): 'pm2' | undefined {
  if (given === undefined || given === 'pm2') return given
  throw usage(`--compat ${JSON.stringify(given)} is not pm2`)
}

function websocket(given: string | undefined): 'close' | 'keep' {
  if (given === undefined) return DEFAULTS.websocket
  if (given === 'close' || given === 'keep') return given
  throw usage(`--websocket ${JSON.stringify(given)} is neither close nor keep`)
}

function strategy(given: string | undefined): Strategy {
  const known: readonly Strategy[] = ['all', 'rolling']
  const found = known.find((one) => one === (given ?? DEFAULTS.strategy))
  if (found === undefined) throw usage(`--strategy ${JSON.stringify(given)} is neither all nor rolling`)
  return found
}

function surge(given: string | undefined): number | undefined {
  return given === undefined ? undefined : count(given, 'surge', 1)
}

function balance(given: string | undefined): LauncherOptions['balance'] {
  const known: readonly LauncherOptions['balance'][] = ['hash', 'random', 'client', 'cpu']
  const found = known.find((one) => one === (given ?? DEFAULTS.balance))
  if (found === undefined) throw usage(`--balance ${JSON.stringify(given)} is none of ${known.join(', ')}`)
  return found
}

function standby(given: string | undefined): number {
  if (given === undefined) return DEFAULTS.standby
  const value = count(given, 'standby', 0)
  if (value <= 64) return value
  throw usage(`--standby ${given} is more than 64`)
}

function udpLinger(ms: number, drainMs: number): number {
  if (ms === 0 || ms < drainMs) return ms
  throw usage(
    `--udp-linger (${ms} ms) must be shorter than --drain-timeout (${drainMs} ms)`,
    'The old worker is drained while its flows stay with it: give it the time of both.',
  )
}
