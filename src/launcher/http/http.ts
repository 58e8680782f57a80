import type { Status } from '../../control-protocol.js'
import type { LauncherOptions } from '../../options.js'
import type { Event } from '../brain/events.js'
import type { State } from '../brain/state.js'
import type { EventStream } from '../event-stream.js'
import type { Measured, Metrics } from '../metrics/metrics.js'
import type { StatusPage } from '../status-page/status-page.js'
import type { HttpServers, HttpUse } from './servers.js'

/** What the launcher says by HTTP of its own, and what of it must be told to keep it true. */
export interface Http {
  readonly servers: HttpServers
  /** After each event of the brain. */
  readonly stepped: (event: Event, before: State, after: State) => void
  /** Another launcher may be about to go on in its place. */
  readonly keep: () => void
}

/** What is looked at. */
interface Seen extends Measured {
  readonly status: (watchMs?: number) => Promise<Status>
  readonly events: EventStream
}

/** Loaded only for the options that want it; undefined: none does. */
export function makeHttp({ statusPage, metrics }: LauncherOptions, seen: Seen): Http | undefined {
  if (statusPage === undefined && metrics === undefined) return undefined
  const page = statusPage === undefined ? undefined : makePage(seen)
  const measuring = metrics === undefined ? undefined : makeMetrics(seen)
  const uses: HttpUse[] = [
    ...(statusPage && page ? [{ option: 'status-page', address: statusPage, routes: page.routes }] : []),
    ...(metrics && measuring ? [{ option: 'metrics', address: metrics, routes: measuring.routes }] : []),
  ]
  const { HttpServers } = require('./servers.js') as typeof import('./servers.js')
  return {
    servers: new HttpServers(uses),
    stepped: (event, before, after) => {
      page?.stepped(after)
      measuring?.stepped(event, before)
    },
    keep: () => measuring?.keep(),
  }
}

function makePage({ status, queue, events }: Seen): StatusPage {
  const { StatusPage } = require('../status-page/status-page.js') as typeof import('../status-page/status-page.js')
  return new StatusPage(status, queue.state, events)
}

function makeMetrics(seen: Measured): Metrics {
  const { Metrics } = require('../metrics/metrics.js') as typeof import('../metrics/metrics.js')
  return new Metrics(seen)
}
