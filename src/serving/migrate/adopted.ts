import type { Server } from 'node:http'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Native } from '../../native.js'
import type { Claim } from '../claim.js'
import type { HttpSocket } from '../drain/last-response.js'
import { closeUnlessUnread } from '../drain/linger.js'
import { descriptorOf } from './idle.js'

/** Of the time after which Node ends a new connection without a request, when it is made new again. */
const RENEW_AT = 0.75
/** Connections that have spoken, or are closed, are forgotten this often. */
const LOOK_EVERY_MS = 5_000
/** With bytes unread, or no descriptor left: looked at again. */
const AGAIN_MS = 100

interface Entry {
  readonly claim: Claim
  /** Infinity: nobody waits for the end of it. */
  readonly closeAt: number
  renewAt: number
}

/**
 * Idle connections that were accepted by another worker and have not spoken since. To Node they are new ones: no keepAliveTimeout, and a 408
 * after headersTimeout (facts: node.md §5). So each has a time of its own, what was left of it when it came; and before Node loses patience
 * it is given to the server anew. `parser.remove()` would be shorter, but from Node 24 on no request is read after it.
 */
export class Adopted {
  readonly #native: Native
  readonly #entries = new Map<HttpSocket, Entry>()
  #timer: NodeJS.Timeout | undefined
  #dueAt = Number.POSITIVE_INFINITY

  constructor(native: Native) {
    this.#native = native
  }

  /** `leftMs`: how long it may stay idle; null: for ever. */
  add(socket: HttpSocket, claim: Claim, leftMs: number | null): void {
    const now = performance.now()
    this.#enter(socket, { claim, closeAt: now + (leftMs ?? Number.POSITIVE_INFINITY), renewAt: now + renewMs(claim) })
  }

  /** What is left of its time; undefined: it is none of these, or has spoken. */
  leftMs(socket: HttpSocket): number | null | undefined {
    const entry = this.#entries.get(socket)
    if (entry === undefined || socket.bytesRead > 0) return undefined
    return Number.isFinite(entry.closeAt) ? Math.max(0, entry.closeAt - performance.now()) : null
  }

  /** Somebody else sees to it. */
  forget(socket: HttpSocket): void {
    this.#entries.delete(socket)
  }

  #enter(socket: HttpSocket, entry: Entry): void {
    this.#entries.set(socket, entry)
    this.#lookAt(Math.min(entry.closeAt, entry.renewAt))
  }

  #lookAt(dueAt: number): void {
    const now = performance.now()
    const at = Math.min(dueAt, now + LOOK_EVERY_MS)
    if (at >= this.#dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = at
    this.#timer = setTimeout(() => this.#look(), Math.max(1, Math.ceil(at - now))).unref()
  }

  #look(): void {
    this.#dueAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    let next = Number.POSITIVE_INFINITY
    for (const [socket, entry] of [...this.#entries]) {
      if (socket.destroyed || socket.bytesRead > 0) this.#entries.delete(socket)
      else {
        const dueAt = Math.min(entry.closeAt, entry.renewAt)
        if (dueAt <= now && this.#end(socket, entry, now)) this.#entries.delete(socket)
        else next = Math.min(next, dueAt <= now ? now + AGAIN_MS : dueAt)
      }
    }
    if (this.#entries.size > 0) this.#lookAt(next)
  }

  /** False: not now. */
  #end(socket: HttpSocket, entry: Entry, now: number): boolean {
    if (entry.closeAt <= now) return closeUnlessUnread([socket]) > 0
    return this.#renew(socket, entry)
  }

  #renew(socket: HttpSocket, entry: Entry): boolean {
    let fd: number
    try {
      fd = this.#native.dup(descriptorOf(socket))
    } catch {
      return false
    }
    socket.destroy()
    const fresh = entry.claim.take(fd)
    if (fresh !== undefined) this.#enter(fresh, { ...entry, renewAt: performance.now() + renewMs(entry.claim) })
    return true
  }
}

/** How long Node waits for the first request of a new connection; Infinity: for ever. */
export function patienceMs({ headersTimeout, requestTimeout }: Server): number {
  return Math.min(...[headersTimeout, requestTimeout].map((ms) => (ms > 0 ? ms : Number.POSITIVE_INFINITY)))
}

function renewMs(claim: Claim): number {
  return patienceMs(claim.facts.server as unknown as Server) * RENEW_AT
}
