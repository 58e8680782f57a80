import { HEALTH_DEFAULTS, type HealthOptions, WARMUP_DEFAULTS, type WarmupOptions } from '../options.js'
import { type CommandLine, usage } from './parse.js'
import { count, text, timeOr } from './values.js'

/** More than any worker has processors for. */
const MOST_CONNECTIONS = 64

/** What a new worker is asked before it is admitted; undefined: nothing. As whom, is said with the health check. Throws ERR_USAGE. */
export function warmupOptions(
  values: CommandLine['values'],
  asker: Pick<HealthOptions, 'port' | 'host' | 'headers'> = HEALTH_DEFAULTS,
): WarmupOptions | undefined {
  const given = text(values, 'warmup')
  if (given === undefined) {
    const alone = (['warmup-concurrency', 'warmup-timeout'] as const).find((name) => values[name] !== undefined)
    if (alone !== undefined) throw usage(`--${alone} needs --warmup`, 'For example: --warmup 500:/')
    return undefined
  }
  const [, requests = '', paths = ''] = /^(\d+):(.*)$/s.exec(given) ?? []
  const wrong = paths.split(',').find((path) => !/^\/[!-~]*$/.test(path))
  if (requests === '' || wrong !== undefined)
    throw usage(
      `--warmup ${JSON.stringify(given)} is no number of requests with paths`,
      'For example: --warmup 500:/,/products. A path begins with "/" and is percent-encoded (%2C for a comma).',
    )
  const connections = text(values, 'warmup-concurrency')
  const concurrency =
    connections === undefined ? WARMUP_DEFAULTS.concurrency : count(connections, 'warmup-concurrency', 1)
  if (concurrency > MOST_CONNECTIONS)
    throw usage(`--warmup-concurrency ${connections} is more than ${MOST_CONNECTIONS}`)
  const { port, host, headers } = asker
  return {
    requests: count(requests, 'warmup', 1),
    paths: paths.split(','),
    concurrency,
    timeoutMs: timeOr(values, 'warmup-timeout', WARMUP_DEFAULTS.timeoutMs),
    port,
    host,
    headers,
  }
}
