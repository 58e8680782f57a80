import { Socket } from 'node:net'
import type { WarmupReport } from '../../control-protocol.js'
import { native } from '../../native.js'
import type { WarmupOptions } from '../../options.js'
import type { Speaks } from '../../protocol.js'
import type { Connect, Way } from '../agents.js'
import { isHalfOpen, type Line, lineOver } from './line.js'

/** Whoever ends every connection is not warmed up by more of them. */
const MOST_FAILURES = 10
/** A connection that is left ends within this: what is being answered may be answered. As of a health check (attempt.ts). */
const LEAVE_MS = 1_000

/** Requests to one worker that is held, over a few connections of its own. Tells once what came of them, unless it is stopped before. */
export class WarmUp {
  readonly #plan: WarmupOptions
  readonly #connect: Connect
  readonly #done: (report: WarmupReport) => void
  readonly #begunAt = performance.now()
  readonly #timer: NodeJS.Timeout
  /** Ends what is open, whatever it is just doing. */
  readonly #leaves = new Set<() => void>()
  readonly #times: number[] = []
  #next = 0
  #bad = 0
  #failures = 0
  #trouble: string | null = null
  #isOver = false

  constructor(plan: WarmupOptions, connect: Connect, done: (report: WarmupReport) => void) {
    this.#plan = plan
    this.#connect = connect
    this.#done = done
    this.#timer = setTimeout(() => this.#end(`not all within ${plan.timeoutMs} ms`), plan.timeoutMs)
    const lanes = Array.from({ length: Math.min(plan.concurrency, plan.requests) }, () => this.#ask())
    void Promise.all(lanes).then(() => this.#end(this.#trouble))
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    for (const leave of this.#leaves) leave()
    this.#leaves.clear()
  }

  #end(trouble: string | null): void {
    if (this.#isOver) return
    this.stop()
    const { requests } = this.#plan
    const times = this.#times
    // Of the last tenth: one alone may have met a garbage collection.
    const last = times.slice(-Math.max(1, Math.round(times.length / 10))).sort((a, b) => a - b)
    const rounded = (ms: number | undefined): number | null => (ms === undefined ? null : Math.round(ms * 100) / 100)
    this.#done({
      requests,
      answered: times.length,
      bad: this.#bad,
      firstMs: rounded(times[0]),
      lastMs: rounded(last[last.length >> 1]),
      ms: Math.round(performance.now() - this.#begunAt),
      trouble: times.length === requests ? null : trouble,
    })
  }

  /** One request after the other, until all are asked. */
  async #ask(): Promise<void> {
    let line: Line | undefined
    while (!this.#isOver && this.#next < this.#plan.requests && this.#failures < MOST_FAILURES) {
      const { paths } = this.#plan
      const path = paths[this.#next++ % paths.length] as string
      try {
        if (line === undefined || line.isSpent) line = await this.#open()
        const from = performance.now()
        const status = await line.get(path)
        if (this.#isOver) return
        this.#times.push(performance.now() - from)
        if (status >= 400) this.#bad++
      } catch (error) {
        this.#failures++
        this.#trouble ??= (error as NodeJS.ErrnoException).code ?? (error as Error).message
        line = undefined
      }
    }
  }

  /** A connection that nobody else has, as the worker's server speaks. */
  async #open(): Promise<Line> {
    const { fd, speaks } = await this.#taken()
    const connection = new Socket({ fd, readable: true, writable: true, allowHalfOpen: isHalfOpen(speaks) })
    connection.on('error', () => {})
    let late: NodeJS.Timeout | undefined
    let leave = (): void => void connection.end()
    const goodbye = (): void => {
      late = setTimeout(() => connection.destroy(), LEAVE_MS).unref()
      leave()
    }
    this.#leaves.add(goodbye)
    connection.once('close', () => {
      clearTimeout(late)
      this.#leaves.delete(goodbye)
    })
    const line = await lineOver(connection, speaks, this.#plan)
    leave = line.leave
    if (this.#isOver) goodbye()
    return line
  }

  /** Goes on in the same turn of the event loop in which the worker's answer has come. */
  #taken(): Promise<{ fd: number; speaks: Speaks }> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        way.stop()
        native().close(way.fd)
        reject(new Error(way.whyNot))
      }
      const way: Way = this.#connect((answer) => {
        this.#leaves.delete(giveUp)
        if ('speaks' in answer && !this.#isOver) return resolve({ fd: way.fd, speaks: answer.speaks })
        native().close(way.fd)
        reject(new Error('error' in answer ? answer.error : 'it is over'))
      })
      this.#leaves.add(giveUp)
    })
  }
}
