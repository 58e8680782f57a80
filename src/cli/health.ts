import { HEALTH_DEFAULTS, type HealthOptions } from '../options.js'
import { type CommandLine, usage } from './parse.js'
import { count, ports, text, texts, timeOr } from './values.js'

/** No check is that fast, and nobody wants to be asked that often. */
const LEAST_MS = 10
/** What only a request has. */
const OF_A_REQUEST = ['health-host', 'health-header', 'health-status'] as const
const NEEDS_HEALTH = [
  ...OF_A_REQUEST,
  'health-port',
  'health-timeout',
  'health-interval',
  'health-successes',
  'health-failures',
  'liveness',
] as const

/** The health check that the command line words; undefined: none. Throws ERR_USAGE. */
export function healthOptions(values: CommandLine['values']): HealthOptions | undefined {
  const [asked, command] = [text(values, 'health'), text(values, 'health-command')]
  if (asked === undefined && command === undefined) {
    const alone = NEEDS_HEALTH.find((name) => values[name] !== undefined)
    if (alone !== undefined) throw usage(`--${alone} needs --health`, 'For example: --health /healthz')
    return undefined
  }
  if (asked !== undefined && command !== undefined)
    throw usage('--health and --health-command are two checks: give one')
  const kind = command !== undefined ? 'command' : asked === 'tcp' ? 'tcp' : 'http'
  const target = command ?? (asked === 'tcp' ? '/' : (asked as string))
  const unused = kind === 'http' ? undefined : OF_A_REQUEST.find((name) => values[name] !== undefined)
  if (unused !== undefined) throw usage(`--${unused} belongs to --health PATH`)
  // A path goes into the request as it is: nothing in it may end the request line.
  if (kind === 'http' && !/^\/[!-~]*$/.test(target))
    throw usage(
      `--health ${JSON.stringify(asked)} is neither a path nor tcp`,
      'A path begins with "/" and is percent-encoded.',
    )
  const number = (name: string, fallback: number): number => {
    const given = text(values, name)
    return given === undefined ? fallback : count(given, name, 1)
  }
  const time = <T>(name: string, fallback: T): number | T => {
    const ms = timeOr(values, name, fallback)
    if (typeof ms !== 'number' || ms >= LEAST_MS) return ms
    throw usage(`--${name} ${JSON.stringify(text(values, name))} is too short`, `Give at least ${LEAST_MS}ms.`)
  }
  const status = text(values, 'health-status')
  return {
    kind,
    target,
    port: port(text(values, 'health-port')),
    host: host(text(values, 'health-host') ?? HEALTH_DEFAULTS.host),
    headers: texts(values, 'health-header').map(header),
    statuses: status === undefined ? HEALTH_DEFAULTS.statuses : status.split(',').map(statusRange),
    timeoutMs: time('health-timeout', HEALTH_DEFAULTS.timeoutMs),
    intervalMs: time('health-interval', HEALTH_DEFAULTS.intervalMs),
    successes: number('health-successes', HEALTH_DEFAULTS.successes),
    failures: number('health-failures', HEALTH_DEFAULTS.failures),
    livenessMs: time('liveness', HEALTH_DEFAULTS.livenessMs),
  }
}

function port(given: string | undefined): number | undefined {
  const [only, ...more] = ports(given, 'health-port') ?? []
  if (more.length > 0) throw usage(`--health-port ${JSON.stringify(given)}: one port is asked`)
  return only
}

export function host(given: string): string {
  if (/^[A-Za-z0-9._:[\]-]+$/.test(given)) return given
  throw usage(`--health-host ${JSON.stringify(given)} is no host`, 'Write shop.example or shop.example:8080.')
}

export function header(given: string): readonly [string, string] {
  const { validateHeaderName, validateHeaderValue } = require('node:http') as typeof import('node:http')
  const [, name = '', value = ''] = /^([^:]*):[ \t]*(.*?)[ \t]*$/s.exec(given) ?? []
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  } catch {
    // Not the value: it may be a secret, and this goes into logs.
    throw usage(`--health-header ${JSON.stringify(name)} is no header`, "Write 'Name: value'.")
  }
  return [name, value]
}

export function statusRange(given: string): readonly [number, number] {
  const [, from = '', to = from] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(given) ?? []
  if (from !== '' && Number(from) <= Number(to)) return [Number(from), Number(to)]
  throw usage(`--health-status ${JSON.stringify(given)} is no status`, 'Write 200, 200-399 or 200,204.')
}
