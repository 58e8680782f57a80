import type { DrainOutcome } from '../../protocol.js'
import type { Server } from '../handles.js'
import { Sender } from '../migrate/sender.js'
import { HttpDrain } from './http.js'
import { Http2Drain } from './http2.js'
import type { ServerDrain } from './server-drain.js'
import { SilentDrain } from './silent.js'

/** Node tells nobody when the last connection of a server that is not closed has ended, so it is looked at; only while draining. */
const LOOK_EVERY_MS = 25

/**
 * The end of this worker's connections: each is told as its protocol allows, and what has no such word (plain TCP, WebSocket, streams)
 * lives until the deadline. Reports once; the process itself is ended by the launcher.
 */
export class Drain {
  readonly #servers: readonly Server[]
  readonly #drains: readonly ServerDrain[]
  readonly #done: (outcome: DrainOutcome) => void
  #atBegin = 0
  #closed = 0
  /** A lane may have come before the order to drain. */
  #movedBefore = 0
  #deadline = 0
  #look: NodeJS.Timeout | undefined
  #outcome: DrainOutcome | undefined

  constructor(servers: readonly Server[], done: (outcome: DrainOutcome) => void) {
    this.#servers = servers
    this.#drains = servers.flatMap((server) =>
      [HttpDrain.of(server), Http2Drain.of(server), SilentDrain.of(server)].filter((drain) => drain !== undefined),
    )
    this.#done = done
  }

  /** Known when it is over. */
  get outcome(): DrainOutcome | undefined {
    return this.#outcome
  }

  /** To be called when nothing is accepted any more. */
  begin(deadlineMs: number): void {
    this.setDeadline(deadlineMs)
    this.#atBegin = this.#open()
    this.#movedBefore = this.#moved()
    for (const drain of this.#drains) drain.begin()
    this.#look = setInterval(() => this.#sweep(), LOOK_EVERY_MS).unref()
    this.#sweep()
  }

  setDeadline(deadlineMs: number): void {
    this.#deadline = performance.now() + deadlineMs
  }

  /** The server goes on as before. */
  cancel(): void {
    clearInterval(this.#look)
    for (const drain of this.#drains) drain.end()
  }

  #sweep(): void {
    const now = performance.now()
    for (const drain of this.#drains) this.#closed += drain.sweep(now)
    if (this.#open() === 0) {
      this.#finish(0)
      return
    }
    if (now < this.#deadline) return
    for (const drain of this.#drains) this.#closed += drain.closeIdle()
    // What was closed right now still counts in _connections until its 'close'.
    setImmediate(() => this.#finish(this.#open()))
  }

  #finish(cut: number): void {
    if (this.#outcome !== undefined) return
    this.cancel()
    const moved = this.#moved()
    const ended = Math.max(0, this.#atBegin - this.#closed - cut - (moved - this.#movedBefore))
    this.#outcome = { ended, closed: this.#closed, cut, moved }
    this.#done(this.#outcome)
  }

  #open(): number {
    return this.#servers.reduce((sum, server) => sum + server._connections + (Sender.of(server)?.underWay ?? 0), 0)
  }

  #moved(): number {
    return this.#servers.reduce((sum, server) => sum + (Sender.of(server)?.moved ?? 0), 0)
  }
}
