import { fstatSync, readSync } from 'node:fs'
import { MOST_FIGURES_BYTES } from '../figures.js'
import { native } from '../native.js'
import type { Pending } from './pending.js'
import type { WorkerChannel } from './worker-channel.js'

/** What one thread of a worker has last written of itself: not believed yet. */
export interface Told {
  readonly pid: number
  readonly text: string
}

/**
 * With `--metrics` each agent has a file in memory, and writes into it what it knows of itself: when it is asked, and when it has drained. So
 * there is no limit of a packet, and what a worker has said last is there when it has gone.
 */
export class FigureFiles {
  readonly #pending: Pending
  readonly #tell: (told: Told) => void
  readonly #files = new Map<WorkerChannel, number>()

  constructor(pending: Pending, tell: (told: Told) => void) {
    this.#pending = pending
    this.#tell = tell
  }

  /** From now on it counts what it answers. */
  begin(channel: WorkerChannel): void {
    try {
      const file = native().memoryFile('reuseport-run-figures')
      this.#files.set(channel, file)
      this.#pending.ask(channel, { type: 'figures', fds: ['figures'] }, [file], () => {})
    } catch {
      // EMFILE: it is one of those that are missing, until there is room.
    }
  }

  /** Asks all of them; what they write is told. Gives how many have not done so in time. */
  async look(channels: readonly WorkerChannel[], withinMs: number): Promise<number> {
    const isThere = await Promise.all(channels.map((channel) => this.#ask(channel, withinMs)))
    return isThere.filter((is) => !is).length
  }

  #ask(channel: WorkerChannel, withinMs: number): Promise<boolean> {
    if (!this.#files.has(channel)) this.begin(channel)
    if (channel.heartbeat.isLost) return Promise.resolve(false)
    return new Promise((done) => {
      const forget = this.#pending.ask(channel, { type: 'figures', fds: [] }, [], (answer) => {
        clearTimeout(late)
        // Also when the program's part of it could not be had.
        if (answer !== null) this.#read(channel)
        done(answer?.type === 'ack')
      })
      const late = setTimeout(() => {
        forget()
        done(false)
      }, withinMs)
    })
  }

  /** It says nothing any more: what it has written last is told. */
  closed(channel: WorkerChannel): void {
    const file = this.#files.get(channel)
    if (file === undefined) return
    this.#read(channel)
    this.#files.delete(channel)
    native().close(file)
  }

  #read(channel: WorkerChannel): void {
    const file = this.#files.get(channel)
    if (file === undefined) return
    const data = Buffer.alloc(Math.min(fstatSync(file).size, MOST_FIGURES_BYTES))
    let length = 0
    for (let more = -1; more !== 0 && length < data.length; length += more)
      more = readSync(file, data, length, data.length - length, length)
    if (length > 0) this.#tell({ pid: channel.peer.pid, text: data.toString('utf8', 0, length) })
  }

  close(): void {
    for (const file of this.#files.values()) native().close(file)
    this.#files.clear()
  }
}
