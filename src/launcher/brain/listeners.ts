import type { ListenAddress, ListenerKey, SocketName } from '../../protocol.js'
import { isDatagram, listenerKey } from '../../protocol.js'
import { type Draft, socketId } from './draft.js'
import type { OfferedClaim, WorkerEvent } from './events.js'
import { type Claim, type Listener, NO_SLOT, type State, type Worker } from './state.js'

/**
 * Who holds which socket: claims, spare copies, adoption, and the end of a listener.
 *
 * A slot's socket is made at the first claim and goes from generation to generation. The launcher's copy is closed only when nobody
 * owns the listener any more: so no accept queue is ever lost.
 */

type OfType<T extends WorkerEvent['type']> = Extract<WorkerEvent, { type: T }>

/** Sockets a worker keeps spare copies of: all of them, or above this many those of its next three slots only (design.md §4). */
const MOST_SPARES = 1_024
/** Descriptors in one spares order: under SCM_MAX_FD (253), with room to spare. */
const SPARES_PER_ORDER = 200
/** A worker that could not adopt a socket is asked again after. */
const ASK_AGAIN_MS = 1_000

export function claim(draft: Draft, worker: Worker, event: OfType<'claim'>): void {
  const { settings, listeners } = draft.state
  const { address, backlog } = event
  if (address.kind !== 'unix' && settings.ports !== undefined && !settings.ports.includes(address.port)) {
    draft.do({ do: 'answer', worker: worker.id, claim: event.claim, answer: { mode: 'unmanaged' } })
    return
  }
  const key = listenerKey(address)
  if (Object.values(worker.claims).some((other) => other.listener === key)) {
    // As in plain Node: one process cannot listen twice on an address. EADDRINUSE is 98 on every Linux.
    draft.do({
      do: 'answer',
      worker: worker.id,
      claim: event.claim,
      answer: { mode: 'failed', errno: -98, code: 'EADDRINUSE' },
    })
    return
  }
  const listener = listeners[key] ?? newListener(draft, address, backlog)
  listeners[key] = listener
  const { says = false } = event
  const asked: Claim = { listener: key, backlog, opened: false, listening: false, says, said: false }
  worker.claims[event.claim] = asked
  worker.says ||= says
  draft.do({
    do: 'open',
    worker: worker.id,
    claim: event.claim,
    listener: key,
    address,
    slot: socketSlot(listener, worker.slot),
    backlog,
    listen: goesLive(draft, worker, asked),
  })
}

/** One that ends and is opened again has sockets of its own. */
function newListener({ state: { settings, stored } }: Draft, address: ListenAddress, backlog: number): Listener {
  const key = listenerKey(address)
  const order = stored[key] ?? []
  delete stored[key]
  return {
    key,
    address,
    shared: address.kind === 'unix' || settings.given.includes(key),
    backlog,
    sockets: Object.fromEntries(order.map((slot) => [slot, 'listening'])),
    order: [...order],
    owners: [],
    awaitedBy: null,
    adoptedBy: {},
    weights: null,
    canary: null,
  }
}

/** What a worker of a launcher that is gone, or a thread that has come back, had claimed. Its socket is there. */
export function noteClaims(draft: Draft, worker: Worker, claims: readonly OfferedClaim[]): void {
  for (const { claim: id, address, backlog, listening, says, said } of claims) {
    const key = listenerKey(address)
    const listener = draft.state.listeners[key]
    if (listener === undefined) continue
    worker.claims[id] = { listener: key, backlog, opened: true, listening, says, said }
    worker.says ||= says
    const isOwner = worker.role !== 'latecomer'
    if (isOwner && !listener.owners.includes(worker.generation)) listener.owners.push(worker.generation)
  }
}

/**
 * A first worker of which nothing but 'listening' is wanted serves from its claim on, and so does a late claim of one that serves
 * already, and whatever cannot be held. All others are held, and whatever waits for its listener.ready().
 */
function goesLive(draft: Draft, worker: Worker, claim: Claim): boolean {
  if (!draft.state.settings.agent) return true
  if (isSilent(claim) || (worker.role === 'canary' && isShared(draft, claim.listener))) return false
  return worker.state === 'serving' || isLiveAtOnce(draft, worker)
}

/** Nothing but 'listening' is wanted of it. */
export function isLiveAtOnce({ state }: Draft, { role, says }: Worker): boolean {
  const { ready, probes, warms } = state.settings
  return role === 'first' && ready === 'listening' && !probes && !warms && !says
}

function isShared({ state }: Draft, key: ListenerKey): boolean {
  return state.listeners[key]?.shared === true
}

/** The program has not said yet that this listener of the library may accept. */
export function isSilent({ says, said }: Claim): boolean {
  return says && !said
}

/** A worker that has been admitted is told to accept: from all that it had, and what it has said to be ready since. */
export function acceptAgain(draft: Draft, worker: Worker): void {
  listenFor(draft, [worker])
  draft.order(worker, { type: 'resume', ...exceptFor(draft, worker) })
}

/** The one socket of a listener that all share cannot be shared out: a canary accepts nothing from it. */
function exceptFor(draft: Draft, { role, claims }: Worker): { except?: readonly ListenerKey[] } {
  if (role !== 'canary') return {}
  const except = Object.values(claims).flatMap(({ listener }) => (isShared(draft, listener) ? listener : []))
  return except.length === 0 ? {} : { except }
}

export function opened(draft: Draft, worker: Worker, event: OfType<'opened'>): void {
  const listener = draft.state.listeners[event.listener] as Listener
  const { slot } = event
  // Datagrams come from the bind on: until it has a worker of its own, a sibling reads them.
  noteSocket(listener, slot, event.listening || isDatagram(event.listener))
  if (!listener.owners.includes(worker.generation)) listener.owners.push(worker.generation)
  if (listener.awaitedBy === worker.generation) listener.awaitedBy = null
  const asked = worker.claims[event.claim]
  if (asked !== undefined) asked.opened = true
  const isLive = asked !== undefined && goesLive(draft, worker, asked)
  const mode = event.listening && isLive ? 'go' : 'hold'
  const lingerMs = draft.state.settings.udpLingerMs
  const answer = { mode, listener: event.listener, slot, lingerMs } as const
  draft.do({ do: 'answer', worker: worker.id, claim: event.claim, answer })
}

export function openFailed(draft: Draft, worker: Worker, event: OfType<'open-failed'>): void {
  delete worker.claims[event.claim]
  const listener = draft.state.listeners[event.listener]
  if (listener !== undefined && Object.keys(listener.sockets).length === 0) delete draft.state.listeners[event.listener]
  draft.log('error', 'listener.failed', {
    address: event.listener,
    slot: worker.slot,
    pid: worker.pid,
    code: event.code,
    reason: event.message,
  })
  // Shown as the reason if the program gives up over it.
  worker.lacks ??= event.message
  draft.do({
    do: 'answer',
    worker: worker.id,
    claim: event.claim,
    answer: { mode: 'failed', errno: event.errno, code: event.code },
  })
}

function noteSocket(listener: Listener, slot: number, listening: boolean): void {
  if (listening && !listener.order.includes(slot)) listener.order.push(slot)
  if (listener.sockets[slot] !== 'listening') listener.sockets[slot] = listening ? 'listening' : 'bound'
}

/** The sockets of these workers' claims that do not listen yet begin to, in slot order, before the workers are told to go. */
function listenFor(draft: Draft, workers: readonly Worker[]): void {
  for (const worker of workers) {
    for (const claim of Object.values(worker.claims)) {
      if (isSilent(claim)) continue
      const { listener: key, backlog } = claim
      const listener = draft.state.listeners[key]
      if (listener === undefined) continue
      const slot = socketSlot(listener, worker.slot)
      if (listener.sockets[slot] !== 'bound') continue
      noteSocket(listener, slot, true)
      draft.do({ do: 'listen', worker: worker.id, listener: key, slot, backlog })
    }
  }
}

/** The kernel has not let it: it is no member of its group, and those that came after it are one index lower. */
export function neverListened(draft: Draft, worker: Worker, key: ListenerKey): void {
  const listener = draft.state.listeners[key]
  if (listener === undefined) return
  const slot = socketSlot(listener, worker.slot)
  if (listener.sockets[slot] === undefined) return
  listener.sockets[slot] = 'bound'
  listener.order = listener.order.filter((other) => other !== slot)
}

/** Held workers that have proven themselves are told to serve, on sockets that listen. */
export function admit(draft: Draft, workers: readonly Worker[]): void {
  const held = workers.filter((worker) => !draft.awaits(worker, 'admit'))
  listenFor(draft, held)
  for (const worker of held) draft.order(worker, { type: 'admit', ...exceptFor(draft, worker) })
}

export function released(draft: Draft, worker: Worker, event: OfType<'released'>): void {
  const claim = worker.claims[event.claim]
  if (claim === undefined) return
  delete worker.claims[event.claim]
  const claimedStill = draft
    .of(worker.generation)
    .some((sibling) => sibling.slot !== NO_SLOT && hasClaim(sibling, claim.listener))
  if (!claimedStill) disown(draft.state, worker.generation, claim.listener)
}

/**
 * The new working generation owns what the old one listened on, claimed or not: a late listener is not demanded of a candidate, and comes
 * late again. Until then its queue waits, for as long as a worker may take to get ready.
 */
export function inherit(draft: Draft, from: number, to: number): void {
  const late = draft.listeners.filter(({ owners }) => owners.includes(from) && !owners.includes(to))
  for (const listener of late) {
    listener.owners.push(to)
    listener.awaitedBy = to
  }
  if (late.length > 0) draft.timer(`late:${to}`, draft.state.settings.readyTimeoutMs)
}

/** What this generation has not claimed by now it does not want: clients are refused, as in plain Node. */
export function inheritanceOver(draft: Draft, generation: number): void {
  for (const { key, awaitedBy } of draft.listeners) {
    if (awaitedBy !== generation) continue
    draft.log('warn', 'listener.unclaimed', { address: key, generation })
    disown(draft.state, generation, key)
  }
}

/** A generation that has ended, or was given up, owns nothing any more. */
export function disownAll(draft: Draft, generation: number): void {
  for (const { key } of draft.listeners) disown(draft.state, generation, key)
}

/** What only workers of slots that are gone listened on ends with them, as if the program had closed it: nobody would come for its queue. */
export function disownGone(draft: Draft): void {
  const { slots, working } = draft.state
  const isOfAll = ({ shared, awaitedBy, sockets, key }: Listener): boolean =>
    shared
      ? awaitedBy !== null || draft.members.some((worker) => hasClaim(worker, key))
      : Object.keys(sockets).some((slot) => Number(slot) < slots.length)
  for (const listener of draft.listeners)
    if (working !== null && !isOfAll(listener)) disown(draft.state, working, listener.key)
}

function disown(state: State, generation: number, key: ListenerKey): void {
  const listener = state.listeners[key]
  if (listener === undefined) return
  listener.owners = listener.owners.filter((owner) => owner !== generation)
  if (listener.awaitedBy === generation) listener.awaitedBy = null
  const record = state.generations[generation]
  if (record !== undefined) record.listeners = record.listeners.filter((other) => other !== key)
}

/** Settled after each event: listeners that nobody owns end, every queue has an acceptor, every worker has its spare copies. */
export function settleListeners(draft: Draft): void {
  dropUnowned(draft)
  cover(draft)
  spread(draft)
}

/** A listener is dropped everywhere once the generations that claimed it have released it or have ended. */
function dropUnowned(draft: Draft): void {
  for (const listener of draft.listeners) {
    if (listener.owners.length > 0 || isBeingOpened(draft, listener.key)) continue
    delete draft.state.listeners[listener.key]
    const sockets = Object.keys(listener.sockets).map((slot) => ({ listener: listener.key, slot: Number(slot) }))
    if (sockets.length === 0) continue
    draft.do({ do: 'close', sockets })
    draft.log('info', 'listener.dropped', { address: listener.key })
  }
}

function isBeingOpened(draft: Draft, key: ListenerKey): boolean {
  return draft.workers.some((worker) =>
    Object.values(worker.claims).some((claim) => claim.listener === key && !claim.opened),
  )
}

/**
 * The socket of a slot whose own worker does not accept (dead, stuck before ready, or its server closed) is adopted by the sibling that
 * has adopted the fewest; it is given back as soon as the slot's own worker serves. With nobody to adopt it the queue waits.
 */
function cover(draft: Draft): void {
  const { phase, run, settings } = draft.state
  if (phase !== 'running' || !settings.agent) return
  const { members } = draft
  // In a handover both generations hold the same sockets and one of them always accepts.
  const between = run?.step === 'handover' && !run.committed ? run.batch : []
  const stopgaps = draft.workers.filter(({ isStopgap }) => isStopgap === true)
  const holderOf = (id: number | undefined): Worker | undefined =>
    draft.workers.find((worker) => worker.id === id && hasChannel(worker))
  // Once for each worker: with a thousand listeners, each event would look through all claims for each of them.
  const keys = new Map(members.map((worker) => [worker, keysOf(worker)]))
  for (const listener of draft.listeners) {
    if (listener.shared) continue
    const listening = members.filter((worker) => keys.get(worker)?.has(listener.key))
    // Told to resume is as good as accepting: its queue waits no longer than an order takes, and further orders come after that one.
    const serving = listening.filter((worker) => worker.state === 'serving' && !draft.awaits(worker, 'pause'))
    const awake = [...serving.filter((worker) => !worker.stuck), ...listening.filter(isResuming)]
    // Those that stand still are better than none: they will find the order. But nothing is taken from one for another. The only ones left
    // may be the new ones of a handover that is not complete (with 'rolling'), or of one that was undone.
    const fresh = between.flatMap((slot) => draft.inSlot(run?.to ?? -1, slot) ?? [])
    const others = [...fresh, ...stopgaps].filter(isAwake(listener))
    const acceptors = [awake, serving, others].find((some) => some.length > 0) ?? []
    const own = (slot: number): boolean => acceptors.some((worker) => worker.slot === slot) || isCanarys(draft, slot)
    for (const slot of listener.order) {
      const isLeft = draft.state.parked[slot] !== undefined && draft.state.parked[slot].step !== 'parked'
      if (isLeft || between.includes(slot)) continue
      const adopterId = listener.adoptedBy[slot]
      const adopter = acceptors.find((worker) => worker.id === adopterId)
      if (own(slot) && (awake.length > 0 || adopter === undefined)) {
        const holder = holderOf(adopterId)
        if (holder !== undefined) draft.order(holder, { type: 'unadopt', socket: { listener: listener.key, slot } })
        delete listener.adoptedBy[slot]
      } else if (adopter === undefined) {
        const sibling = leastBurdened(acceptors, listener)
        if (sibling === undefined) continue
        const still = holderOf(adopterId)
        if (still !== undefined) draft.order(still, { type: 'unadopt', socket: { listener: listener.key, slot } })
        listener.adoptedBy[slot] = sibling.id
        const socket = { listener: listener.key, slot }
        sibling.adopts[draft.order(sibling, { type: 'adopt', socket })] = socket
        draft.log('info', 'socket.adopted', { address: listener.key, slot, by: sibling.slot, pid: sibling.pid })
      }
    }
  }
}

function isAwake({ key }: Listener): (worker: Worker) => boolean {
  return (worker) => worker.state === 'serving' && !worker.stuck && listensOn(worker, key)
}

/** Nobody is sent to the socket of a canary before it accepts, and nobody else accepts from it while it is there. */
function isCanarys(draft: Draft, slot: number): boolean {
  const isThere = (worker: Worker): boolean => worker.state === 'serving' || draft.awaits(worker, 'admit')
  return draft.workers.some((worker) => worker.role === 'canary' && worker.slot === slot && isThere(worker))
}

/** Whether it may have adopted something, or will when it finds the order. */
function hasChannel({ state }: Worker): boolean {
  return state === 'serving' || state === 'paused'
}

/** Its last word from us was to resume: it may have been told to pause before that, or after. */
export function isResuming(worker: Worker): boolean {
  const told = Object.entries(worker.orders).filter(([, type]) => type === 'pause' || type === 'resume')
  return hasChannel(worker) && !worker.stuck && told.at(-1)?.[1] === 'resume'
}

function leastBurdened(acceptors: readonly Worker[], listener: Listener): Worker | undefined {
  const burden = (worker: Worker): number => Object.values(listener.adoptedBy).filter((id) => id === worker.id).length
  return acceptors.filter(({ isFull }) => !isFull).sort((a, b) => burden(a) - burden(b) || a.slot - b.slot)[0]
}

/** It cannot have this socket (no descriptor is left, mostly): another one is asked, and this one not for a while. */
export function adoptRefused(draft: Draft, worker: Worker, { listener: key, slot }: SocketName): void {
  const listener = draft.state.listeners[key]
  if (listener?.adoptedBy[slot] !== worker.id) return
  delete listener.adoptedBy[slot]
  worker.isFull = true
  draft.timer(`full:${worker.id}`, ASK_AGAIN_MS)
}

/** What a worker had adopted is given up with its pause: the order says so to the worker, this to us. */
export function forgetAdoptions(draft: Draft, worker: Worker): void {
  for (const listener of draft.listeners)
    for (const [slot, id] of Object.entries(listener.adoptedBy))
      if (id === worker.id) delete listener.adoptedBy[Number(slot)]
}

/** Every worker that speaks to us keeps a copy of every socket, so that launcher and one worker killed together lose nothing. */
function spread(draft: Draft): void {
  const { phase, parked, settings } = draft.state
  if (!settings.agent) return
  const isKept = ({ slot }: SocketName): boolean => parked[slot] === undefined || parked[slot].step === 'parked'
  const sockets = phase === 'running' || phase === 'starting' ? allSockets(draft.listeners).filter(isKept) : []
  const all = sockets.map(socketId)
  for (const worker of draft.workers) {
    if (!speaks(worker) || worker.role === 'latecomer' || isSame(worker.spares, all)) continue
    const wanted =
      sockets.length <= MOST_SPARES
        ? sockets
        : sockets.filter((socket) => isNear(socket, worker, draft.state.slots.length))
    const ids = new Set(wanted.map(socketId))
    const has = new Set(worker.spares)
    const add = wanted.filter((socket) => !has.has(socketId(socket))).slice(0, SPARES_PER_ORDER)
    const drop = worker.spares.filter((id) => !ids.has(id)).map(parseSocketId)
    if (add.length === 0 && drop.length === 0) continue
    for (const socket of add) has.add(socketId(socket))
    // In the order of `all`, and never changed: with hundreds of slots most steps have nothing to do here but to see that.
    worker.spares = Object.freeze([...ids].filter((id) => has.has(id)))
    draft.order(worker, { type: 'spares', add, drop })
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index])
}

/** Whether orders reach it: its agent has introduced itself, and it is not on its way out. */
function speaks(worker: Worker): boolean {
  return worker.state !== 'spawned' && worker.state !== 'stopping' && worker.state !== 'exited'
}

function isNear(socket: SocketName, worker: Worker, slots: number): boolean {
  const distance = (socket.slot - worker.slot + slots) % slots
  return distance >= 1 && distance <= 3
}

export function allSockets(listeners: readonly Listener[]): SocketName[] {
  return listeners.flatMap(({ key, sockets }) =>
    Object.keys(sockets).map((slot) => ({ listener: key, slot: Number(slot) })),
  )
}

function parseSocketId(id: string): SocketName {
  const space = id.indexOf(' ')
  return { slot: Number(id.slice(0, space)), listener: id.slice(space + 1) }
}

export function hasClaim(worker: Worker, key: ListenerKey): boolean {
  return worker.state !== 'exited' && Object.values(worker.claims).some((claim) => claim.listener === key)
}

export function listensOn(worker: Worker, key: ListenerKey): boolean {
  return Object.values(worker.claims).some((claim) => claim.listener === key && isOpen(claim))
}

/** What it listens on: for whoever asks of every listener. */
function keysOf({ claims }: Worker): ReadonlySet<ListenerKey> {
  return new Set(Object.values(claims).flatMap((claim) => (isOpen(claim) ? claim.listener : [])))
}

/** It accepts, or will when its worker is admitted. */
function isOpen(claim: Claim): boolean {
  return claim.listening && !isSilent(claim)
}

function socketSlot(listener: Listener, slot: number): number {
  // A warm spare is held with some socket until it gets those of its slot.
  return listener.shared || slot === NO_SLOT ? 0 : slot
}
