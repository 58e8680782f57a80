/**
 * What can become of a request. Every request ends in exactly one bucket; nothing is retried and nothing is left out, so the sum
 * over the buckets is the number of requests that clients wanted answered.
 */
export const BUCKETS = [
  'ok',
  /**
   * Said by its protocol's own words to be unprocessed, sent once more, and answered then: an HTTP/2 stream that was refused
   * (REFUSED_STREAM, or above the last stream of a GOAWAY), a WebSocket message that crossed the server's close frame 1012.
   */
  'retried',
  /** Nobody listened: ECONNREFUSED. */
  'refused',
  /** Reset before the connection could be used: it waited in an accept queue that was closed. */
  'reset-connecting',
  'connect-timeout',
  /** Reset after (a part of) the request was written, whatever had been answered by then. */
  'reset-after-request',
  /** End of file where the response should have begun. */
  'closed-before-response',
  /** End of file in the middle of a response. (A reset that comes together with data can look so too: libuv's short cut for POLLHUP.) */
  'truncated',
  'response-timeout',
  /** 5xx, or another status than the first response to the same request had. */
  'bad-status',
  /** Not HTTP/1.1, a length that does not hold, or bytes after the end of a response. */
  'bad-body',
  /** An event of an event stream that came neither before nor after it was opened again with `Last-Event-ID`. */
  'lost-event',
  /** A WebSocket that ended with anything but a close frame 1012, an HTTP/2 connection without GOAWAY, with nothing in hand. */
  'unclean-end',
  /** The load client's own fault (no port left, no descriptor left): says nothing about the server, but proves nothing either. */
  'client-error',
] as const

export type Bucket = (typeof BUCKETS)[number]
export type BucketCounts = Record<Bucket, number>

export function noCounts(): BucketCounts {
  return Object.fromEntries(BUCKETS.map((bucket) => [bucket, 0])) as BucketCounts
}

/** "Lost" is everything that was not answered: there is no bucket for excuses. */
export function lostOf(counts: BucketCounts): number {
  return requestsOf(counts) - counts.ok - counts.retried
}

export type LostBucket = Exclude<Bucket, 'ok' | 'retried'>

export function isLost(bucket: Bucket): bucket is LostBucket {
  return bucket !== 'ok' && bucket !== 'retried'
}

export function requestsOf(counts: BucketCounts): number {
  return BUCKETS.reduce((sum, bucket) => sum + counts[bucket], 0)
}

export function bucketOfConnectError(code: string): Bucket {
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused'
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset-connecting'
    case 'ETIMEDOUT':
      return 'connect-timeout'
    default:
      return 'client-error'
  }
}

/** A socket error while a response was awaited; `responseBegun`: some of it had arrived. */
export function bucketOfRequestError(code: string, responseBegun: boolean): Bucket {
  switch (code) {
    case 'ECONNRESET':
      return 'reset-after-request'
    // The kernel says EPIPE where the server's end of file came first and its reset after: the close is the cause.
    case 'EPIPE':
      return responseBegun ? 'truncated' : 'closed-before-response'
    case 'ETIMEDOUT':
      return 'response-timeout'
    default:
      return 'client-error'
  }
}
