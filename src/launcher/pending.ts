import type { Order, Report } from '../protocol.js'
import type { WorkerEvent } from './brain/events.js'
import { type Check, fieldsOf, isWhole, listOf, orNull } from './shape.js'
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

export interface SavedPending {
  readonly nextSeq: number
  /** The brain's orders: by seq, with the channels that have not answered. */
  readonly orders: readonly {
    readonly seq: number
    readonly worker: number
    readonly from: readonly number[]
    readonly connections: number | null
  }[]
}
export const SAVED_PENDING: Check = fieldsOf({
  nextSeq: isWhole,
  orders: listOf(fieldsOf({ seq: isWhole, worker: isWhole, from: listOf(isWhole), connections: orNull(isWhole) })),
})

/** Orders that are on their way: who has to answer them, and who hears of it. */
export class Pending {
  readonly #post: (event: WorkerEvent) => void
  readonly #waiting = new Map<number, Waiting>()
  /** Seqs of our own; the brain's count upwards from 1. */
  #nextSeq: number

  constructor(post: (event: WorkerEvent) => void, nextSeq: number = -1) {
    this.#post = post
    this.#nextSeq = nextSeq
  }

  /** Whether something of our own waits for an answer. */
  get asks(): boolean {
    return [...this.#waiting.values()].some(({ tell }) => tell !== undefined)
  }

  /** As if whoever was asked something of our own had ended. */
  giveUpAsking(): void {
    for (const [seq, { tell }] of [...this.#waiting])
      if (tell !== undefined) {
        this.#waiting.delete(seq)
        tell(null)
      }
  }

  save(): SavedPending {
    const orders = [...this.#waiting].flatMap(([seq, { worker, from, connections, tell }]) =>
      tell === undefined ? { seq, worker, from: [...from].map(({ id }) => id), connections: connections ?? null } : [],
    )
    return { nextSeq: this.#nextSeq, orders }
  }

  resume({ orders }: SavedPending, channels: readonly WorkerChannel[]): void {
    for (const { seq, worker, from, connections } of orders) {
      const asked = new Set(channels.filter(({ id }) => from.includes(id)))
      this.#waiting.set(seq, { worker, from: asked, ...(connections === null ? {} : { connections }) })
    }
    // Of those whose channel is not there any more. Not before everybody is there to hear it.
    setImmediate(() => {
      for (const { seq } of orders) this.#settle(seq)
    })
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
