import { availableParallelism } from 'node:os'
import { DEFAULTS } from '../options.js'
import { checkName, defaultName } from '../runtime-dir.js'
import { type CommandLine, usage } from './parse.js'

/** Turns the words of a command line into values. Each throws ERR_USAGE with what it got and what it wanted. */

/** "30s", "500ms", "2m", "1h"; a bare number is seconds, as in timeout(1). Gives milliseconds. */
export function duration(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  const ms =
    match === null ? Number.NaN : Number(match[1]) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] as 's']
  const LONGEST = 2 ** 31 - 1 // setTimeout's
  const value = match !== null && match[2] === undefined ? Number(match[1]) * 1_000 : ms
  if (Number.isFinite(value) && value <= LONGEST) return Math.round(value)
  throw usage(`--${option} ${JSON.stringify(text)} is no time`, 'Write 500ms, 30s, 2m or 1h (at most 24 days).')
}

/** "1%", "0.5%": a share between 0 and 1. A bare number would leave open which of both it means. */
export function share(given: string, option: string): number {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(given)?.[1]
  if (percent !== undefined && Number(percent) <= 100) return Number(percent) / 100
  throw usage(`--${option} ${JSON.stringify(given)} is no share`, 'Write 1% or 0.5%.')
}

/** "512M", "1.5G" as bytes: K, M and G are of 1024, as with PM2 and systemd. A bare number would leave open which of them it means. */
export function size(given: string | undefined, option: string): number | undefined {
  if (given === undefined) return undefined
  const [, number, unit] = /^(\d+(?:\.\d+)?)([KMG])$/.exec(given) ?? []
  const bytes = Math.round(Number(number) * { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[unit as 'K'])
  if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes
  throw usage(`--${option} ${JSON.stringify(given)} is no size`, 'Write 512M or 1.5G.')
}

export function count(text: string, option: string, least: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= 1e9) return value
  throw usage(`--${option} ${JSON.stringify(text)} is no number of at least ${least}`)
}

export function workers(text: string | undefined): number {
  const { WEB_CONCURRENCY } = process.env
  if (text === undefined && (WEB_CONCURRENCY === undefined || WEB_CONCURRENCY === '')) return DEFAULTS.workers
  const given = text ?? (WEB_CONCURRENCY as string)
  if (given === 'max') return availableParallelism()
  const value = Number(given)
  if (/^\d+$/.test(given) && value >= 1 && value <= 1_024) return value
  throw usage(
    `${text === undefined ? 'WEB_CONCURRENCY' : '--workers'} ${JSON.stringify(given)} is no number of workers`,
    'Give 1 to 1024, or max.',
  )
}

export function ports(text: string | undefined, option = 'ports'): readonly number[] | undefined {
  return text?.split(',').map((part) => {
    const port = Number(part)
    if (/^\d+$/.test(part) && port >= 1 && port <= 65_535) return port
    throw usage(`--${option} ${JSON.stringify(text)}: ${JSON.stringify(part)} is no port`, 'Write 3000 or 3000,3001.')
  })
}

/** "busy=20,idle" as numbers of clients by kind; null: as many as of every kind. */
export function clients(text: string | undefined): Readonly<Record<string, number | null>> | undefined {
  if (text === undefined) return undefined
  const given = text.split(',').map((part) => {
    const [kind = '', number] = part.split('=', 2)
    return [kind, number === undefined ? null : count(number, `clients ${kind}`, 1)] as const
  })
  return Object.fromEntries(given)
}

export function text(values: CommandLine['values'], name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

/** The time that an option gives, or what there is without it. */
export function timeOr<T>(values: CommandLine['values'], name: string, fallback: T): number | T {
  const given = text(values, name)
  return given === undefined ? fallback : duration(given, name)
}

/** Every value of an option that may be given again and again. */
export function texts(values: CommandLine['values'], name: string): readonly string[] {
  const given = values[name]
  return Array.isArray(given) ? given.filter((value) => typeof value === 'string') : []
}

export function launcherName(values: CommandLine['values'], directory: string): string {
  const given = text(values, 'name')
  return given === undefined ? defaultName(directory) : checkName(given)
}
