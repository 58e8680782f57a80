import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { ControlClient } from '../control-client.js'
import type { Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { Deadline } from './deadline.js'
import { Deferred } from './deferred.js'
import { LastLines } from './last-lines.js'
import { ENV_MARK } from './leftovers.js'

export interface LauncherStart {
  /** Program and first arguments of the launcher: node and the command line's main file. */
  readonly launcher: readonly string[]
  readonly launcherOptions: readonly string[]
  readonly workers: number
  readonly command: readonly string[]
  readonly runtimeDir: string
  readonly mark: string
  /** It reaches nobody else by network. */
  readonly isAlone: boolean
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const NAME = 'verify'
/** Between two looks at a launcher that does not answer yet; nothing tells us when its socket is there. */
const LOOK_EVERY_MS = 25
/** How long a killed process may take to be gone. */
const KILL_TIMEOUT_MS = 5000

/** Exit codes that say in words of their own what was wrong with the command: usage, not executable, not found. */
const BAD_COMMAND: readonly (number | null)[] = [2, 126, 127]

/** The launcher under test: a child process, spoken to through its control socket like any other. */
export class LauncherProcess {
  readonly pid: number
  /** Resolves when it has ended. */
  readonly exited: Promise<Exit>
  readonly #child: ChildProcess
  readonly #stderr: LastLines
  readonly #runtimeDir: string
  readonly #isAlone: boolean

  static async start(options: LauncherStart): Promise<LauncherProcess> {
    const [file, ...first] = options.launcher as [string, ...string[]]
    const own = ['--name', NAME, '--runtime-dir', options.runtimeDir, '-n', String(options.workers)]
    const child = spawn(file, [...first, ...own, ...options.launcherOptions, '--', ...options.command], {
      env: { ...process.env, [ENV_MARK]: options.mark },
      // A session of its own: Ctrl-C reaches `verify` alone, which ends its processes in the right order.
      detached: true,
      // Not the terminal's stdout: what the program prints for each request is no part of the report.
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const { pid } = child
    if (pid !== undefined) return new LauncherProcess(child, pid, options)
    const failed = new Deferred<never>()
    child.once('error', (cause) => {
      failed.reject(
        new ReuseportError('ERR_START_FAILED', `the launcher could not be started: ${cause.message}`, { cause }),
      )
    })
    return failed.promise
  }

  private constructor(child: ChildProcess, pid: number, { runtimeDir, isAlone }: LauncherStart) {
    this.pid = pid
    this.#child = child
    this.#stderr = new LastLines(child.stderr)
    this.#runtimeDir = runtimeDir
    this.#isAlone = isAlone
    // 'exit', not 'close': a process that it left behind may hold its stderr open.
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  }

  /** Last lines that the launcher and its workers wrote to stderr. */
  lastLines(): string[] {
    return this.#stderr.lines()
  }

  /** Waits until it serves. Throws ERR_START_FAILED with its last lines when it ends instead. */
  async serves(deadline: Deadline, timeoutMs: number): Promise<Status> {
    const giveUp = new AbortController()
    const ended = this.exited.then(({ code, signal }) => {
      throw this.#failed(`the launcher ended with ${signal ?? `code ${code}`} before it served`, code)
    })
    try {
      return await deadline.within(
        timeoutMs,
        'the start of the program',
        Promise.race([this.#look(giveUp.signal), ended]),
      )
    } catch (error) {
      if (error instanceof ReuseportError && error.code === 'ERR_TIMED_OUT') throw this.#failed(error.message)
      throw error
    } finally {
      giveUp.abort()
      ended.catch(() => undefined)
    }
  }

  control(): Promise<ControlClient> {
    return ControlClient.connect({ name: NAME, runtimeDir: this.#runtimeDir })
  }

  /** Orders the stop and waits for the end. */
  async stop(): Promise<Exit> {
    try {
      await (await this.control()).stop()
    } catch {
      // It does not answer: the signal says the same.
      this.#child.kill('SIGTERM')
    }
    return this.exited
  }

  /** Kills it if it still runs; its workers are the caller's. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await Promise.race([this.exited, sleep(KILL_TIMEOUT_MS, undefined, { ref: false })])
  }

  async #look(giveUp: AbortSignal): Promise<Status> {
    let status: Status | null = null
    while (status === null && !giveUp.aborted) {
      await sleep(LOOK_EVERY_MS)
      status = await this.#servingStatus()
    }
    if (status === null) throw new Error('nobody waits for this any more')
    return status
  }

  async #servingStatus(): Promise<Status | null> {
    try {
      const status = await (await this.control()).status()
      return status.state === 'serving' ? status : null
    } catch (error) {
      // Not there yet, or there and not answering yet.
      if (error instanceof ReuseportError && (error.code === 'ERR_NO_LAUNCHER' || error.code === 'ERR_CONTROL'))
        return null
      throw error
    }
  }

  #failed(message: string, code: number | null = null): ReuseportError {
    const lines = this.lastLines().map((line) => `\n  | ${line}`)
    return new ReuseportError('ERR_START_FAILED', message + lines.join(''), {
      facts: { pid: this.pid },
      ...(BAD_COMMAND.includes(code) || !this.#isAlone
        ? {}
        : {
            next: 'In its own network namespace the program reaches nothing but itself: if it needs a database or another host, use --network shared.',
          }),
    })
  }
}
