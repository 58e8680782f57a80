import type { Target } from './request.js'
import { get, getAndClose, type RequestPlan, upload } from './request.js'

/** How one kind of client behaves. All kinds run at the same time: what one does to the server is weather to the others. */
export interface ClientKind {
  readonly name: string
  readonly plan: RequestPlan
  /** Pause between a response and the next request on the same connection: evenly spread from 0 to this. */
  readonly thinkMaxMs: number
  readonly readsSlowly: boolean
}

export interface LoadPaths {
  readonly path: string
  /** null: no uploads. */
  readonly uploadPath: string | null
  /** Path of an endpoint that takes its time; null: none. */
  readonly slowPath: string | null
}

/**
 * The think times are those of the measurements that the design rests on: without a pause every reload meets requests in flight, up
 * to 20 ms it meets the crossing of request and close, up to 1.5 s it meets connections that stay idle through a whole reload.
 */
export function clientKinds(target: Target, paths: LoadPaths): ClientKind[] {
  const page = get(target, paths.path)
  const kinds = [
    kind('new connection', getAndClose(target, paths.path)),
    kind('keep-alive', page),
    kind('keep-alive, think 20 ms', page, { thinkMaxMs: 20 }),
    kind('keep-alive, think 1.5 s', page, { thinkMaxMs: 1500 }),
    kind('slow read', page, { readsSlowly: true }),
  ]
  if (paths.uploadPath !== null) kinds.push(kind('slow upload', upload(target, paths.uploadPath)))
  if (paths.slowPath !== null) kinds.push(kind('slow response', get(target, paths.slowPath)))
  return kinds
}

function kind(name: string, plan: RequestPlan, how: Partial<ClientKind> = {}): ClientKind {
  return { name, plan, thinkMaxMs: 0, readsSlowly: false, ...how }
}
