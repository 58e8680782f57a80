import type { Native } from '../../native.js'
import type { Claim } from '../claim.js'
import type { Adopted } from './adopted.js'
import { Lane, type LanePacket } from './lane.js'

/** As many as the sender lets wait: each takes less than a millisecond. */
const READ_PER_TURN = 10
/** Making a socket of a connection takes Node 20-50 µs: so many in each turn of the event loop, our own clients wait as long. */
const GIVEN_PER_TURN = 50

interface Taken {
  readonly fd: number
  readonly leftMs: number | null
}

/** The other end of a lane: takes the idle connections of a worker that leaves into the server of one claim. */
export class Receiver {
  readonly #native: Native
  readonly #claim: Claim
  readonly #adopted: Adopted
  readonly #lane: Lane
  readonly #ended: (receiver: Receiver) => void
  /** Ours, and not the server's yet. */
  #waiting: Taken[] = []
  #isGiving = false
  #isOver = false

  /** Takes `fd`. `ended`: no more will come. */
  constructor(native: Native, claim: Claim, adopted: Adopted, fd: number, ended: (receiver: Receiver) => void) {
    this.#native = native
    this.#claim = claim
    this.#adopted = adopted
    this.#ended = ended
    this.#lane = new Lane(native, fd, () => this.#readSome())
  }

  /** What is not answered yet stays with the sender. */
  close(): void {
    for (const one of this.#waiting.splice(0)) this.#give(one)
    this.#end()
  }

  #end(): void {
    this.#lane.close()
    this.#isOver = true
    if (this.#waiting.length === 0) this.#ended(this)
  }

  /** An answer costs little, and the sender waits for it; what it has promised is done after it. */
  #readSome(): void {
    for (let batches = 0; batches < READ_PER_TURN; batches++) {
      const packet = this.#lane.receive()
      if (packet === 'empty') return
      if (packet === 'end' || !this.#take(packet)) return this.#end()
    }
  }

  /** False: the lane is over, or not to be trusted. */
  #take(packet: LanePacket): boolean {
    const { batch, leftMs } = (packet.message ?? {}) as { batch?: unknown; leftMs?: unknown }
    const isBatch = Number.isSafeInteger(batch) && Array.isArray(leftMs) && leftMs.every(isTime)
    if (!isBatch || (!packet.truncated && packet.fds.length !== leftMs.length)) {
      this.#native.closeAll(packet.fds)
      return false
    }
    const taken: Taken[] = []
    const refused: number[] = []
    for (const [index, left] of leftMs.entries()) {
      // Of a truncated packet every descriptor is lost; the sender has its copies.
      const before = this.#waiting.length + taken.length
      const fd = packet.truncated ? undefined : this.#accept(packet.fds[index] as number, before)
      if (fd === undefined) refused.push(index)
      else taken.push({ fd, leftMs: left })
    }
    // Not ours unless the sender can hear it: it has given us up then, and serves them itself.
    const isOurs = this.#lane.send({ batch: batch as number, refused })
    if (isOurs) this.#waiting.push(...taken)
    else for (const { fd } of taken) this.#native.close(fd)
    this.#giveSoon()
    return isOurs
  }

  #giveSoon(): void {
    if (this.#isGiving || this.#waiting.length === 0) return
    this.#isGiving = true
    setImmediate(() => {
      this.#isGiving = false
      for (const one of this.#waiting.splice(0, GIVEN_PER_TURN)) this.#give(one)
      if (this.#isOver && this.#waiting.length === 0) this.#ended(this)
      this.#giveSoon()
    })
  }

  /** undefined: it cannot be taken, and is closed. */
  #accept(fd: number, before: number): number | undefined {
    const { server } = this.#claim.facts
    // Node would accept and drop it. (0 means no limit to Node 20, and no connection to later ones.)
    const hasRoom = server.maxConnections == null || server._connections + before < server.maxConnections
    if (this.#claim.state !== 'released' && hasRoom && this.#isConnection(fd)) return fd
    this.#native.close(fd)
    return undefined
  }

  #isConnection(fd: number): boolean {
    try {
      return this.#native.getOption(fd, 'acceptConnections') === 0
    } catch {
      return false // ENOTSOCK
    }
  }

  #give({ fd, leftMs }: Taken): void {
    try {
      const socket = this.#claim.take(fd)
      if (socket !== undefined) this.#adopted.add(socket, this.#claim, leftMs)
    } catch (error) {
      // The program's, from its 'connection' listener: uncaught, as it would be if Node had accepted.
      process.nextTick(() => {
        throw error
      })
    }
  }
}

function isTime(value: unknown): value is number | null {
  return value === null || (typeof value === 'number' && value >= 0)
}
