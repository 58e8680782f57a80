import type { LauncherOptions } from '../options.js'
import type { ListenerKey, OrphanTerms } from '../protocol.js'
import type { Settings } from './brain/state.js'

/**
 * What the brain must know of how the launcher was started. `slots`: to begin with. `given`: listeners whose socket was given to us.
 * `steers`: the kernel takes steering programs.
 */
export function settingsOf(
  options: LauncherOptions,
  { slots, given, steers }: { slots: number; given: readonly ListenerKey[]; steers: boolean },
): Settings {
  const agent = options.listen.length === 0
  return {
    slots,
    agent,
    given,
    ports: options.ports,
    readyTimeoutMs: options.readyTimeoutMs,
    drainTimeoutMs: options.drainTimeoutMs,
    killAfterMs: options.killAfterMs,
    websocket: options.websocket,
    drainSpreadMs: options.drainSpreadMs,
    ready: options.ready,
    probes: options.health !== undefined,
    warms: options.warmup !== undefined,
    liveness: options.health?.livenessMs !== undefined,
    strategy: options.strategy,
    surge: options.surge ?? null,
    bakeMs: options.bakeMs,
    bakeMax5xx: options.bakeMax5xx ?? null,
    migrate: options.migrate && agent,
    bakeMigrate: options.bakeMigrate,
    alwaysSteers: options.balance !== 'hash',
    standby: options.standby,
    parkMs: options.parkMs,
    udpLingerMs: options.udpLingerMs,
    steers,
  }
}

/** What a worker does when its launcher is gone; undefined: it serves on. */
export function orphanTerms({
  dieWithLauncher,
  orphanTimeoutMs,
  drainTimeoutMs,
  stopSignal,
  killAfterMs,
}: LauncherOptions): OrphanTerms | undefined {
  if (dieWithLauncher) return 'kill'
  if (orphanTimeoutMs === undefined) return undefined
  return { afterMs: orphanTimeoutMs, drainMs: drainTimeoutMs, stopSignal, killAfterMs }
}
