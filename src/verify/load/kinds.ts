import type { Clients } from './clients.js'
import { EventStreamClients } from './event-stream-client.js'
import { Http1Clients, type Http1Habits } from './http1-client.js'
import { Http2Clients } from './http2-client.js'
import type { Ends } from './outcome.js'
import { get, getAndClose, getPipelined, getSlowly, type RequestPlan, type Target, upload } from './request.js'
import { WebSocketClients } from './websocket-client.js'

/** Every kind of client, by the word that `--clients` takes. All kinds run at the same time: what one does to the server is weather to the others. */
export const KINDS = {
  new: 'new connection',
  busy: 'keep-alive',
  think: 'keep-alive, think 20 ms',
  pause: 'keep-alive, think 5 s',
  idle: 'keep-alive, idle up to 10 s',
  pipelining: 'pipelining',
  'slow-read': 'slow read',
  'slow-head': 'slow head',
  'slow-upload': 'slow upload',
  'slow-response': 'slow response',
  'https-new': 'https, new connection',
  https: 'https, keep-alive',
  'https-pause': 'https, think 5 s',
  http2: 'HTTP/2',
  'http2-pause': 'HTTP/2, think 5 s',
  h2c: 'HTTP/2 without TLS',
  websocket: 'WebSocket',
  sse: 'event stream',
} as const

export type KindId = keyof typeof KINDS

export interface ClientKind {
  readonly id: KindId
  /** Names it in reports. */
  readonly name: string
  readonly ends: Ends
  readonly clients: Clients
}

/** Where each protocol is spoken; null: nowhere, and without clients. */
export interface LoadTargets {
  readonly http: Target | null
  readonly https: Target | null
  readonly http2: Target | null
  readonly h2c: Target | null
}

export interface LoadPaths {
  readonly path: string
  /** null: no uploads. */
  readonly uploadPath: string | null
  /** Path of an endpoint that takes its time; null: none. */
  readonly slowPath: string | null
  readonly websocketPath: string | null
  readonly ssePath: string | null
}

export interface LoadPlan {
  readonly targets: LoadTargets
  readonly paths: LoadPaths
  /** The program sends each WebSocket message back; else its answers to pings count. */
  readonly echoes: boolean
  /** Plain HTTP/1.1 connections are expected to move to the new version. */
  readonly moves: boolean
}

const THINK_MS = 20
const PAUSE_MS = 5000
const IDLE_MS = 10_000
/** Between two messages on a WebSocket. */
const SAY_MS = 200
const STREAMS = 3

/**
 * The think times are those of the measurements that the design rests on: without a pause every reload meets requests in flight, up
 * to 20 ms it meets the crossing of request and close, seconds long it meets connections that stay idle through a whole reload.
 */
export function clientKinds({ targets, paths, echoes, moves }: LoadPlan): ClientKind[] {
  const { http, https, http2, h2c } = targets
  return [
    ...(http === null ? [] : httpKinds(http, paths, moves ? 'never' : 'anyhow')),
    ...(https === null ? [] : httpsKinds(https, paths.path)),
    ...(http2 === null ? [] : http2Kinds(http2, paths.path)),
    ...(h2c === null ? [] : [streams('h2c', h2c, paths.path, STREAMS, THINK_MS)]),
    ...webKinds(http ?? https, paths, echoes),
  ]
}

function httpKinds(target: Target, paths: LoadPaths, ends: Ends): ClientKind[] {
  const page = get(target, paths.path)
  const kind = (id: KindId, plan: RequestPlan, how: Partial<Http1Habits> = {}): ClientKind =>
    http1(id, ends, target, plan, how)
  const kinds = [
    http1('new', 'anyhow', target, getAndClose(target, paths.path)),
    kind('busy', page),
    kind('think', page, { thinkMaxMs: THINK_MS }),
    kind('pause', page, { thinkMaxMs: PAUSE_MS }),
    kind('idle', page, { thinkMaxMs: IDLE_MS }),
    kind('pipelining', page, { pipeline: pipelineOf(target, paths.path), thinkMaxMs: THINK_MS }),
    kind('slow-read', page, { readsSlowly: true }),
    kind('slow-head', getSlowly(target, paths.path)),
  ]
  if (paths.uploadPath !== null)
    kinds.push(kind('slow-upload', upload(target, paths.uploadPath), { thinkMaxMs: THINK_MS }))
  if (paths.slowPath !== null) kinds.push(kind('slow-response', get(target, paths.slowPath)))
  return kinds
}

/** Their state is in the old process: nothing moves, and the next answer says that it is the last. */
function httpsKinds(target: Target, path: string): ClientKind[] {
  const page = get(target, path)
  return [
    http1('https-new', 'anyhow', target, getAndClose(target, path), { thinkMaxMs: THINK_MS }),
    http1('https', 'anyhow', target, page, { thinkMaxMs: THINK_MS }),
    http1('https-pause', 'anyhow', target, page, { thinkMaxMs: PAUSE_MS }),
  ]
}

function http2Kinds(target: Target, path: string): ClientKind[] {
  return [streams('http2', target, path, STREAMS, THINK_MS), streams('http2-pause', target, path, 1, PAUSE_MS)]
}

function webKinds(target: Target | null, { websocketPath, ssePath }: LoadPaths, echoes: boolean): ClientKind[] {
  if (target === null) return []
  const kinds: ClientKind[] = []
  if (websocketPath !== null) {
    const says = echoes ? 'message' : 'ping'
    kinds.push(
      kindOf('websocket', 'politely', new WebSocketClients({ target, path: websocketPath, says, thinkMaxMs: SAY_MS })),
    )
  }
  if (ssePath !== null) kinds.push(kindOf('sse', 'politely', new EventStreamClients(target, ssePath)))
  return kinds
}

function http1(id: KindId, ends: Ends, target: Target, plan: RequestPlan, how: Partial<Http1Habits> = {}): ClientKind {
  return kindOf(id, ends, new Http1Clients({ target, plan, pipeline: null, thinkMaxMs: 0, readsSlowly: false, ...how }))
}

function streams(id: KindId, target: Target, path: string, streams: number, thinkMaxMs: number): ClientKind {
  return kindOf(id, 'politely', new Http2Clients({ target, path, streams, thinkMaxMs }))
}

function kindOf(id: KindId, ends: Ends, clients: Clients): ClientKind {
  return { id, name: KINDS[id], ends, clients }
}

function pipelineOf(target: Target, path: string): () => RequestPlan {
  let requests = 0
  return () => getPipelined(target, path, () => `verify-${++requests}`)
}
