import type { UpgradeVerdict } from '../../control-protocol.js'
import type { Draft } from './draft.js'
import type { Event } from './events.js'
import { isRelieving } from './relief.js'
import { requestReload, startWaiting } from './reload.js'
import type { Upgrade } from './state.js'

/**
 * A new launcher in the place of this one. It waits for the end of the reload that runs, and goes before one that
 * waits. At most one runs and one waits: what is asked for meanwhile is covered by the one that waits. All else is carried over.
 */

export function requestUpgrade(draft: Draft, order: { caller: number | null; reload: boolean }): void {
  const { state } = draft
  const callers = order.caller === null ? [] : [order.caller]
  if (state.phase === 'stopping' || state.phase === 'stopped')
    return tell(draft, callers, { result: 'stopped', reason: STOPPED })
  state.upgradeWaiting ??= { callers: [], reload: false }
  state.upgradeWaiting.callers.push(...callers)
  if (order.reload) state.upgradeWaiting.reload = true
}

const STOPPED = 'the launcher stops'

/** Settled after each event. */
export function startUpgrade(draft: Draft): void {
  const { state } = draft
  if (state.upgradeWaiting === null || state.upgrade !== null || state.run !== null || state.phase !== 'running') return
  if (isRelieving(draft)) return
  state.upgrade = state.upgradeWaiting
  state.upgradeWaiting = null
  draft.log('info', 'upgrade.started')
  draft.afterwards({ do: 'upgrade' })
}

/** Nothing has changed; what was to follow does not. */
export function upgradeRefused(draft: Draft, { reason, stderr, from, to }: EventOf<'upgrade-refused'>): void {
  const upgrade = end(draft)
  if (upgrade === null) return
  draft.log('error', 'upgrade.refused', {
    reason,
    text: upgrade.reload ? 'this launcher goes on, and nothing was reloaded' : 'this launcher goes on',
    stderr,
  })
  tell(draft, upgrade.callers, { result: 'refused', reason, stderr, from, to })
}

/** The first thing that happens in the new image. */
export function upgraded(draft: Draft, { from, to, gapMs }: EventOf<'upgraded'>): void {
  const upgrade = end(draft)
  if (upgrade === null) return
  draft.log('info', 'upgrade.done', {
    from: from.version,
    to: to.version,
    node: from.node === to.node ? to.node : `${from.node} → ${to.node}`,
    gapMs: Math.round(gapMs),
  })
  tell(draft, upgrade.callers, { result: 'done', from, to, gapMs })
  if (!upgrade.reload) return
  requestReload(draft, { id: null, wait: 'baked' })
  // Before the next upgrade, or whoever asks for one again and again would never see a reload.
  startWaiting(draft)
}

/** Stop wins. */
export function stopUpgrades(draft: Draft): void {
  const { state } = draft
  for (const upgrade of [state.upgrade, state.upgradeWaiting])
    if (upgrade !== null) tell(draft, upgrade.callers, { result: 'stopped', reason: STOPPED })
  state.upgrade = null
  state.upgradeWaiting = null
}

type EventOf<Type extends Event['type']> = Extract<Event, { type: Type }>

function end({ state }: Draft): Upgrade | null {
  const { upgrade } = state
  state.upgrade = null
  return upgrade
}

function tell(
  draft: Draft,
  callers: readonly number[],
  verdict: Pick<UpgradeVerdict, 'result'> & Partial<UpgradeVerdict>,
): void {
  const rest = { reason: null, stderr: [], from: null, to: null, gapMs: null }
  draft.afterwards({ do: 'upgraded', callers, verdict: { ...rest, ...verdict } })
}
