import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readNetworkCounters } from '../kernel-counters.js'
import { buildReport } from './build-report.js'
import { Deadline, Interrupted } from './deadline.js'
import { LauncherProcess } from './launcher-process.js'
import { type LeftProcess, processesOf, socketsIn } from './leftovers.js'
import type { LoadTargets } from './load/kinds.js'
import { LoadProcess, type LoadResults } from './load/load-process.js'
import type { CheckedOptions } from './options.js'
import type { NetworkOfRun } from './private-network.js'
import { type ReloadRecord, reloadAgainAndAgain } from './reloads.js'
import type { VerifyReport } from './report.js'
import { chooseListeners } from './target.js'

/** The last requests of the load: the longest think time, and the closing of connections. */
const END_OF_LOAD_SLACK_MS = 10_000
/** What a stopped launcher's last child may still need to vanish. */
const VANISH_TIMEOUT_MS = 1000
const KILL_TIMEOUT_MS = 5000
const LOOK_EVERY_MS = 20

/** One run of `verify`: start, load, reload, stop, look around. Its ends are two: `run()` in order, `cleanUp()` by force. */
export class Run {
  readonly #options: CheckedOptions
  readonly #network: NetworkOfRun
  readonly #began = performance.now()
  readonly #mark = randomUUID()
  readonly #runtimeDir = mkdtempSync(join(tmpdir(), 'reuseport-verify-'))
  readonly #interruption = new AbortController()
  readonly #hurry = new AbortController()
  readonly #deadline: Deadline
  readonly #reloads: ReloadRecord[] = []
  readonly #troubles: string[] = []
  #interrupted: NodeJS.Signals | null = null
  #launcher: LauncherProcess | null = null
  // Started first: it guards the launcher.
  readonly #load = new LoadProcess()

  constructor(options: CheckedOptions, network: NetworkOfRun) {
    this.#options = options
    this.#network = network
    this.#deadline = new Deadline(options.deadlineMs, this.#interruption.signal)
  }

  interrupt(signal: NodeJS.Signals): void {
    if (this.#interruption.signal.aborted) this.#hurry.abort(new Interrupted(signal))
    else this.#interruption.abort(new Interrupted(signal))
  }

  async run(): Promise<VerifyReport> {
    const options = this.#options
    const launcher = await this.#startLauncher()
    const status = await launcher.serves(this.#deadline, options.startTimeoutMs)
    const pids = status.slots.map(({ worker }) => worker?.pid ?? '-').join(', ')
    const { addresses, targets } = chooseListeners(status, options)
    options.log(`serves on ${addresses.join(', ')} (workers ${pids})`)

    const before = readNetworkCounters()
    const results = await this.#loadAndReload(launcher, targets)
    const after = readNetworkCounters()

    const exit = await this.#toTheEnd(options.stopTimeoutMs, 'the end of the launcher', launcher.stop())
    return buildReport({
      options,
      network: this.#network,
      durationMs: Math.round(performance.now() - this.#began),
      interrupted: this.#interrupted,
      troubles: this.#troubles,
      listeners: addresses,
      targets,
      results,
      reloads: this.#reloads,
      counters: { before, after },
      exit,
      leftProcesses: await this.#whatIsLeft(),
      leftSockets: socketsIn(this.#runtimeDir),
      lastLines: launcher.lastLines(),
    })
  }

  /** Ends by pid whatever of this run still lives; nothing does after a run that went well. */
  async cleanUp(): Promise<void> {
    await this.#load.kill()
    await this.#launcher?.kill()
    // Again until nothing is found: a process may have started another one meanwhile.
    const giveUpAt = performance.now() + KILL_TIMEOUT_MS
    for (let left = this.#processes(); left.length > 0 && performance.now() < giveUpAt; left = this.#processes()) {
      for (const { pid } of left) kill(pid)
      await sleep(LOOK_EVERY_MS)
    }
    rmSync(this.#runtimeDir, { recursive: true, force: true })
  }

  async #startLauncher(): Promise<LauncherProcess> {
    const { command, launcher, launcherOptions, workers } = this.#options
    this.#launcher = await LauncherProcess.start({
      launcher: launcher ?? [process.execPath, join(__dirname, '..', 'cli', 'main.js')],
      launcherOptions,
      workers,
      command,
      runtimeDir: this.#runtimeDir,
      mark: this.#mark,
      isAlone: this.#network.private,
    })
    this.#load.guard(this.#launcher.pid)
    return this.#launcher
  }

  async #loadAndReload(launcher: LauncherProcess, targets: LoadTargets): Promise<LoadResults> {
    const { path, uploadPath, slowPath, websocketPath, ssePath, responseTimeoutMs, startTimeoutMs, ...options } =
      this.#options
    const underWay = this.#load.start({
      targets,
      paths: {
        path,
        uploadPath,
        slowPath: slowPath ?? null,
        websocketPath: websocketPath ?? null,
        ssePath: ssePath ?? null,
      },
      echoes: options.echoes,
      moves: !options.allowsClosed,
      connections: options.connections,
      clients: options.clients,
      connectTimeoutMs: responseTimeoutMs,
      responseTimeoutMs,
    })
    await this.#deadline.within(startTimeoutMs, 'an answer to the first request of every client', underWay)
    await this.#tolerating(async () => {
      const plan = {
        ...options,
        requests: () => this.#load.requests,
        onReload: (record: ReloadRecord) => this.#onReload(record),
      }
      await reloadAgainAndAgain(await launcher.control(), plan, this.#deadline)
    })
    const results = await this.#toTheEnd(
      responseTimeoutMs + END_OF_LOAD_SLACK_MS,
      'the end of the load',
      this.#load.finish(),
    )
    return results ?? { tallies: [], incidents: [] }
  }

  #onReload(record: ReloadRecord): void {
    this.#reloads.push(record)
    const { number, result, answeredMs } = record
    this.#options.log(
      `reload ${number} of ${Math.max(number, this.#options.reloads)}: ${result}, ${Math.round(answeredMs)} ms; ` +
        `${this.#load.requests} requests so far, ${this.#load.lost} lost`,
    )
  }

  /** Processes of the launcher that outlive it; a moment is given to what is just vanishing. */
  async #whatIsLeft(): Promise<LeftProcess[]> {
    await this.#load.kill()
    const giveUpAt = performance.now() + VANISH_TIMEOUT_MS
    for (;;) {
      const left = this.#processes()
      if (left.length === 0 || performance.now() > giveUpAt) return left
      await sleep(LOOK_EVERY_MS)
    }
  }

  #processes(): LeftProcess[] {
    return processesOf(this.#mark, this.#network.private)
  }

  /** What goes wrong from here on belongs in the report: what was measured until then is worth seeing. */
  async #tolerating(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (error instanceof Interrupted) this.#interrupted = error.signal
      this.#troubles.push((error as Error).message)
    }
  }

  /** Awaits a step of the orderly end, which neither the first interruption nor the deadline of the run cuts short. */
  async #toTheEnd<T>(ms: number, what: string, work: Promise<T>): Promise<T | null> {
    let result: T | null = null
    await this.#tolerating(async () => {
      result = await new Deadline(ms, this.#hurry.signal).within(ms, what, work)
    })
    return result
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}
