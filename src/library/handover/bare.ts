import { native } from '../../native.js'
import type { Server } from '../../serving/handles.js'
import { StandIn } from '../../serving/stand-in.js'

/** Stands for a program that accepts by itself: it has the socket and accepts nothing. Its connections have ended when it is closed. */
export class BareServer extends StandIn {
  constructor() {
    super('tcp')
    this.count(1)
  }

  /** A copy of the socket, which is the caller's. */
  descriptor(): number {
    return native().dup((this as unknown as Server)._handle?.fd ?? -1)
  }

  override close(done?: (error?: Error) => void): this {
    this.count(0)
    return super.close(done)
  }
}
