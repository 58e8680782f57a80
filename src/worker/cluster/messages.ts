import type { DrainOutcome, Held, Speaks } from '../../protocol.js'

/**
 * Between a primary of node:cluster and its children, over the channel that they have. Node gives the program no message whose `cmd` begins
 * with "NODE_": they are 'internalMessage' events. The channel keeps the order, also with what node:cluster itself sends.
 */
export const CMD = 'NODE_REUSEPORT_RUN'

/** From the primary. Each is answered with the same `seq`. */
export type Ask = { readonly cmd: typeof CMD; readonly seq: number } & (
  | { readonly ask: 'count' }
  /** How a connection to this port, or unix path, is to be spoken to. */
  | { readonly ask: 'speaks'; readonly where: number | string }
  | { readonly ask: 'drain'; readonly deadlineMs: number; readonly spreadMs: number | null }
  | { readonly ask: 'resume' }
)

export interface Answer {
  readonly cmd: typeof CMD
  readonly seq: number
  /** Connections given to it since it was first asked, and open now. */
  readonly taken: number
  readonly open: number
  readonly speaks: Speaks | null
}

/** From a child, while it drains. */
export type Tell = { readonly cmd: typeof CMD } & (
  | { readonly tell: 'drained'; readonly outcome: DrainOutcome }
  | { readonly tell: 'held'; readonly held: Held }
  | { readonly tell: 'closed-early'; readonly call: string; readonly cut: number; readonly open: number }
)

/** What node:cluster tells a child about a connection that is its own now. */
export function isConnection(message: unknown): boolean {
  const { cmd, act } = (message ?? {}) as { cmd?: unknown; act?: unknown }
  return cmd === 'NODE_CLUSTER' && act === 'newconn'
}

export function isOurs(message: unknown): boolean {
  return (message as { cmd?: unknown } | null)?.cmd === CMD
}
