import { MOST_WORKERS } from '../options.js'

/**
 * What a value that was read from somewhere else must be like. A check gives the path of the first thing that is wrong, or null: for state
 * that another version of the launcher has written (upgrade/image.ts).
 */
export type Check = (value: unknown, path: string) => string | null

const when =
  (fits: (value: unknown) => boolean): Check =>
  (value, path) =>
    fits(value) ? null : path

export const isText: Check = when((value) => typeof value === 'string')
export const isFlag: Check = when((value) => typeof value === 'boolean')
export const isNumber: Check = when((value) => Number.isFinite(value))
export const isWhole: Check = when(Number.isSafeInteger)
/** A descriptor that was kept open: 0, 1 and 2 are nobody's. */
export const isFd: Check = when((value) => Number.isSafeInteger(value) && (value as number) > 2)
/** A number of workers: the rules make a slot for each. */
export const isCountOfWorkers: Check = when((value) => Number.isSafeInteger(value) && (value as number) <= MOST_WORKERS)
export const isAnything: Check = () => null

export function oneOf(...values: readonly unknown[]): Check {
  return when((value) => values.includes(value))
}

export function orNull(check: Check): Check {
  return (value, path) => (value === null ? null : check(value, path))
}

/** Of what older versions do not write. */
export function orAbsent(check: Check): Check {
  return (value, path) => (value === undefined ? null : check(value, path))
}

export function listOf(check: Check): Check {
  return (value, path) =>
    Array.isArray(value) ? firstOf(value.map((one, index) => () => check(one, `${path}[${index}]`))) : path
}

/** [key, value] for each. */
export function pairsOf(key: Check, value: Check): Check {
  return listOf((pair, path) =>
    Array.isArray(pair) && pair.length === 2
      ? firstOf([() => key(pair[0], `${path}[0]`), () => value(pair[1], `${path}[1]`)])
      : path,
  )
}

export function recordOf(check: Check): Check {
  return (value, path) =>
    isRecord(value)
      ? firstOf(
          Object.entries(value).map(
            ([key, one]) =>
              () =>
                check(one, `${path}[${JSON.stringify(key)}]`),
          ),
        )
      : path
}

/** These fields; others may be there, too. */
export function fieldsOf(fields: Readonly<Record<string, Check>>): Check {
  return (value, path) =>
    isRecord(value)
      ? firstOf(
          Object.entries(fields).map(
            ([key, check]) =>
              () =>
                check(value[key], `${path}.${key}`),
          ),
        )
      : path
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function firstOf(checks: readonly (() => string | null)[]): string | null {
  for (const check of checks) {
    const wrong = check()
    if (wrong !== null) return wrong
  }
  return null
}
