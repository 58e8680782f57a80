import type { BrainOrder, Offered } from '../../src/launcher/brain/events.js'
import type { ListenAddress } from '../../src/protocol.js'

const ADDRESS: ListenAddress = { kind: 'tcp', host: null, port: 3000, ipv6Only: false }
const LISTENER = 'tcp *:3000'

/** What a worker of the simulated world knows of itself, as its agent does: all that is left of a launcher that dies. */
export class Remembered {
  readonly pid: number
  readonly generation: number
  slot: number
  state: Offered['state'] = 'held'
  term = 0
  working: number
  /** undefined: its program has not called listen() yet. */
  claim: { readonly says: boolean; said: boolean } | undefined
  readonly adopted = new Set<number>()
  hasDrained = false

  constructor(who: { pid: number; generation: number; slot: number }) {
    this.pid = who.pid
    this.generation = who.generation
    this.slot = who.slot
    this.working = who.generation
  }

  /** Of one that does what it is told. */
  did(order: BrainOrder): void {
    if (order.type === 'admit' || order.type === 'resume') this.state = 'serving'
    if (order.type === 'pause' && this.state !== 'draining') this.state = 'paused'
    if (order.type === 'drain') this.state = 'draining'
    if (order.type === 'pause' || order.type === 'drain') this.adopted.clear()
    if (order.type === 'term') Object.assign(this, { term: order.term, working: order.working })
    if (order.type === 'seat') this.slot = order.slot
    if (order.type === 'adopt') this.adopted.add(order.socket.slot)
    if (order.type === 'unadopt') this.adopted.delete(order.socket.slot)
    if (order.type === 'spares') for (const { slot } of order.drop) this.adopted.delete(slot)
  }

  /** As it offers itself to the next launcher. `slots`: of the sockets of which it has a copy. */
  offer(id: number, slots: readonly number[]): Offered {
    const { pid, generation, slot, state, term, working, claim } = this
    const name = (of: number): { listener: string; slot: number } => ({ listener: LISTENER, slot: of })
    return {
      offer: id,
      pid,
      generation,
      slot,
      state,
      term,
      working,
      claims: claim === undefined ? [] : [{ claim: '1:1', address: ADDRESS, backlog: 511, listening: true, ...claim }],
      sockets: slots.map(name),
      adopted: [...this.adopted].map(name),
    }
  }
}
