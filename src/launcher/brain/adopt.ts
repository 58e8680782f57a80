import { listenerKey } from '../../protocol.js'
import { fail, giveUpOne } from './bake.js'
import { type Draft, ORDER_TIMEOUT_MS } from './draft.js'
import type { Event, Offered, OfferedListener } from './events.js'
import { leave, leaveForGood } from './lanes.js'
import { acceptAgain, noteClaims } from './listeners.js'
import { adoptedRun, pause } from './reload.js'
import { requestScale } from './scale.js'
import { begin } from './start.js'
import { type Generation, type Listener, newSlot, newWorker, type Worker } from './state.js'
import { facts } from './workers.js'
import { makeWorking, tellTerm } from './working.js'

/**
 * The workers of a launcher that is gone are ours now, in the middle of whatever it was doing. What each of them says of itself is put
 * together to what that launcher would know, then what was under way is decided anew: the working generation is the one that was named with
 * the highest term that any worker was told; whatever is not as it would be then is made so.
 */

type Adoption = Extract<Event, { type: 'adopt' }>

/** What the last handover or undo of a slot was, as far as somebody who is there was told. */
interface Word {
  readonly term: number
  readonly working: number
}

export function adopt(draft: Draft, event: Adoption): void {
  const { state } = draft
  const newest = newestOf(event.workers)
  const numbers = event.workers.map(({ generation }) => generation)
  state.next.generation = Math.max(event.next.generation, ...numbers.map((number) => number + 1))
  state.next.run = event.next.run
  state.term = Math.max(0, ...event.workers.map(({ term }) => term))
  if (newest === null) return beginAnew(draft, event)
  resize(draft, event, newest)
  for (const { generation } of event.workers) state.generations[generation] ??= newGeneration(generation)
  state.generations[newest] ??= newGeneration(newest)
  for (const listener of event.listeners) addListener(draft, listener)
  for (const worker of event.workers) join(draft, worker)
  own(draft, newest)
  checkSteering(draft, event.listeners)
  state.phase = 'running'
  settleWord(draft, event.workers, newest)
  resumeScale(draft)
  decide(draft, newest)
  leaveOneEach(draft)
  const fields = {
    workers: event.workers.length,
    generation: newest,
    term: state.term,
    addresses: Object.keys(state.listeners),
  }
  draft.log('info', 'launcher.adopted', fields, 'last')
  const asked = event.asked ?? state.slots.length
  if (asked !== state.slots.length) requestScale(draft, { caller: null, workers: asked, isRelative: false })
}

/** Nobody serves: what there is had not come so far, and the first start begins anew. */
function beginAnew(draft: Draft, { workers }: Adoption): void {
  for (const offered of workers) draft.kill(join(draft, offered), null)
  begin(draft)
}

/** The generation with the last word; of a first start that was never complete, the one that serves. null: none does. */
function newestOf(workers: readonly Offered[]): number | null {
  const told = workers.filter(({ term }) => term > 0).sort((a, b) => b.term - a.term)
  const [last] = told
  if (last !== undefined) return last.working
  // A canary, and a spare that has just been given a slot, have been told no term; but they know for whom they came.
  const serving = workers.filter(({ state }) => state !== 'held').map(({ working }) => working)
  return serving.length === 0 ? null : Math.max(...serving)
}

function resize({ state }: Draft, { slots, workers }: Adoption, newest: number): void {
  const least = Math.max(0, ...workers.filter(({ generation }) => generation === newest).map(({ slot }) => slot)) + 1
  state.slots = Array.from({ length: slots ?? least }, newSlot)
}

function newGeneration(number: number): Generation {
  return { number, state: 'retiring', listeners: [] }
}

function addListener({ state }: Draft, { address, shared, sockets, order }: OfferedListener): void {
  const key = listenerKey(address)
  const known = Object.entries(sockets)
  delete state.stored[key]
  state.listeners[key] = {
    key,
    address,
    shared,
    backlog: 0,
    sockets: { ...sockets },
    order: order === null ? known.flatMap(([slot, is]) => (is === 'listening' ? Number(slot) : [])) : [...order],
    owners: [],
    awaitedBy: null,
    adoptedBy: {},
    // Whatever program there is: it is ours to say again.
    weights: [],
    canary: null,
  }
}

const STATES = { held: 'claimed', serving: 'serving', paused: 'paused', draining: 'draining' } as const

/** One more worker, as it is. */
function join(draft: Draft, offered: Offered, as?: Worker['role']): Worker {
  const { state } = draft
  const { offer, slot, generation, pid, term } = offered
  const id = state.next.worker++
  const role = as ?? (slot >= state.slots.length ? 'canary' : 'respawn')
  const worker = newWorker({ id, slot, generation, role })
  worker.state = STATES[offered.state]
  worker.pid = pid
  worker.said = true
  worker.term = term
  worker.isCounted = true
  state.workers[id] = worker
  draft.do({ do: 'join', offer, worker: id })
  noteClaims(draft, worker, offered.claims)
  draft.log('info', 'worker.adopted', { ...facts(worker), state: worker.state })
  if (worker.state !== 'claimed') draft.order(worker, { type: 'stderr' })
  for (const socket of offered.adopted) holdAdopted(draft, worker, socket)
  if (worker.state === 'draining') {
    worker.drainsSince = draft.at
    draft.timer(`drain:${id}`, state.settings.drainTimeoutMs + ORDER_TIMEOUT_MS)
  }
  if (state.settings.liveness && worker.state === 'serving') draft.do({ do: 'probe', worker: id, mode: 'watch' })
  return worker
}

function holdAdopted(draft: Draft, worker: Worker, socket: Offered['adopted'][number]): void {
  const listener = draft.state.listeners[socket.listener]
  if (listener === undefined) return
  const isHolder = worker.state === 'serving' && worker.role !== 'latecomer'
  if (isHolder && listener.adoptedBy[socket.slot] === undefined) listener.adoptedBy[socket.slot] = worker.id
  else draft.order(worker, { type: 'unadopt', socket })
}

/** Whoever has claimed a listener owns it. What nobody who is there has claimed is waited for, as after a handover. */
function own(draft: Draft, newest: number): void {
  for (const listener of draft.listeners) {
    const claimants = draft.workers.filter((worker) => claims(worker, listener))
    listener.owners = [...new Set(claimants.map(({ generation }) => generation))]
    listener.backlog = Math.max(...claimants.flatMap((worker) => backlogs(worker, listener)), 0)
    if (listener.owners.includes(newest)) continue
    listener.owners.push(newest)
    listener.awaitedBy = newest
    draft.timer(`late:${newest}`, draft.state.settings.readyTimeoutMs)
  }
}

function claims(worker: Worker, { key }: Listener): boolean {
  return Object.values(worker.claims).some((claim) => claim.listener === key)
}

function backlogs(worker: Worker, { key }: Listener): number[] {
  return Object.values(worker.claims).flatMap(({ listener, backlog }) => (listener === key ? backlog : []))
}

/** Without the order of a group nothing can be chosen in it: its hash chooses, and nothing leaves it. */
function checkSteering(draft: Draft, listeners: readonly OfferedListener[]): void {
  const unknown = listeners.filter(({ order, shared }) => order === null && !shared).map(({ address }) => address)
  const { state } = draft
  if (unknown.length > 0) {
    state.steers = false
    const reason = 'the order of the sockets in their group is not known any more; it is after a stop and a start'
    draft.log('warn', 'steering.refused', { address: unknown.map(listenerKey).join(', '), reason })
  }
  if (state.steers) return
  for (const { key, shared, order } of draft.listeners) {
    const [slot] = order
    if (!shared && slot !== undefined)
      draft.do({ do: 'steer', socket: { listener: key, slot }, weights: null, canary: null })
  }
}

/** Each slot's last word, and for a slot of which nobody knows one that of the others. Told to all again: it had not reached everybody. */
function settleWord(draft: Draft, workers: readonly Offered[], newest: number): void {
  const { state } = draft
  const words = state.slots.map((_, slot) => wordOf(workers.filter((worker) => worker.slot === slot)))
  const known = words.flatMap((word) => word?.working ?? [])
  // A slot without anybody is the older one's: if it was handed over already it will be once more.
  const otherwise = Math.min(newest, ...known)
  state.slots.forEach((slot, index) => {
    slot.working = words[index]?.working ?? otherwise
    slot.term = words[index]?.term ?? state.term
  })
  for (const { working } of state.slots) if (working !== null) state.generations[working] ??= newGeneration(working)
  state.working = otherwise
  const all = state.slots.map((_, slot) => slot)
  if (state.term === 0) makeWorking(draft, newest, all)
  for (const number of new Set(state.slots.map(({ working }) => working as number))) {
    const generation = draft.generation(number)
    generation.state = 'working'
    generation.listeners = [
      ...new Set(draft.of(number).flatMap((worker) => Object.values(worker.claims).map(({ listener }) => listener))),
    ]
  }
  if (words.some((word) => word !== null)) tellTerm(draft, all)
}

/** Slots that were added and have not served yet: the first socket of one listens when its worker is admitted. */
function resumeScale(draft: Draft): void {
  const { slots } = draft.state
  const own = draft.listeners.filter(({ shared }) => !shared)
  if (own.length === 0) return
  slots.forEach((slot, index) => {
    slot.isJoining = own.every(({ sockets }) => sockets[index] !== 'listening')
  })
  const joining = slots.filter(({ isJoining }) => isJoining).length
  if (joining === 0) return
  draft.state.scale = { from: slots.length - joining, to: slots.length, callers: [], reason: null }
}

/**
 * Whoever drains and thinks that his own generation works there was sent away with his slot, by a scale; or has been relieved, and the other one
 * knows the same. If there is such a slot again it is another one.
 */
function wordOf(workers: readonly Offered[]): Word | null {
  const isOfThisSlot = ({ state, generation, working }: Offered): boolean =>
    state !== 'draining' || generation !== working
  const [last] = workers.filter((worker) => worker.term > 0 && isOfThisSlot(worker)).sort((a, b) => b.term - a.term)
  return last ?? null
}

/** Whoever serves the wrong way round is told; what was half done is finished, or given up. */
function decide(draft: Draft, newest: number): void {
  const { slots } = draft.state
  const held = draft.workers.filter(({ state }) => state === 'claimed')
  const inService = draft.workers.filter(({ state }) => state === 'serving' || state === 'paused')
  const begun = held.filter(({ generation }) => generation > newest)
  const numbers = [...begun, ...inService].map(({ generation }) => generation)
  const others = [...numbers, ...slots.map(({ working }) => working as number)]
    .filter((number) => number !== newest)
    .sort((a, b) => b - a)
  // Nobody knows how far they had come.
  for (const worker of held) draft.kill(worker, null)
  const [other] = others
  if (other === undefined) {
    for (const worker of inService) if (worker.state === 'paused') acceptAgain(draft, worker)
    return
  }
  const isForward = other < newest
  const [from, to] = isForward ? [other, newest] : [newest, other]
  const run = adoptedRun(draft, from, to)
  // Before anybody leaves: where his connections go depends on it.
  draft.state.run = run
  for (const worker of inService) {
    const isMember = slots[worker.slot]?.working === worker.generation
    if (worker.generation !== from && worker.generation !== to) leave(draft, worker)
    else if (!isForward) continue
    else if (isMember && worker.state === 'paused') acceptAgain(draft, worker)
    else if (worker.generation === from && !isMember && worker.state === 'serving') pause(draft, worker)
    // A candidate of a slot that was not handed over: it is started again when that slot's turn comes.
    else if (worker.generation === to && !isMember) giveUpOne(draft, worker)
  }
  if (!isForward) return fail(draft, run, GONE, [])
  const serves = (slot: number): boolean => inService.some((worker) => worker.generation === to && worker.slot === slot)
  const lacking = run.batch.find((slot) => !serves(slot))
  if (lacking !== undefined) fail(draft, run, `the worker of slot ${lacking} ended while there was no launcher`, [])
}

/** A relief that was just told to serve, and the worn worker beside it: nobody knows which is which, and one is enough. */
function leaveOneEach(draft: Draft): void {
  const taken = new Set<number>()
  for (const worker of draft.members) {
    if (worker.state !== 'serving') continue
    if (taken.has(worker.slot)) leave(draft, worker)
    taken.add(worker.slot)
  }
}

const GONE = 'the launcher was killed before its workers had taken over'

/** Somebody who comes when all places are taken finishes what he has; what waits for him alone, too. */
export function latecomer(draft: Draft, { offered }: Extract<Event, { type: 'latecomer' }>): void {
  const worker = join(draft, offered, 'latecomer')
  draft.log('warn', 'worker.late', facts(worker))
  outbid(draft, offered.term)
  if (worker.state === 'claimed') return draft.kill(worker, null)
  // Its copies for others would keep sockets open of which nobody accepts any more.
  if (offered.sockets.length > 0) draft.order(worker, { type: 'spares', add: [], drop: othersOf(offered) })
}

function othersOf({ sockets, slot }: Offered): Offered['sockets'] {
  return sockets.filter((socket) => socket.slot !== slot)
}

/** It knows of a handover that nobody else did: the last word must be ours, or whoever comes after us would believe it. */
function outbid(draft: Draft, term: number): void {
  const { state } = draft
  if (term <= state.term || state.phase !== 'running') return
  state.term = term
  for (const number of new Set(state.slots.map(({ working }) => working as number))) {
    const slots = state.slots.flatMap(({ working }, slot) => (working === number ? slot : []))
    makeWorking(draft, number, slots)
  }
}

/** Settled after each event: a latecomer leaves, as soon as others serve. */
export function settleLatecomers(draft: Draft): void {
  if (draft.state.phase !== 'running') return
  for (const worker of draft.workers)
    if (worker.role === 'latecomer' && (worker.state === 'serving' || worker.state === 'paused'))
      leaveForGood(draft, worker)
}
