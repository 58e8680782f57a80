import { ReuseportError } from '../errors.js'

/** What `verify` is asked for. Durations are milliseconds. */
export interface VerifyOptions {
  readonly command: readonly string[]
  readonly workers?: number | undefined
  readonly reloads?: number | undefined
  /** Reload on until so many requests, of all kinds together, have been sent. */
  readonly minRequests?: number | undefined
  /** Clients of each kind. */
  readonly connections?: number | undefined
  readonly path?: string | undefined
  /** Where uploads go; undefined: to `path`; null: no uploads. */
  readonly uploadPath?: string | null | undefined
  /** An endpoint that takes its time to answer; undefined: none. */
  readonly slowPath?: string | undefined
  /** The listener that gets the load, by address ("tcp *:3000") or port; undefined: the first over TCP. */
  readonly listener?: string | undefined
  /** `private` falls back to `shared`, and says so, where a network namespace cannot be made. */
  readonly network?: 'private' | 'shared' | undefined
  /** Further options for the launcher, as on its command line. */
  readonly launcherOptions?: readonly string[] | undefined
  readonly startTimeoutMs?: number | undefined
  readonly reloadTimeoutMs?: number | undefined
  readonly responseTimeoutMs?: number | undefined
  readonly stopTimeoutMs?: number | undefined
  /** Of the whole run. */
  readonly deadlineMs?: number | undefined
  /** Gets one line of progress at a time. */
  readonly log?: ((line: string) => void) | undefined
  /** The launcher to test: program and first arguments. Default: this package's own. */
  readonly launcher?: readonly string[] | undefined
}

type Optional = 'slowPath' | 'listener' | 'launcher'
export type CheckedOptions = {
  readonly [Key in Exclude<keyof VerifyOptions, Optional>]-?: Exclude<VerifyOptions[Key], undefined>
} & Pick<VerifyOptions, Optional>

/** Fills in the defaults. Throws ERR_USAGE for what cannot be meant. */
export function checkOptions(options: VerifyOptions): CheckedOptions {
  const path = options.path ?? '/'
  const reloads = options.reloads ?? 20
  const reloadTimeoutMs = options.reloadTimeoutMs ?? 60_000
  const checked: CheckedOptions = {
    command: options.command,
    workers: options.workers ?? 2,
    reloads,
    minRequests: options.minRequests ?? 0,
    // With the six or seven kinds about as many clients as the measurements of the peers had on two processors.
    connections: options.connections ?? 16,
    path,
    uploadPath: options.uploadPath === undefined ? path : options.uploadPath,
    slowPath: options.slowPath,
    listener: options.listener,
    network: options.network ?? 'private',
    launcherOptions: options.launcherOptions ?? [],
    // As the launcher's own ready time-out, and a little for the launcher itself.
    startTimeoutMs: options.startTimeoutMs ?? 70_000,
    reloadTimeoutMs,
    responseTimeoutMs: options.responseTimeoutMs ?? 10_000,
    // The launcher's own drain and kill time-outs, and a little.
    stopTimeoutMs: options.stopTimeoutMs ?? 45_000,
    deadlineMs: options.deadlineMs ?? 10 * 60_000 + reloads * 10_000,
    log: options.log ?? (() => undefined),
    launcher: options.launcher,
  }
  if (checked.command.length === 0)
    throw usage('verify needs a command', 'Say it after "--": reuseport-run verify -n 2 -- node app.js')
  for (const name of ['workers', 'reloads', 'connections'] as const) {
    if (!Number.isInteger(checked[name]) || checked[name] < 1)
      throw usage(`${name} is ${checked[name]}`, 'It must be a whole number from 1.')
  }
  for (const given of [checked.path, checked.uploadPath, checked.slowPath]) {
    // A path goes into the request as it is: nothing in it may end the request line.
    if (typeof given === 'string' && !/^\/[!-~]*$/.test(given))
      throw usage(`${JSON.stringify(given)} is no path`, 'A path begins with "/" and is percent-encoded.')
  }
  return checked
}

function usage(message: string, next: string): ReuseportError {
  return new ReuseportError('ERR_USAGE', message, { next })
}
