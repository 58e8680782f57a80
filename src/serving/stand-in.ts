import net from 'node:net'
import type { ConnectionKind } from '../protocol.js'

/**
 * Stands for what is no server of Node's and is drained like one. What it has in hand only its program knows, so that counts as one connection,
 * until the program says that it is over.
 */
export class StandIn extends net.Server {
  /** Of that connection. */
  readonly kind: ConnectionKind

  constructor(kind: ConnectionKind) {
    super()
    this.kind = kind
  }

  protected count(connections: 0 | 1): void {
    Object.assign(this, { _connections: connections })
  }
}
