import type { Log } from '../log.js'
import { addressOfKey, type ListenAddress, type ListenerKey } from '../protocol.js'
import type { OfferedListener } from './brain/events.js'
import type { NewEvent } from './event-queue.js'
import type { Notes } from './notebook.js'
import { type Offers, offeredOf } from './offers.js'
import { endHalfStarted, holdersAmong, leftOf } from './orphans.js'
import type { Sockets } from './sockets.js'

/** A worker tries to come four times a second; one that has not come by now stands still. */
const COME_MS = 5_000
/** One that ends meanwhile is not waited for. */
const LOOK_MS = 50

/**
 * Takes over the workers of a launcher that is gone. Waits for every process of its spawns that has one of its sockets, as the kernel knows
 * them, and for their copies of all sockets; and ends what was only being started. Resolves with what the brain has to know.
 */
export async function adopt(parts: {
  readonly notes: Notes
  /** Pids of those who have a socket. */
  readonly awaited: readonly number[]
  readonly offers: Offers
  readonly sockets: Sockets
  /** How many workers there are to be. */
  readonly workers: number
  readonly log: Log
}): Promise<NewEvent> {
  const { notes, awaited, offers, sockets, log } = parts
  const began = performance.now()
  log('info', 'adoption.started', { workerPids: awaited.map(String) })
  const missing = await allCome(offers, awaited, notes)
  const all = offers.close()
  if (missing.length > 0) {
    const text = `has sockets of this launcher and has not come within ${COME_MS} ms: its event loop stands still, or it has closed its channel for good`
    log('warn', 'adoption.missing', { workerPids: missing.map(String), text })
  }
  const tokens = all.map(({ token }) => token)
  for (const left of leftOf(notes))
    if (!tokens.includes(left.token) && !missing.includes(left.pid) && endHalfStarted(left))
      log('info', 'adoption.ended', { pid: left.pid, reason: 'it was being started when its launcher was killed' })
  log('info', 'adoption.collected', {
    workers: all.length,
    sockets: sockets.names().length,
    ms: Math.round(performance.now() - began),
  })
  return {
    type: 'adopt',
    workers: all.map(offeredOf),
    listeners: listenersOf(sockets, notes),
    slots: notes.slots,
    asked: parts.workers === notes.asked ? null : parts.workers,
    next: notes.next,
  }
}

/** Those who have not, in the end. */
function allCome(offers: Offers, awaited: readonly number[], notes: Notes): Promise<readonly number[]> {
  return new Promise((resolve) => {
    const come = new Set<number>()
    const lacking = (): number[] => awaited.filter((pid) => !come.has(pid))
    const end = (missing: readonly number[]): void => {
      clearInterval(look)
      clearTimeout(late)
      resolve(missing)
    }
    const check = (): void => {
      const left = lacking()
      if (left.length === 0) end([])
    }
    const stillThere = (): number[] => {
      const alive = leftOf(notes).filter(({ pid }) => lacking().includes(pid))
      return holdersAmong(alive, notes.inodes)
    }
    const look = setInterval(() => {
      const there = stillThere()
      for (const pid of lacking()) if (!there.includes(pid)) come.add(pid)
      check()
    }, LOOK_MS)
    const late = setTimeout(() => end(stillThere()), COME_MS)
    offers.collect(({ pid }) => {
      come.add(pid)
      check()
    })
  })
}

function listenersOf(sockets: Sockets, notes: Notes): OfferedListener[] {
  const byKey = new Map<ListenerKey, number[]>()
  for (const { listener, slot } of sockets.names()) byKey.set(listener, [...(byKey.get(listener) ?? []), slot])
  return [...byKey].map(([listener, slots]) => {
    const is = (slot: number): 'bound' | 'listening' =>
      sockets.isListening({ listener, slot }) ? 'listening' : 'bound'
    const states = Object.fromEntries(slots.map((slot) => [slot, is(slot)]))
    const listening = slots.filter((slot) => states[slot] === 'listening')
    return {
      address: addressOfKey(listener) as ListenAddress,
      shared: slots.every((slot) => slot === 0) && sockets.isShared({ listener, slot: 0 }),
      sockets: states,
      order: orderOf(slots, listening, notes.order[listener] ?? []),
    }
  })
}

/**
 * What was decided was noted before it was done: what does not listen yet was the last to be. Of a first `listen()` it is noted when it is
 * done: that may be one more, the last. What is not there any more is one that only the launcher had: with its end it left the group, and the
 * last one moved into the hole. `there`: slots whose socket is. null: it is not known.
 */
export function orderOf(
  there: readonly number[],
  listening: readonly number[],
  noted: readonly number[],
): number[] | null {
  const more = listening.filter((slot) => !noted.includes(slot))
  const gone = noted.filter((slot) => !there.includes(slot))
  const left = without(noted, gone)
  if (left === null || more.length > 1) return null
  return [...left.filter((slot) => listening.includes(slot)), ...more]
}

/** Above this it is not worked out in which order they may have gone. */
const MOST_GONE = 4

/** null: it depends on which of them went first. */
function without(order: readonly number[], gone: readonly number[]): readonly number[] | null {
  if (gone.length === 0) return order
  if (gone.length > MOST_GONE) return null
  const ends = gone.map((slot) => {
    const rest = [...order]
    const last = rest.pop() as number
    if (last !== slot) rest[rest.indexOf(slot)] = last
    return without(
      rest,
      gone.filter((other) => other !== slot),
    )
  })
  const [first = null] = ends
  return ends.every((end) => String(end) === String(first)) ? first : null
}
