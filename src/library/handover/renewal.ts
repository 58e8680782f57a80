import { type ChildProcess, spawn } from 'node:child_process'
import { isAbsolute, join, relative } from 'node:path'
import { namedDirectory } from '../../named-directory.js'

/** A program that starts its own successor: the same command, in the directory that it was started in, by the name that this had. */
export class Renewal {
  readonly #started = process.cwd()
  readonly #directory = namedDirectory(this.#started)
  readonly #signals = new Set<NodeJS.Signals>()
  readonly #isActing: () => boolean
  #child: ChildProcess | undefined

  /** `isActing`: nobody has taken over yet. */
  constructor(isActing: () => boolean) {
    this.#isActing = isActing
  }

  /** From now on, for good: the signal would end a process that does not listen for it. */
  on(signal: NodeJS.Signals): void {
    if (this.#signals.has(signal)) return
    this.#signals.add(signal)
    process.on(signal, () => this.#renew())
  }

  /** One at a time. */
  #renew(): void {
    if (this.#child !== undefined || !this.#isActing()) return
    const argv = [...process.execArgv, ...this.#script(), ...process.argv.slice(2)]
    const child = spawn(process.execPath, argv, {
      cwd: this.#directory,
      env: { ...process.env, PWD: this.#directory },
      stdio: 'inherit',
    })
    this.#child = child
    child.unref()
    child.once('error', (error) => this.#failed(error.message))
    child.once('exit', (code, signal) => this.#failed(`it ended with ${signal ?? `code ${code}`}`))
  }

  /** Node has made it absolute, from the real path: of the release that was current then. */
  #script(): string[] {
    const [, script] = process.argv
    if (script === undefined) return []
    const path = relative(this.#started, script)
    return [path.startsWith('..') || isAbsolute(path) ? script : join(this.#directory, path)]
  }

  #failed(why: string): void {
    this.#child = undefined
    if (this.#isActing())
      process.emitWarning(`the next process did not take over: ${why}`, { code: 'REUSEPORT_RUN_NOT_RENEWED' })
  }
}
