import type { Order, Report } from '../protocol.js'
import type { WorkerEvent } from './brain/events.js'
import type { WorkerChannel } from './worker-channel.js'

export type Ack = Extract<Report, { type: 'ack' }>
export type Nack = Extract<Report, { type: 'nack' }>

/** Omit that keeps a union a union. */
type Unnumbered<T> = T extends unknown ? Omit<T, 'seq'> : never
export type Question = Unnumbered<Order>

/** An order that waits for its answers. Without `tell` the brain gave it, and hears of them. */
interface Waiting {
  readonly worker: number
  readonly from: Set<WorkerChannel>
  /** Sum of what the answers said about open connections. */
  connections?: number
  /** Of one channel: what it says, or null when it has closed without an answer. */
  tell?: (answer: Ack | Nack | null) => void
}

/** Orders that are on their way: who has to answer them, and who hears of it. */
export class Pending {
  readonly #post: (event: WorkerEvent) => void
  readonly #waiting = new Map<number, Waiting>()
  /** Seqs of our own; the brain's count upwards from 1. */
  #nextSeq = -1

  constructor(post: (event: WorkerEvent) => void) {
    this.#post = post
  }

  /** An order of the brain, which hears of it when all of these channels have answered, or ended. */
  give(worker: number, order: Order, channels: readonly WorkerChannel[], fds: readonly number[]): void {
    const from = new Set(channels)
    this.#waiting.set(order.seq, { worker, from })
    for (const channel of channels) channel.send(order, fds)
    this.#settle(order.seq)
  }

  /** A question of our own to one channel. `tell` is called once, unless what is returned is called before. */
  ask(
    channel: WorkerChannel,
    question: Question,
    fds: readonly number[],
    tell: (answer: Ack | Nack | null) => void,
  ): () => void {
    const seq = this.#nextSeq--
    this.#waiting.set(seq, { worker: channel.process?.worker ?? -1, from: new Set([channel]), tell })
    channel.send({ ...question, seq }, fds)
    return () => {
      this.#waiting.delete(seq)
    }
  }

  answered(channel: WorkerChannel, report: Ack | Nack): void {
    const { seq } = report
    const order = this.#waiting.get(seq)
    // Only who was asked may answer.
    if (order === undefined || !order.from.delete(channel)) return
    if (order.tell === undefined && report.type === 'ack') {
      const connections = report.result?.connections
      if (connections !== undefined) order.connections = (order.connections ?? 0) + connections
      return this.#settle(seq)
    }
    this.#waiting.delete(seq)
    if (order.tell !== undefined) order.tell(report)
    else if (report.type === 'nack')
      this.#post({ type: 'refused', worker: order.worker, seq, code: report.code, message: report.message })
  }

  /** It answers nothing any more. */
  closed(channel: WorkerChannel): void {
    for (const [seq, order] of this.#waiting) if (order.from.delete(channel)) this.#settle(seq)
  }

  /** An order is answered when every channel that got it has answered; one that has closed meanwhile will not. */
  #settle(seq: number): void {
    const order = this.#waiting.get(seq)
    if (order === undefined || order.from.size > 0) return
    this.#waiting.delete(seq)
    if (order.tell !== undefined) order.tell(null)
    else {
      const { worker, connections } = order
      this.#post({ type: 'acked', worker, seq, ...(connections === undefined ? {} : { connections }) })
    }
  }
}
