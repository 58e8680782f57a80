import type { Draft } from './draft.js'
import { admit } from './listeners.js'
import { pauseMs } from './restart-policy.js'
import { NO_SLOT, type Worker } from './state.js'

/**
 * Warm spares: workers of the working generation that are held and proven, and have no slot. One takes the slot of a worker that has died, or
 * hangs, at once; the next spare is started after it.
 */

/** Settled after each event, before the slots are. */
export function settleStandby(draft: Draft): void {
  const { phase, run, settings, standby, working } = draft.state
  if (phase !== 'running') return
  for (const spare of all(draft)) {
    if (spare.state === 'stopping') continue
    // In the bake the old one's spares are kept: it may be gone back to.
    if (run === null && spare.generation !== working) draft.kill(spare, null)
    else if (spare.hung !== null) draft.kill(spare, spare.hung)
  }
  if (working === null || standby.pausing || !isWanted(draft)) return
  for (let missing = settings.standby - all(draft).length; missing > 0; missing--) {
    const ms = pauseMs(standby.tally)
    if (ms === 0) draft.spawn(working, NO_SLOT, 'respawn')
    else {
      standby.pausing = true
      return draft.timer(`respawn:${NO_SLOT}`, ms)
    }
  }
}

/** The pause after too many exits is over. */
export function sparePauseOver(draft: Draft): void {
  const { standby, working, phase, settings } = draft.state
  standby.pausing = false
  if (phase === 'running' && working !== null && isWanted(draft) && all(draft).length < settings.standby)
    draft.spawn(working, NO_SLOT, 'respawn')
}

/** Not before every slot has a worker: whatever starts next is more needed. */
function isWanted({ state: { run, scale, slots }, members }: Draft): boolean {
  const isServed = (slot: number): boolean =>
    members.some((worker) => worker.slot === slot && worker.state === 'serving')
  return run === null && scale === null && slots.every((_, slot) => isServed(slot))
}

/** A spare of this generation that can serve now. */
export function readySpare(draft: Draft, generation: number | null): Worker | undefined {
  return all(draft).find(
    (spare) => spare.generation === generation && spare.state === 'ready' && spare.proof === 'proven' && !spare.stuck,
  )
}

/** Gives a slot to a spare, if there is one that can have its sockets. */
export function takeSlot(draft: Draft, slot: number, generation: number): boolean {
  const spare = readySpare(draft, generation)
  if (spare === undefined) return false
  const sockets = Object.values(spare.claims).flatMap(({ listener: key }) => {
    const listener = draft.state.listeners[key]
    return listener === undefined || listener.shared ? [] : [listener]
  })
  // A listener that this slot has not opened yet: whoever is started for it will.
  if (sockets.some((listener) => listener.sockets[slot] === undefined)) return false
  spare.slot = slot
  draft.log('info', 'standby.used', { slot, generation, pid: spare.pid })
  draft.order(spare, { type: 'seat', slot, sockets: sockets.map(({ key }) => ({ listener: key, slot })) })
  admit(draft, [spare])
  return true
}

function all(draft: Draft): Worker[] {
  return draft.workers.filter(({ slot, state }) => slot === NO_SLOT && state !== 'exited')
}
