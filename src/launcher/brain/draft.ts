import type { OrderType, SocketName } from '../../protocol.js'
import type { BrainOrder, Effect, LogFields, TimerId } from './events.js'
import { type Generation, type Listener, newWorker, type State, type Worker } from './state.js'

/** Longest wait for the answer to an order. A worker that stays silent longer is taken for stuck (reliability.md §2.12). */
export const ORDER_TIMEOUT_MS = 2_000

/** One step in the making: a state that may be changed, and the effects so far. The small verbs all rules are written with. */
export class Draft {
  readonly state: State
  readonly at: number
  readonly effects: Effect[] = []
  readonly last: Effect[] = []

  constructor(state: State, at: number) {
    this.state = state
    this.at = at
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  get workers(): Worker[] {
    return Object.values(this.state.workers)
  }

  get listeners(): Listener[] {
    return Object.values(this.state.listeners)
  }

  /** Workers of a generation whose process lives, in slot order. */
  of(generation: number | null): Worker[] {
    return this.workers
      .filter((worker) => worker.generation === generation && isOurs(worker))
      .sort((a, b) => a.slot - b.slot)
  }

  /** Living workers of the working generation of their slot, in slot order. */
  get members(): Worker[] {
    return this.workers
      .filter((worker) => worker.generation === this.state.slots[worker.slot]?.working && isOurs(worker))
      .sort((a, b) => a.slot - b.slot)
  }

  /** The living worker of a slot in a generation, unless it is on its way out; one that drains only if there is no other. */
  inSlot(generation: number | null, slot: number): Worker | undefined {
    const there = this.of(generation).filter((worker) => worker.slot === slot && worker.state !== 'stopping')
    return there.find(({ state }) => state !== 'draining') ?? there[0]
  }

  generation(number: number): Generation {
    return this.state.generations[number] as Generation
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  do(effect: Effect): void {
    this.effects.push(effect)
  }

  /** When all else of this step is done: whoever hears of it may rely on it. */
  afterwards(effect: Effect): void {
    this.last.push(effect)
  }

  /** `when`: in the order of the effects, or afterwards. */
  log(level: 'info' | 'warn' | 'error', event: string, fields: LogFields = {}, when: 'now' | 'last' = 'now'): void {
    const effect: Effect = { do: 'log', level, event, fields }
    if (when === 'now') this.do(effect)
    else this.afterwards(effect)
  }

  timer(id: TimerId, ms: number): void {
    this.do({ do: 'timer', id, ms })
  }

  cancel(id: TimerId): void {
    this.do({ do: 'cancel', id })
  }

  /** Starts a worker in a slot of a generation. It must be ready before `readyTimeoutMs` has passed. */
  spawn(generation: number, slot: number, role: Worker['role']): Worker {
    const id = this.state.next.worker++
    const worker = newWorker({ id, slot, generation, role })
    this.state.workers[id] = worker
    this.do({ do: 'spawn', worker: id, slot, generation, expendable: role !== 'first' })
    this.timer(`ready:${id}`, this.state.settings.readyTimeoutMs)
    return worker
  }

  /** Gives an order, and its number; it must be answered within ORDER_TIMEOUT_MS. */
  order(worker: Worker, order: BrainOrder): number {
    const seq = this.state.next.seq++
    worker.orders[seq] = order.type
    const effect: Effect = { do: 'order', worker: worker.id, seq, order }
    // It takes an acceptor away: by then whoever takes its place has been told to, also if this launcher is killed in between.
    if (order.type === 'drain') this.afterwards(effect)
    else this.do(effect)
    this.timer(`order:${worker.id}:${seq}`, ORDER_TIMEOUT_MS)
    return seq
  }

  /** Whether an order of this type is still unanswered. */
  awaits(worker: Worker, type: OrderType): boolean {
    return Object.values(worker.orders).includes(type)
  }

  /**
   * Whether connections may be in its hands: it serves or has served, or may have done the order to serve and not said so yet, or nobody
   * holds it.
   */
  mayAccept(worker: Worker): boolean {
    const { state } = worker
    return (
      !this.state.settings.agent ||
      state === 'serving' ||
      state === 'paused' ||
      state === 'draining' ||
      this.awaits(worker, 'admit')
    )
  }

  /** The stop signal, and SIGKILL when `killAfterMs` has passed. */
  terminate(worker: Worker): void {
    worker.state = 'stopping'
    this.cancel(`drain:${worker.id}`)
    this.do({ do: 'terminate', worker: worker.id })
    this.timer(`kill:${worker.id}`, this.state.settings.killAfterMs)
  }

  /**
   * SIGKILL at once: for workers that serve nobody, or that did not heed the stop signal. One that serves nobody only as far as we know,
   * since nobody holds it, may finish what it has. `failure`: what it did wrong, if it did.
   */
  kill(worker: Worker, failure: string | null): void {
    worker.failure ??= failure
    this.cancel(`ready:${worker.id}`)
    const isNew = worker.state === 'spawned' || worker.state === 'claimed' || worker.state === 'ready'
    if (isNew && !this.state.settings.agent && this.state.stop?.pressure !== 'kill') return this.drain(worker, false)
    worker.state = 'stopping'
    this.do({ do: 'kill', worker: worker.id })
  }

  /** `last`: nobody takes its place, so it accepts what waits for it before. */
  drain(worker: Worker, last: boolean): void {
    const { drainTimeoutMs: deadlineMs, websocket, drainSpreadMs: spreadMs } = this.state.settings
    worker.state = 'draining'
    worker.drainsSince = this.at
    // A health check is a connection too, and a drain waits for those to end.
    if (this.state.settings.liveness) this.do({ do: 'unprobe', worker: worker.id })
    this.order(worker, { type: 'drain', deadlineMs, last, websocket, spreadMs })
    // The worker keeps the deadline itself and reports what it had to cut. This one is for a worker that cannot.
    this.timer(`drain:${worker.id}`, deadlineMs + ORDER_TIMEOUT_MS)
  }
}

/** Its process lives, and it has a place: a latecomer only finishes what it has. */
function isOurs({ state, role }: Worker): boolean {
  return state !== 'exited' && role !== 'latecomer'
}

export function socketId({ listener, slot }: SocketName): string {
  return `${slot} ${listener}`
}
