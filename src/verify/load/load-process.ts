import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { ReuseportError } from '../../errors.js'
import { Deferred } from '../deferred.js'
import { LastLines } from '../last-lines.js'
import type { FromLoad, LoadOptions, ToLoad } from './messages.js'
import type { Incident, Tally } from './recorder.js'

export interface LoadResults {
  readonly tallies: readonly Tally[]
  readonly incidents: readonly Incident[]
}

/** The load process, seen from `verify`. */
export class LoadProcess {
  requests = 0
  lost = 0

  readonly #underWay: Promise<void>
  readonly #child: ChildProcess
  readonly #stderr: LastLines
  readonly #results: Promise<LoadResults>

  constructor() {
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#child = fork(join(__dirname, 'load-main.js'), [], {
      env,
      execArgv: [],
      // A session of its own: Ctrl-C reaches `verify` alone, which ends its processes in the right order.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#stderr = new LastLines(this.#child.stderr)
    const underWay = new Deferred<void>()
    const results = new Deferred<LoadResults>()
    this.#underWay = underWay.promise
    this.#results = results.promise
    this.#child.on('message', (message: FromLoad) => {
      switch (message.type) {
        case 'under-way':
          return underWay.resolve()
        case 'progress':
          this.requests = message.requests
          this.lost = message.lost
          return
        case 'results':
          return results.resolve(message)
        case 'unfit':
          return underWay.reject(
            new ReuseportError('ERR_START_FAILED', `${message.request} was not answered: ${message.reason}`, {
              facts: { request: message.request },
              next: 'verify needs a plain HTTP/1.1 listener, and a --path that is answered.',
            }),
          )
      }
    })
    const died = (how: string): void => {
      const error = new ReuseportError('ERR_START_FAILED', `the load process ${how}\n${this.#stderr.text()}`)
      underWay.reject(error)
      results.reject(error)
    }
    this.#child.once('error', (error) => died(`could not be started: ${error.message}`))
    this.#child.once('exit', (code, signal) => died(`ended with ${signal ?? `code ${code}`} before it gave results`))
  }

  /** From now on the launcher is stopped even if this process is killed and can clean up nothing. */
  guard(launcherPid: number): void {
    this.#send({ type: 'guard', launcherPid })
  }

  /** Starts every client; resolves when each has had its first request. */
  start(options: LoadOptions): Promise<void> {
    this.#send({ type: 'start', options })
    return this.#underWay
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Ends the load and gives what it met. */
  finish(): Promise<LoadResults> {
    this.#send({ type: 'end' })
    return this.#results
  }

  /** Ends the process, whatever it does; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }

  #send(message: ToLoad): void {
    // A send to a process that has just died is reported by 'exit'.
    this.#child.send(message, () => undefined)
  }
}
