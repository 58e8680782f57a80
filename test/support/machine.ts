import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { userEnv, withDeadline } from './launcher'
import { fixture } from './paths'
import { isAlive } from './processes'
import { until } from './until'

const DEADLINE_MS = 30_000

export interface Step {
  readonly code: number
  /** stdout and stderr, as they came. */
  readonly output: string
}

/**
 * A machine of its own, as far as the kernel has one for us: network, processes, /run and /srv. So commands can be run as they are written, with their
 * ports and paths, beside others. One shell lives in it, in which step follows step. Nothing of it outlives end().
 */
export class Machine {
  readonly #child: ChildProcess
  readonly #orders: Writable
  readonly #steps = mkdtempSync(join(tmpdir(), 'rrt-machine-'))
  readonly #codes: AsyncIterator<string>
  #count = 0

  private constructor(env: Readonly<Record<string, string>>) {
    const user = process.getuid?.() === 0 ? [] : ['--map-root-user']
    const words = [...user, '--net', '--mount', '--uts', '--pid', '--fork', '--kill-child', '--mount-proc']
    // A test that is killed in the middle of a step leaves nothing behind either.
    const alone = ['--pdeathsig', 'KILL', 'unshare', ...words]
    this.#child = spawn('setpriv', [...alone, 'bash', fixture('machine/shell.sh')], {
      env: userEnv(env),
      stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'],
    })
    const [, , , orders, codes] = this.#child.stdio
    this.#orders = orders as Writable
    this.#orders.on('error', () => {})
    this.#codes = createInterface({ input: codes as Readable })[Symbol.asyncIterator]()
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<Machine> {
    const machine = new Machine(env)
    await machine.run(':')
    return machine
  }

  /** The process that is its PID 1, as it is seen from here: whose namespaces they are. */
  get pid(): number {
    const children = readFileSync(`/proc/${this.#child.pid}/task/${this.#child.pid}/children`, 'utf8')
    return Number(children.trim())
  }

  /** A step of the shell; what it leaves in the background goes on. */
  async run(text: string, deadlineMs = DEADLINE_MS): Promise<Step> {
    const file = this.#order(text)
    const next = withDeadline(this.#codes.next(), deadlineMs, () => `${text}\n${outputOf(file)}`)
    const { value, done } = await next
    if (done === true) throw new Error(`its shell has ended\n${text}\n${outputOf(file)}`)
    return { code: Number(value), output: outputOf(file) }
  }

  /** A step that stays: over when `fits` what it has said. */
  async stays(text: string, fits: (output: string) => boolean, deadlineMs = DEADLINE_MS): Promise<Step> {
    const file = this.#order(`{\n${text}\n} &`)
    await this.#codes.next()
    await until(
      () => `${text}\n${outputOf(file)}`,
      () => fits(outputOf(file)),
      deadlineMs,
    )
    return { code: 0, output: outputOf(file) }
  }

  /** Its end, and that of every process in it. */
  async end(): Promise<void> {
    const first = this.pid
    this.#child.kill('SIGKILL')
    await until('its processes have ended', () => !isAlive(first))
    rmSync(this.#steps, { recursive: true })
  }

  #order(text: string): string {
    const file = join(this.#steps, String(this.#count++))
    writeFileSync(file, `${text}\n`)
    this.#orders.write(`${file}\n`)
    return file
  }
}

const outputOf = (step: string): string => (existsSync(`${step}.out`) ? readFileSync(`${step}.out`, 'utf8') : '')
