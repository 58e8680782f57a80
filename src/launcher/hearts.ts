import { now } from './clock.js'
import { beatEveryMs, lookEveryMs, type Patience, WakingClock } from './heartbeat.js'
import type { Pending } from './pending.js'
import { Pulse } from './pulse.js'
import type { WorkerChannel } from './worker-channel.js'

/** Looks whether the hearts of all workers beat: one timer, however many there are. */
export class Hearts {
  readonly #timeoutMs: number
  readonly #pending: Pending
  readonly #clock: WakingClock
  /** null: there was no descriptor for it, so it is asked. */
  readonly #pulses = new Map<WorkerChannel, Pulse | null>()
  #timer: NodeJS.Timeout

  constructor({ timeoutMs }: Patience, pending: Pending) {
    this.#timeoutMs = timeoutMs
    this.#pending = pending
    this.#clock = new WakingClock(now(), beatEveryMs(timeoutMs))
    this.#timer = this.#lookIn(lookEveryMs(timeoutMs))
  }

  /** Of a worker of ours. */
  begin(channel: WorkerChannel): void {
    let pulse: Pulse | null = null
    try {
      pulse = new Pulse()
      const everyMs = beatEveryMs(this.#timeoutMs)
      this.#pending.ask(channel, { type: 'pulse', everyMs, fds: ['pulse'] }, [pulse.fd], () => {})
    } catch {
      // EMFILE
    }
    this.#pulses.set(channel, pulse)
  }

  closed(channel: WorkerChannel): void {
    this.#pulses.get(channel)?.close()
    this.#pulses.delete(channel)
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const pulse of this.#pulses.values()) pulse?.close()
    this.#pulses.clear()
  }

  /** Not later than something has to be told of one of them. */
  #lookIn(ms: number): NodeJS.Timeout {
    const inMs = Math.max(1, Math.ceil(ms))
    return setTimeout(() => {
      const at = this.#clock.look(now(), inMs)
      let next = lookEveryMs(this.#timeoutMs)
      for (const [{ heartbeat }, pulse] of this.#pulses) {
        heartbeat.look(at, pulse?.look() ?? null)
        next = Math.min(next, heartbeat.patientMs)
      }
      this.#timer = this.#lookIn(next)
    }, inMs).unref()
  }
}
