import type { ConnectionKind } from '../../protocol.js'

/** How one kind of connection of one server is ended politely. */
export interface ServerDrain {
  /** Of the connections that it closes. */
  readonly kind: ConnectionKind
  /** Everything that can be said to the clients at once. */
  begin(): void
  /** Looks at what is open now; closes what has been idle for long enough. Gives how many were closed. */
  sweep(now: number): number
  /** The deadline is near: what would be cut then is told to end, although it might have ended otherwise. */
  hurry?(): void
  /** The deadline: closes what is idle, however short. Gives how many were closed. */
  closeIdle(): number
  /** The deadline, for what can be told then, and not before. Gives those that may take a moment to end. */
  lastCall?(now: number): { readonly destroyed: boolean }[]
  /** The deadline, after that: ends what would otherwise end as if it were whole. */
  cut?(): void
  /** Takes out whatever it put into the program. */
  end(): void
}
