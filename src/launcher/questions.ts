import type { Log } from '../log.js'
import { type Native, native } from '../native.js'
import { isDatagram, type ListenerKey } from '../protocol.js'
import type { HandAnswer } from './agents.js'
import type { Ack, Nack, Pending } from './pending.js'
import type { WorkerChannel } from './worker-channel.js'

/** Whoever asks for the status does not wait longer for a worker that is busy. */
const COUNT_MS = 200

/** What the hands ask of workers themselves, beside the brain's orders. */
export class Questions {
  readonly #native: Native = native()
  readonly #pending: Pending
  readonly #of: (worker: number) => WorkerChannel[]
  readonly #standing: (worker: number) => { generation: number; slot: number } | null
  readonly #log: Log

  constructor(options: {
    pending: Pending
    of: (worker: number) => WorkerChannel[]
    standing: (worker: number) => { generation: number; slot: number } | null
    log: Log
  }) {
    this.#pending = options.pending
    this.#of = options.of
    this.#standing = options.standing
    this.#log = options.log
  }

  /**
   * Gives a worker a connection that nobody else has: to the server on `port`, or to the one that it opened first. The descriptor stays
   * the caller's. `answered` is called once, unless what is returned is called before.
   */
  hand(worker: number, port: number | undefined, fd: number, answered: (answer: HandAnswer) => void): () => void {
    const found = this.#of(worker).flatMap((channel) =>
      [...channel.claims.values()].map((listener) => ({ channel, listener })),
    )
    const asked = found.find(({ listener }) => (port === undefined ? !isDatagram(listener) : isOnPort(listener, port)))
    if (asked === undefined) {
      const where = port === undefined ? 'anywhere' : `on port ${port}`
      const soon = setImmediate(() => answered({ error: `it does not listen ${where}` }))
      return () => clearImmediate(soon)
    }
    const { channel, listener } = asked
    return this.#pending.ask(channel, { type: 'probe', listener, fds: ['probe'] }, [fd], (answer) => {
      if (answer?.type === 'ack') answered({ speaks: answer.result?.speaks ?? 'tcp' })
      else answered({ error: answer?.message ?? 'it has closed its channel' })
    })
  }

  /**
   * A pair of sockets between two workers, for a listener of both; no end stays here. The receiver gets its end first: when it cannot take
   * it, the sender finds the other end closed.
   */
  layLane(listener: ListenerKey, from: number, to: number): void {
    const [sender, receiver] = [from, to].map((worker) =>
      this.#of(worker).find(({ claims }) => [...claims.values()].includes(listener)),
    )
    if (sender === undefined || receiver === undefined) return
    let ends: readonly number[] = []
    try {
      const [out, into] = this.#native.socketPair()
      ends = [out, into]
      this.#giveLane(receiver, { type: 'receive', listener }, into)
      this.#giveLane(sender, { type: 'migrate', listener }, out)
    } catch (error) {
      // EMFILE: they are drained as without.
      this.#log('warn', 'lane.failed', { address: listener, reason: (error as Error).message })
    } finally {
      for (const fd of ends) this.#native.close(fd)
    }
  }

  #giveLane(channel: WorkerChannel, order: { type: 'receive' | 'migrate'; listener: ListenerKey }, end: number): void {
    const tell = (answer: Ack | Nack | null): void => {
      if (answer?.type !== 'nack') return
      const { slot, generation } = this.#standing(channel.process?.worker ?? -1) ?? {}
      const { code, message: reason } = answer
      this.#log('warn', 'lane.refused', { slot, generation, pid: channel.peer.pid, order: order.type, code, reason })
    }
    this.#pending.ask(channel, { ...order, fds: ['lane'] }, [end], tell)
  }

  /** Open connections of each worker, over all of its threads; null: one of them has not answered at once. */
  async connections(channels: readonly WorkerChannel[]): Promise<Map<number, number | null>> {
    const sums = new Map<number, number | null>()
    const asked = channels.flatMap((channel) =>
      channel.process === null ? [] : { channel, worker: channel.process.worker },
    )
    const counts = await Promise.all(asked.map(({ channel }) => this.#openOf(channel)))
    for (const [index, { worker }] of asked.entries()) {
      const [sum = 0, count = null] = [sums.get(worker), counts[index]]
      sums.set(worker, sum === null || count === null ? null : sum + count)
    }
    return sums
  }

  #openOf(channel: WorkerChannel): Promise<number | null> {
    if (channel.heartbeat.isLost) return Promise.resolve(null)
    return new Promise((done) => {
      const forget = this.#pending.ask(channel, { type: 'connections' }, [], (answer) => {
        clearTimeout(late)
        done(answer?.type === 'ack' ? (answer.result?.connections ?? null) : null)
      })
      const late = setTimeout(() => {
        forget()
        done(null)
      }, COUNT_MS)
    })
  }

  /**
   * Gives the program the message that it would get from PM2. `answered` is called once: whether it listens for messages at all, which
   * means that it is to end by itself.
   */
  shutdown(worker: number, answered: (heard: boolean) => void): void {
    const channel = this.#of(worker).find(({ isFirst }) => isFirst)
    if (channel === undefined) return answered(false)
    this.#pending.ask(channel, { type: 'shutdown' }, [], (answer) =>
      answered(answer?.type === 'ack' && answer.result?.heard === true),
    )
  }
}

function isOnPort(listener: ListenerKey, port: number): boolean {
  return listener.startsWith('tcp ') && new RegExp(`:${port}( ipv6only)?$`).test(listener)
}
