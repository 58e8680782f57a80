import type { Bucket } from './buckets.js'
import { monotonicMs } from './clock.js'

/** What became of one request. */
export interface Outcome {
  readonly bucket: Bucket
  /** Error code, or what is wrong with the response; null when ok. */
  readonly reason: string | null
  readonly status: number | null
  readonly ms: number
  /** When it ended (`monotonicMs`). */
  readonly at: number
  readonly localPort: number | null
  /** 1 for the first request on its connection. */
  readonly nth: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** The server did something to a connection, unannounced, while no request was in hand. */
export interface IdleEvent {
  /** `unasked-bytes`: it sent what belongs to no request (two processes that answer on one connection would). */
  readonly kind: 'closed' | 'unasked-bytes'
  readonly reason: string
  readonly at: number
  readonly localPort: number
  /** Requests that the connection had carried. */
  readonly requests: number
}

/**
 * How the server may end a connection of a client that has asked for it to stay open. `never`: HTTP/1.1 without TLS, which moves to
 * the new version. `politely`: with its protocol's own words. `anyhow`: also without a word, between two requests.
 */
export type Ends = 'never' | 'politely' | 'anyhow'

/** An outcome of which less is known than of an HTTP/1.1 request. */
export function outcomeOf(
  bucket: Bucket,
  reason: string | null,
  began: number,
  known: Partial<Pick<Outcome, 'status' | 'localPort' | 'nth' | 'bytesSent' | 'bytesReceived'>>,
): Outcome {
  const at = monotonicMs()
  const unknown = { status: null, localPort: null, nth: 1, bytesSent: 0, bytesReceived: 0 }
  return { bucket, reason, ms: at - began, at, ...unknown, ...known }
}
