import type { Log } from '../log.js'
import { type Native, native } from '../native.js'
import { isDatagram, type ListenerKey } from '../protocol.js'
import type { HandAnswer, Load } from './agents.js'
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

  /** What each worker has to do, over all of its threads. */
  async loads(channels: readonly WorkerChannel[], watchMs: number | undefined): Promise<Map<number, Load>> {
    const sums = new Map<number, Load>()
    const asked = channels.flatMap((channel) =>
      channel.process === null ? [] : { channel, worker: channel.process.worker },
    )
    const loads = await Promise.all(asked.map(({ channel }) => this.#loadOf(channel, watchMs)))
    for (const [index, { worker }] of asked.entries()) {
      const [sum, load] = [sums.get(worker), loads[index] ?? SILENT]
      sums.set(worker, sum === undefined ? load : addLoads(sum, load))
    }
    return sums
  }

  #loadOf(channel: WorkerChannel, watchMs: number | undefined): Promise<Load> {
    if (channel.heartbeat.isLost) return Promise.resolve(SILENT)
    const askedAt = performance.now()
    return new Promise((done) => {
      const question = { type: 'connections', ...(watchMs === undefined ? {} : { watchMs }) } as const
      const forget = this.#pending.ask(channel, question, [], (answer) => {
        clearTimeout(late)
        const result = answer?.type === 'ack' ? (answer.result ?? {}) : {}
        const lagMs = answer === null ? null : Number((performance.now() - askedAt).toFixed(1))
        done({ connections: result.connections ?? null, requests: result.requests ?? null, lagMs })
      })
      const late = setTimeout(() => {
        forget()
        done(SILENT)
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

const SILENT: Load = { connections: null, requests: null, lagMs: null }

/** Of two threads: what one of them has not said is not known of the worker. */
function addLoads(one: Load, other: Load): Load {
  const add = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : a + b)
  return {
    connections: add(one.connections, other.connections),
    requests: add(one.requests, other.requests),
    lagMs: one.lagMs === null || other.lagMs === null ? null : Math.max(one.lagMs, other.lagMs),
  }
}

function isOnPort(listener: ListenerKey, port: number): boolean {
  return listener.startsWith('tcp ') && new RegExp(`:${port}( ipv6only)?$`).test(listener)
}
