import { ReuseportError } from '../errors.js'
import { KINDS, type KindId } from './load/kinds.js'

/** What `verify` is asked for. Durations are milliseconds. */
export interface VerifyOptions {
  readonly command: readonly string[]
  readonly workers?: number | undefined
  readonly reloads?: number | undefined
  /** Reload on until so many requests, of all kinds together, have been sent. */
  readonly minRequests?: number | undefined
  /** Clients of each kind. */
  readonly connections?: number | undefined
  /** Only these kinds of clients, with so many each (null: `connections`); undefined: all that the program can serve. */
  readonly clients?: Readonly<Partial<Record<KindId, number | null>>> | undefined
  readonly path?: string | undefined
  /** Where uploads go; undefined: to `path`; null: no uploads. */
  readonly uploadPath?: string | null | undefined
  /** An endpoint that takes its time to answer; undefined: none. */
  readonly slowPath?: string | undefined
  /** A path that takes WebSockets, or that gives an event stream; undefined: none. */
  readonly websocketPath?: string | undefined
  readonly ssePath?: string | undefined
  /** The program sends each WebSocket message back: messages are sent, not pings. */
  readonly echoes?: boolean | undefined
  /** The listener that gets plain HTTP/1.1, by address ("tcp *:3000") or port; undefined: the first over TCP that is not one of the others. */
  readonly listener?: string | undefined
  /** Listeners of other protocols; undefined: none. */
  readonly https?: string | undefined
  readonly http2?: string | undefined
  readonly h2c?: string | undefined
  /** Plain keep-alive connections may be closed: the program does so by itself, or migration is off. */
  readonly allowsClosed?: boolean | undefined
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

type Optional =
  | 'slowPath'
  | 'websocketPath'
  | 'ssePath'
  | 'listener'
  | 'https'
  | 'http2'
  | 'h2c'
  | 'clients'
  | 'launcher'
export type CheckedOptions = {
  readonly [Key in Exclude<keyof VerifyOptions, Optional>]-?: Exclude<VerifyOptions[Key], undefined>
} & Pick<VerifyOptions, Exclude<Optional, 'clients'>> & {
    readonly clients: Readonly<Partial<Record<KindId, number>>> | null
  }

/** Fills in the defaults. Throws ERR_USAGE for what cannot be meant. */
export function checkOptions(options: VerifyOptions): CheckedOptions {
  const path = options.path ?? '/'
  const reloads = options.reloads ?? 20
  // With the nine or ten kinds about as many clients as the measurements of the peers had on two processors.
  const connections = options.connections ?? 16
  const reloadTimeoutMs = options.reloadTimeoutMs ?? 60_000
  const checked: CheckedOptions = {
    command: options.command,
    workers: options.workers ?? 2,
    reloads,
    minRequests: options.minRequests ?? 0,
    connections,
    path,
    uploadPath: options.uploadPath === undefined ? path : options.uploadPath,
    slowPath: options.slowPath,
    clients: options.clients === undefined ? null : numbersOf(options.clients, connections),
    websocketPath: options.websocketPath,
    ssePath: options.ssePath,
    echoes: options.echoes ?? false,
    listener: options.listener,
    https: options.https,
    http2: options.http2,
    h2c: options.h2c,
    allowsClosed: options.allowsClosed ?? false,
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
  const { path: page, uploadPath, slowPath, websocketPath, ssePath } = checked
  for (const given of [page, uploadPath, slowPath, websocketPath, ssePath]) {
    // A path goes into the request as it is: nothing in it may end the request line.
    if (typeof given === 'string' && !/^\/[!-~]*$/.test(given))
      throw usage(`${JSON.stringify(given)} is no path`, 'A path begins with "/" and is percent-encoded.')
  }
  return checked
}

function numbersOf(
  clients: Readonly<Partial<Record<KindId, number | null>>>,
  connections: number,
): Partial<Record<KindId, number>> {
  const numbers = Object.entries(clients).map(([id, number]) => {
    if (!Object.hasOwn(KINDS, id))
      throw usage(
        `there are no clients of the kind ${JSON.stringify(id)}`,
        `There are: ${Object.keys(KINDS).join(', ')}.`,
      )
    return [id, number ?? connections] as const
  })
  return Object.fromEntries(numbers)
}

function usage(message: string, next: string): ReuseportError {
  return new ReuseportError('ERR_USAGE', message, { next })
}
