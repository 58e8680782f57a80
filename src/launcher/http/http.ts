import type { Status } from '../../control-protocol.js'
import type { LauncherOptions } from '../../options.js'
import type { State } from '../brain/state.js'
import type { EventStream } from '../event-stream.js'
import type { HttpServers, HttpUse } from './servers.js'

/** What the launcher says by HTTP of its own, and what of it must be told to keep it true. */
export interface Http {
  readonly servers: HttpServers
  /** After each event of the brain. */
  readonly stepped: (state: State) => void
}

/** Loaded only for the options that want it; undefined: none does. */
export function makeHttp(
  { statusPage }: LauncherOptions,
  { status, state, events }: { status: (watchMs?: number) => Promise<Status>; state: State; events: EventStream },
): Http | undefined {
  if (statusPage === undefined) return undefined
  const { HttpServers } = require('./servers.js') as typeof import('./servers.js')
  const { StatusPage } = require('../status-page/status-page.js') as typeof import('../status-page/status-page.js')
  const page = new StatusPage(status, state, events)
  const uses: HttpUse[] = [{ option: 'status-page', address: statusPage, routes: page.routes }]
  return { servers: new HttpServers(uses), stepped: (after) => page.stepped(after) }
}
