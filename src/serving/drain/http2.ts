import type { Http2Server, ServerHttp2Session } from 'node:http2'
import { speaks } from '../speaks.js'
import { lingerMs } from './linger.js'
import type { ServerDrain } from './server-drain.js'

/** Node itself knows its sessions only from 24 on (and closes them in server.close() from then on). */
const sessionsOf = new WeakMap<object, Set<ServerHttp2Session>>()

/** From the claim on; once per connection, nothing per stream. */
export function trackSessions(server: object): void {
  if (!isHttp2(server) || sessionsOf.has(server)) return
  const sessions = new Set<ServerHttp2Session>()
  sessionsOf.set(server, sessions)
  server.on('session', (session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
}

const NONE: ReadonlySet<ServerHttp2Session> = new Set()

export function sessionsOn(server: object): ReadonlySet<ServerHttp2Session> {
  return sessionsOf.get(server) ?? NONE
}

/** Only http2 servers can change their settings. */
function isHttp2(server: object): server is Http2Server {
  return typeof (server as { updateSettings?: unknown }).updateSettings === 'function'
}

/**
 * HTTP/2 connections: GOAWAY at once, running streams end. What the client sent before it read the GOAWAY is refused unprocessed and
 * safe to send again (RFC 9113 §8.7). The two-step form is not possible in Node: nghttp2 refuses after any GOAWAY (node.md §4).
 */
export class Http2Drain implements ServerDrain {
  readonly kind: 'h2' | 'h2c'
  readonly #server: Http2Server
  readonly #sessions: Set<ServerHttp2Session>
  readonly #lingerMs: number
  /** Sessions that came after the begin (their handshake was under way), with their time. */
  readonly #late = new Map<ServerHttp2Session, number>()

  private constructor(server: Http2Server, sessions: Set<ServerHttp2Session>) {
    this.kind = speaks(server) === 'h2c' ? 'h2c' : 'h2'
    this.#server = server
    this.#sessions = sessions
    this.#lingerMs = lingerMs(server as { keepAliveTimeout?: number })
  }

  static of(server: object): Http2Drain | undefined {
    const sessions = sessionsOf.get(server)
    return sessions && new Http2Drain(server as Http2Server, sessions)
  }

  begin(): void {
    for (const session of this.#sessions) session.close()
    this.#server.on('session', this.#onLate)
  }

  sweep(now: number): number {
    let closed = 0
    for (const [session, since] of this.#late) {
      if (now - since < this.#lingerMs) continue
      this.#late.delete(session)
      if (session.closed) continue
      session.close()
      closed++
    }
    return closed
  }

  closeIdle(): number {
    return this.sweep(Number.POSITIVE_INFINITY)
  }

  end(): void {
    this.#server.off('session', this.#onLate)
    this.#late.clear()
  }

  /** A client that has just connected sends a request next: it gets its answer before the GOAWAY. */
  readonly #onLate = (session: ServerHttp2Session): void => {
    this.#late.set(session, performance.now())
    session.once('stream', () => session.close())
    session.once('close', () => this.#late.delete(session))
  }
}
