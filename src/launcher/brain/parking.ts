import type { SocketName } from '../../protocol.js'
import type { Draft } from './draft.js'
import type { Event } from './events.js'
import type { Parked } from './state.js'
import { narrow } from './steering.js'

/**
 * The sockets of a slot that is no more. Closing a member of a reuseport group loses what is queued there, and every open handshake
 * (kernel.md §1). So they are *parked* first: steered away from, and accepted from by a sibling; then everybody is told to let go of his
 * copy; and when nobody has one, the launcher closes its own, which is the last. Without steering they stay parked.
 */

/** What a holder that is not ours, or a queue that is not empty, is looked at again after. */
const LOOK_AGAIN_MS = 1_000

export function park(draft: Draft, slot: number): void {
  const { parked, settings, steers } = draft.state
  closeBound(draft, slot)
  if (socketsOf(draft, slot).length === 0) return
  parked[slot] = { step: 'parked', isLookedAt: false, awaits: [], holders: [], isShared: false, error: null }
  draft.log('info', 'socket.parked', { slot, addresses: socketsOf(draft, slot).map(({ listener }) => listener) })
  if (steers) draft.timer(`park:${slot}`, settings.parkMs)
}

/** What never listened has nothing that could be lost. */
function closeBound(draft: Draft, slot: number): void {
  for (const { key, shared, sockets } of draft.listeners) {
    if (shared || sockets[slot] !== 'bound') continue
    delete sockets[slot]
    draft.do({ do: 'close', sockets: [{ listener: key, slot }] })
  }
}

/** The slot is wanted again. */
export function unpark(draft: Draft, slot: number): void {
  if (draft.state.parked[slot] === undefined) return
  delete draft.state.parked[slot]
  draft.cancel(`park:${slot}`)
}

/** Handshakes that had begun before are over. What waits, and who holds what, only the hands can see. */
export function parkOver(draft: Draft, slot: number): void {
  const parked = draft.state.parked[slot]
  if (parked === undefined) return
  if (hasCanary(draft)) draft.timer(`park:${slot}`, LOOK_AGAIN_MS)
  else look(draft, slot, parked)
}

/** Then nothing leaves a group: not even for the moment that it takes may a client of the canary come to another worker. */
function hasCanary({ state }: Draft): boolean {
  return state.run !== null && state.run.canary !== null
}

/** The kernel takes no program (seccomp, mostly). From now on nothing leaves its group: all is kept by adoption. */
export function steerFailed(draft: Draft, address: string, reason: string): void {
  if (!draft.state.steers) return
  draft.state.steers = false
  draft.log('warn', 'steering.refused', { address, reason })
  for (const [slot, parked] of Object.entries(draft.state.parked)) {
    begin(parked)
    draft.cancel(`park:${Number(slot)}`)
  }
}

/** `queued`: connections that wait in them. `holders`: processes that have a copy, but for the launcher. `isShared`: steering may miss. */
export function looked(draft: Draft, event: Extract<Event, { type: 'looked' }>): void {
  const { slot, queued, holders, isShared, error } = event
  const parked = draft.state.parked[slot]
  // What was seen before it was parked once more says nothing.
  if (parked === undefined || !parked.isLookedAt) return
  parked.isLookedAt = false
  const own = draft.workers.map(({ pid }) => pid)
  const strangers = holders.filter((pid) => parked.step !== 'parked' || !own.includes(pid))
  tellStrangers(draft, slot, strangers, isShared)
  if (error !== null && parked.error === null) draft.log('warn', 'socket.unseen', { slot, reason: error })
  parked.holders = [...strangers]
  parked.isShared = isShared
  parked.error = error
  if (queued > 0 || strangers.length > 0 || isShared || error !== null || hasCanary(draft)) {
    // Somebody accepts from them again meanwhile.
    parked.step = 'parked'
    draft.timer(`park:${slot}`, LOOK_AGAIN_MS)
  } else if (parked.step === 'parked') letGo(draft, slot)
  else close(draft, slot)
}

function tellStrangers(draft: Draft, slot: number, strangers: readonly number[], isShared: boolean): void {
  const known = draft.state.parked[slot]
  const news = strangers.filter((pid) => known?.holders.includes(pid) !== true)
  if (news.length > 0 || (isShared && known?.isShared !== true))
    draft.log('warn', 'socket.held', { slot, holders: news.map(String), shared: isShared })
}

/** Everybody who may have a copy: whoever speaks to us says when it is closed, and the end of a process closes all that it had. */
function letGo(draft: Draft, slot: number): void {
  const parked = draft.state.parked[slot]
  if (parked === undefined) return
  parked.step = 'letting-go'
  const sockets = socketsOf(draft, slot)
  for (const worker of draft.workers) {
    if (worker.state === 'spawned') continue
    if (worker.state === 'stopping' || worker.state === 'exited') {
      parked.awaits.push({ worker: worker.id, seq: null })
      continue
    }
    for (const listener of draft.listeners) {
      if (listener.adoptedBy[slot] !== worker.id) continue
      delete listener.adoptedBy[slot]
      const socket = { listener: listener.key, slot }
      parked.awaits.push({ worker: worker.id, seq: draft.order(worker, { type: 'unadopt', socket }) })
    }
    const gone = new Set(sockets.map((socket) => `${socket.slot} ${socket.listener}`))
    worker.spares = worker.spares.filter((spare) => !gone.has(spare))
    parked.awaits.push({ worker: worker.id, seq: draft.order(worker, { type: 'spares', add: [], drop: sockets }) })
  }
}

/** An order was answered, in whatever way: a holder that could not do it is found by the look. */
export function answeredOrder(draft: Draft, worker: number, seq: number): void {
  for (const parked of Object.values(draft.state.parked))
    parked.awaits = parked.awaits.filter((one) => one.worker !== worker || one.seq !== seq)
}

/** Settled after each event: once nobody is waited for, one more look says whether nobody is left. */
export function settleParking(draft: Draft): void {
  for (const [key, parked] of Object.entries(draft.state.parked)) {
    if (socketsOf(draft, Number(key)).length === 0) unpark(draft, Number(key))
    if (parked.step !== 'letting-go') continue
    parked.awaits = parked.awaits.filter(({ worker }) => draft.state.workers[worker] !== undefined)
    if (parked.awaits.length > 0) continue
    parked.step = 'let-go'
    look(draft, Number(key), parked)
  }
}

function close(draft: Draft, slot: number): void {
  const sockets = socketsOf(draft, slot)
  delete draft.state.parked[slot]
  for (const listener of draft.listeners) {
    if (listener.sockets[slot] === undefined) continue
    // What another parked socket may get in between is waited for like what it got before.
    if (listener.order.includes(slot) && !narrow(draft, listener, slot)) parkAgain(draft)
    draft.do({ do: 'close', sockets: [{ listener: listener.key, slot }] })
    delete listener.sockets[slot]
    delete listener.adoptedBy[slot]
    leaveOrder(listener.order, slot)
  }
  draft.log('info', 'socket.closed', { slot, addresses: sockets.map(({ listener }) => listener) })
}

function begin(parked: Parked): void {
  parked.step = 'parked'
  parked.isLookedAt = false
  parked.awaits = []
}

function look(draft: Draft, slot: number, parked: Parked): void {
  parked.isLookedAt = true
  draft.do({ do: 'look', slot, sockets: socketsOf(draft, slot) })
}

function parkAgain(draft: Draft): void {
  for (const [slot, parked] of Object.entries(draft.state.parked)) {
    begin(parked)
    draft.timer(`park:${Number(slot)}`, draft.state.settings.parkMs)
  }
}

/** The last one moves into the hole (kernel.md §3). */
export function leaveOrder(order: number[], slot: number): void {
  const index = order.indexOf(slot)
  if (index === -1) return
  const last = order.pop() as number
  if (index < order.length) order[index] = last
}

function socketsOf(draft: Draft, slot: number): SocketName[] {
  return draft.listeners.flatMap(({ key, shared, sockets }) =>
    !shared && sockets[slot] !== undefined ? [{ listener: key, slot }] : [],
  )
}
