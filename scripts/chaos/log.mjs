/** What the launchers write, one after the other, into one file, as it comes. */
import { closeSync, openSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import { until } from '../steering/until.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

const LOOK_EVERY_MS = 10
const PIECE = 65_536

export class Log {
  /** Of the launchers; `at`: when it was read, which is after it happened. */
  events = []
  #fd
  #timer
  #rest = ''
  #piece = Buffer.alloc(PIECE)

  constructor(path) {
    this.#fd = openSync(path, 'r')
    this.#timer = setInterval(() => this.read(), LOOK_EVERY_MS)
  }

  read() {
    for (;;) {
      const length = readSync(this.#fd, this.#piece)
      if (length === 0) return
      const lines = (this.#rest + this.#piece.toString('utf8', 0, length)).split('\n')
      this.#rest = lines.pop()
      for (const line of lines) this.#take(line)
    }
  }

  /** Until so many further events have come, or so much time has passed. */
  async more(count, ms) {
    const target = this.events.length + count
    await until('further events', () => this.events.length >= target, ms).catch(() => undefined)
  }

  end() {
    this.read()
    clearInterval(this.#timer)
    closeSync(this.#fd)
  }

  /** Between them are lines of the program. */
  #take(line) {
    const event = eventOf(line)
    if (event !== null && event.stream === undefined) this.events.push({ ...event, at: monotonicMs() })
  }
}

function eventOf(line) {
  if (!line.startsWith('{"level":')) return null
  try {
    return JSON.parse(line)
  } catch {
    return { msg: 'torn', line }
  }
}
