import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { Status, WorkerState } from '../../control-protocol.js'
import type { Log } from '../../log.js'
import type { RuntimeDir } from '../../runtime-dir.js'
import { putFile } from '../../whole-file.js'
import type { Agents } from '../agents.js'
import type { Event } from '../brain/events.js'
import { NO_SLOT, type State, type Worker } from '../brain/state.js'
import type { EventQueue } from '../event-queue.js'
import type { Told } from '../figure-files.js'
import { type Routes, send } from '../http/server.js'
import { usageOf } from '../process-usage.js'
import { type Check, fieldsOf, oneOf } from '../shape.js'
import type { Sockets } from '../sockets.js'
import type { Verdicts } from '../verdicts.js'
import { Counts, SAVED_COUNTS, type SavedCounts } from './counts.js'
import { CONTENT_TYPE, render } from './exposition.js'
import { pageOf } from './page.js'
import { notReady } from './readiness.js'
import { own } from './sums.js'
import { SAVED_WORKER_FIGURES, type SavedWorkerFigures, WorkerFigures } from './worker-figures.js'

/** Whoever scrapes waits 10 s by default; the agent gives its program's metrics less than this. */
const LOOK_MS = 2_000

const STATES: readonly WorkerState[] = [
  'spawned',
  'claimed',
  'ready',
  'serving',
  'paused',
  'draining',
  'stopping',
] satisfies Exclude<WorkerState, 'exited'>[]

/** What has been counted, as the next launcher of this name goes on with it. */
interface Kept {
  readonly version: 1
  readonly counts: SavedCounts
  readonly figures: SavedWorkerFigures
}
const KEPT: Check = fieldsOf({ version: oneOf(1), counts: SAVED_COUNTS, figures: SAVED_WORKER_FIGURES })

/** What is measured. */
export interface Measured {
  readonly agents: Agents
  readonly queue: Pick<EventQueue, 'state'>
  readonly verdicts: Pick<Verdicts, 'last'>
  readonly sockets: Pick<Sockets, 'room'>
  readonly runtime: Pick<RuntimeDir, 'metrics'>
  readonly status: () => Promise<Status>
  readonly log: Log
}

/** What `--metrics` answers. Nothing is looked at before somebody asks, but for what happens: that is counted. */
export class Metrics {
  readonly #parts: Measured
  readonly #counts: Counts
  readonly #figures: WorkerFigures
  /** That is under way: whoever asks meanwhile gets the same. */
  #scrape: Promise<string> | undefined
  #hasFailed = false

  constructor(parts: Measured) {
    this.#parts = parts
    const kept = read(parts.runtime.metrics)
    this.#counts = new Counts(kept?.counts)
    this.#figures = new WorkerFigures(kept?.figures)
    parts.agents.measure((told) => this.#told(told))
  }

  get routes(): Routes {
    return {
      '/metrics': {
        answer: async (_request, response) => {
          this.#scrape ??= this.#page().finally(() => {
            this.#scrape = undefined
          })
          send(response, { type: CONTENT_TYPE, body: await this.#scrape })
        },
      },
      '/livez': { answer: (_request, response) => say(response, null) },
      '/readyz': { answer: (_request, response) => say(response, notReady(this.#parts.queue.state)) },
    }
  }

  /** After each event. */
  stepped(event: Event, before: State): void {
    const { queue, verdicts } = this.#parts
    // It may be gone before the next scrape.
    if (event.type === 'drained') this.#takeUsage(before.workers[event.worker])
    this.#counts.stepped(event, before, queue.state, verdicts.last)
  }

  /** It is read by whoever goes on in this launcher's place: what has been shown may not fall. */
  keep(): void {
    const { runtime, log } = this.#parts
    const kept: Kept = { version: 1, counts: this.#counts.save(), figures: this.#figures.save() }
    try {
      putFile(runtime.metrics, '~', JSON.stringify(kept), 0o600)
      this.#hasFailed = false
    } catch (error) {
      if (!this.#hasFailed) log('warn', 'metrics.not-kept', { path: runtime.metrics, reason: (error as Error).message })
      this.#hasFailed = true
    }
  }

  #told(told: Told): void {
    const worker = Object.values(this.#parts.queue.state.workers).find(({ pid }) => pid === told.pid)
    // A warm spare has served nobody yet.
    if (worker === undefined || worker.slot === NO_SLOT) return
    this.#figures.told(told, worker.slot)
    this.#takeUsage(worker)
  }

  #takeUsage(worker: Worker | undefined): void {
    if (worker === undefined || worker.pid === null || worker.slot === NO_SLOT) return
    const usage = usageOf(worker.pid)
    if (usage === null) return
    this.#figures.take(worker.pid, own('process_cpu_seconds_total', { slot: worker.slot }), usage.cpuMs / 1_000)
  }

  async #page(): Promise<string> {
    const { agents, queue, sockets } = this.#parts
    // First: who collects its metrics answers late.
    const status = await this.#parts.status()
    const missing = await agents.look(LOOK_MS)
    const { state } = queue
    const workers = Object.values(state.workers)
    for (const worker of workers) this.#takeUsage(worker)
    const pids = new Set(workers.map(({ pid }) => pid))
    this.#figures.keep((pid) => pids.has(pid))
    const page = pageOf({
      status,
      isReady: notReady(state) === null,
      states: new Map(STATES.map((name) => [name, workers.filter((worker) => worker.state === name).length])),
      counts: this.#counts.all,
      figures: this.#figures,
      sockets,
      missing,
    })
    this.keep()
    return render(page)
  }
}

/** `trouble`: why not, in words. */
function say(response: ServerResponse, trouble: string | null): void {
  send(response, {
    status: trouble === null ? 200 : 503,
    type: 'text/plain; charset=utf-8',
    body: `${trouble ?? 'ok'}\n`,
  })
}

/** null: nobody was there before, or he had something else to say. */
function read(path: string): Kept | null {
  try {
    const kept: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return KEPT(kept, '') === null ? (kept as Kept) : null
  } catch {
    return null
  }
}
