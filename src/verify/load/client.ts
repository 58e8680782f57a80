import { setTimeout as sleep } from 'node:timers/promises'
import { Connection, type ConnectionOptions } from './connection.js'
import type { ClientKind } from './kinds.js'
import type { Recorder } from './recorder.js'
import type { Target } from './request.js'

export interface ClientContext {
  readonly target: Target
  readonly recorder: Recorder
  readonly connectTimeoutMs: number
  readonly responseTimeoutMs: number
  /** Bytes per read of a client that reads slowly, chosen so that the reference response takes about 300 ms. */
  readonly slowReadBytes: number
  /** From 0 to 1: the share of the longest think time that is taken. */
  readonly random: () => number
  /** Aborted when the load shall end. */
  readonly ending: AbortSignal
}

/** Pause after a connection could not be opened, so that a dead server does not turn the client into a busy loop. */
const AFTER_FAILED_CONNECT_MS = 10
/** A server that promises N seconds of idle time is taken at its word up to this margin, as undici does. */
const KEEP_ALIVE_MARGIN_MS = 1000
export const SLOW_READ_EVERY_MS = 15

/**
 * One client: requests, one after the other, on one connection for as long as the server keeps it open. When the load ends it sends
 * one more request, on the connection that it has: so the fate of every connection that lived through the last reload is known.
 */
export async function runClient(context: ClientContext, kind: ClientKind, onRequest: () => void): Promise<void> {
  const { recorder } = context
  let connection: Connection | null = null
  for (;;) {
    const last = context.ending.aborted
    connection ??= await open(context, kind)
    if (connection !== null) {
      recorder.outcome(kind.name, kind.plan.name, await connection.exchange(kind.plan, context.responseTimeoutMs))
    }
    onRequest()
    if (connection === null) await sleep(AFTER_FAILED_CONNECT_MS)
    else if (connection.usable && !last) await think(context, kind, connection)
    if (connection !== null && !connection.usable) {
      await connection.over
      if (connection.endedPolitely) recorder.endedPolitely(kind.name)
      connection = null
    }
    if (last) break
  }
  await connection?.finish()
}

async function open(context: ClientContext, kind: ClientKind): Promise<Connection | null> {
  const { target, connectTimeoutMs, recorder } = context
  const options: ConnectionOptions = {
    target,
    connectTimeoutMs,
    slowRead: kind.readsSlowly ? { bytes: context.slowReadBytes, everyMs: SLOW_READ_EVERY_MS } : null,
    onIdleEvent: (event) => recorder.idle(kind.name, kind.plan.name, event),
  }
  const opened = await Connection.open(options)
  if (opened instanceof Connection) {
    recorder.connected(kind.name)
    return opened
  }
  recorder.outcome(kind.name, kind.plan.name, opened)
  return null
}

async function think(context: ClientContext, kind: ClientKind, connection: Connection): Promise<void> {
  const promised = connection.keepAliveTimeoutMs
  const most = promised === null ? kind.thinkMaxMs : Math.min(kind.thinkMaxMs, promised - KEEP_ALIVE_MARGIN_MS)
  if (most > 0) await sleep(context.random() * most)
}
