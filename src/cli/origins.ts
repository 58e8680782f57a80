import { ReuseportError } from '../errors.js'

/** Where a value comes from; what is nowhere has its default. */
export type Origin =
  | { readonly from: 'command line' }
  | { readonly from: 'environment'; readonly variable: string }
  | { readonly from: 'file'; readonly path: string; readonly line: number | undefined }

/** What says where a setting that cannot be meant comes from, if it is not from the command line. */
export function withOrigin(error: unknown, origins: Readonly<Record<string, Origin>>): unknown {
  if (!(error instanceof ReuseportError) || error.code !== 'ERR_USAGE') return error
  const elsewhere = Object.entries(origins).flatMap(([name, origin]) =>
    origin.from === 'command line' || !new RegExp(`--${name}(?![\\w-])`).test(error.message)
      ? []
      : [`--${name} comes from ${describeOrigin(origin)}.`],
  )
  if (elsewhere.length === 0) return error
  const { message, facts, cause } = error
  return new ReuseportError('ERR_CONFIG', message, {
    facts,
    next: [...(error.next === undefined ? [] : [error.next.replace(/(?<![.!?])$/, '.')]), ...elsewhere].join(' '),
    cause,
  })
}

export function describeOrigin(origin: Origin): string {
  if (origin.from === 'command line') return 'the command line'
  if (origin.from === 'environment') return `$${origin.variable}`
  return origin.line === undefined ? origin.path : `${origin.path}:${origin.line}`
}
