import {
  CONNECTION_KINDS,
  type ListenAddress,
  MAX_CUT_PATH,
  MAX_CUT_REQUESTS,
  type Rejoin,
  type Report,
  type Speaks,
  TIME_BUCKETS,
} from '../protocol.js'

/**
 * A message of a worker as it may be believed: the program shares the process of the agent that speaks for it, so what arrives here is
 * input. Throws what is wrong with it. A `type` that is not known passes: it is answered with `unknown`.
 */
export function parseReport(data: Buffer): Report {
  const report: unknown = JSON.parse(data.toString('utf8'))
  if (!isRecord(report) || typeof report['type'] !== 'string') throw new Error('it has no type')
  const check = Object.hasOwn(CHECKS, report['type']) ? CHECKS[report['type'] as Report['type']] : undefined
  if (check !== undefined && !check(report)) throw new Error(`it is no ${report['type']} of this version`)
  return cut(report) as unknown as Report
}

/** What goes into a log, a verdict or a status of what a worker says in its own words: characters. */
const MOST_TEXT = 4_096

function cut(report: Fields): Fields {
  const short = (value: unknown): unknown => (isText(value) ? value.slice(0, MOST_TEXT) : value)
  const { code, message, of } = report
  if (!isText(code) && !isText(message) && !isText(of)) return report
  return Object.fromEntries(Object.entries(report).map(([key, value]) => [key, short(value)]))
}

type Fields = Readonly<Record<string, unknown>>

const isNumber = Number.isSafeInteger as (value: unknown) => value is number
const isText = (value: unknown): value is string => typeof value === 'string'
const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null
const isCount = (value: unknown): boolean => isNumber(value) && value >= 0

const CHECKS: Readonly<Record<Report['type'], (report: Fields) => boolean>> = {
  // What is in a hello is judged with an answer that says why (Channels).
  hello: () => true,
  claim: ({ id, address, backlog, ready }) =>
    isNumber(id) && isAddress(address) && isNumber(backlog) && (ready === undefined || ready === 'program'),
  listening: ({ id }) => isNumber(id),
  ready: ({ id }) => id === undefined || isNumber(id),
  released: ({ id }) => isNumber(id),
  drained: ({ outcome }) => isOutcome(outcome),
  draining: ({ held }) =>
    isByKind(held, ({ open, oldestMs }) => isCount(open) && (oldestMs === null || isCount(oldestMs))),
  'closed-early': ({ call, cut, open }) => isText(call) && CALL.test(call) && isCount(cut) && isCount(open),
  ack: ({ seq, result }) => isNumber(seq) && (result === undefined || isResult(result)),
  answered: ({ connections, responses, errors, times }) =>
    (connections === undefined || isCount(connections)) &&
    isCount(responses) &&
    isCount(errors) &&
    (times === undefined || (Array.isArray(times) && times.length <= TIME_BUCKETS && times.every(isCount))),
  nack: ({ seq, code, message }) => isNumber(seq) && isText(code) && isText(message),
  sockets: ({ seq, fds }) => isNumber(seq) && isSocketNames(fds),
  warning: ({ code, message }) => isText(code) && isText(message),
  unknown: ({ of }) => isText(of),
}

/** It goes into a verdict, and from there to a terminal. */
const CALL = /^server\.\w{1,40}\(\)$/

const SPEAKS: readonly unknown[] = ['http', 'https', 'h2', 'h2c', 'tls', 'tcp'] satisfies Speaks[]

function isResult(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { speaks, connections, requests, heard } = value
  return (
    (speaks === undefined || SPEAKS.includes(speaks)) &&
    (connections === undefined || isCount(connections)) &&
    (requests === undefined || isCount(requests)) &&
    (heard === undefined || typeof heard === 'boolean')
  )
}

function isOutcome(value: unknown): boolean {
  if (!isRecord(value) || !isFates(value)) return false
  const { moved, kinds, requests, moreRequests, early } = value
  return (
    (moved === undefined || isCount(moved)) &&
    (kinds === undefined || isByKind(kinds, (one) => isFates(one) && isCount(one['moved']))) &&
    (requests === undefined ||
      (Array.isArray(requests) && requests.length <= MAX_CUT_REQUESTS && requests.every(isCutRequest))) &&
    (moreRequests === undefined || isCount(moreRequests)) &&
    (early === undefined || typeof early === 'boolean')
  )
}

function isFates(value: Fields): boolean {
  return ['ended', 'closed', 'cut'].every((key) => isCount(value[key]))
}

function isByKind(value: unknown, check: (one: Fields) => boolean): boolean {
  if (!isRecord(value)) return false
  const known: readonly string[] = CONNECTION_KINDS
  return Object.entries(value).every(([kind, one]) => known.includes(kind) && isRecord(one) && check(one))
}

function isCutRequest(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { kind, method, path, ageMs, bytesRead, bytesWritten } = value
  const known: readonly unknown[] = CONNECTION_KINDS
  const isShort = (text: unknown): boolean => isText(text) && text.length <= MAX_CUT_PATH
  return (
    known.includes(kind) &&
    isShort(method) &&
    isShort(path) &&
    (ageMs === null || isCount(ageMs)) &&
    isCount(bytesRead) &&
    isCount(bytesWritten)
  )
}

/** What a worker says of itself that had another launcher. */
export function isRejoin(value: unknown): value is Rejoin {
  if (!isRecord(value)) return false
  const { generation, slot, state, term, working, startedAt, claims, sockets, adopted } = value
  const known: readonly unknown[] = ['held', 'serving', 'paused', 'draining'] satisfies Rejoin['state'][]
  return (
    [generation, term, working, startedAt].every(isCount) &&
    isNumber(slot) &&
    slot >= -1 &&
    known.includes(state) &&
    Array.isArray(claims) &&
    claims.every(isRejoinClaim) &&
    isSocketNames(sockets) &&
    isSocketNames(adopted)
  )
}

function isRejoinClaim(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { id, address, backlog, listening, ready } = value
  const isReady = ready === undefined || ready === 'program' || ready === 'said'
  return isNumber(id) && isAddress(address) && isNumber(backlog) && typeof listening === 'boolean' && isReady
}

function isSocketNames(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => isRecord(one) && isText(one['listener']) && isCount(one['slot']))
}

function isAddress(value: unknown): value is ListenAddress {
  if (!isRecord(value)) return false
  const { kind, host, port, ipv6Only, path } = value
  if (kind === 'unix') return isText(path) && path.startsWith('/') && !path.includes('\0')
  const isPort = isNumber(port) && port >= 1 && port <= 65_535
  if (kind === 'udp' && !isText(host)) return false
  return (
    (kind === 'tcp' || kind === 'udp') && (host === null || isText(host)) && isPort && typeof ipv6Only === 'boolean'
  )
}
