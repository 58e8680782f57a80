import { closeSync, openSync, readSync } from 'node:fs'
import { constants } from 'node:os'
import { type Native, native, type Poller, READABLE } from '../../native.js'
import type { Trial } from './self-test.js'
import type { Successor } from './successor.js'
import { ENV_STATE, SELF_TEST } from './words.js'

/** Loading Node and the launcher takes a tenth of a second; more than this no upgrade is worth (reliability.md C-08). */
const DEADLINE_MS = 10_000
/** Of what it says: the last of it. */
const SHOWN_BYTES = 4_096
const STDERR_LINES = 20

/** Why the new launcher was not let in. */
export class Refused extends Error {
  readonly stderr: readonly string[]

  constructor(reason: string, stderr: readonly string[] = []) {
    super(reason)
    this.stderr = stderr
  }
}

export interface Trying {
  /** Where it is started. */
  readonly directory: string
  /** Descriptor of what it would go on with. */
  readonly state: number
  readonly env: NodeJS.ProcessEnv
  /** Tells the reaper of orphans that this child has somebody. Returns what ends that. */
  readonly own: (pid: number) => () => void
  readonly deadlineMs?: number
}

/**
 * Starts the new launcher as it would be started, to say what it is and whether it can read the state in `state`, a descriptor that stays
 * the caller's. Rejects with Refused: nothing has changed then, and nothing of it is left.
 */
export async function tryOut(
  successor: Successor,
  { directory, state, env, own, deadlineMs = DEADLINE_MS }: Trying,
): Promise<Trial> {
  const { file, argv } = successor
  const words = [...argv.slice(0, successor.own), SELF_TEST, ...argv.slice(successor.own)]
  const { code, signal, stdout, stderr, isLate } = await new Run(
    { file, argv: words, cwd: directory, env: { ...env, [ENV_STATE]: '3' } },
    { state, own, deadlineMs },
  ).ended
  const lines = stderr
    .split('\n')
    .filter((line) => line !== '')
    .slice(-STDERR_LINES)
  if (isLate) throw new Refused(`the new launcher did not say within ${deadlineMs} ms that it could take over`, lines)
  const trial = asTrial(stdout)
  if (code === 0 && trial !== null) return trial
  const how =
    signal !== null
      ? `was ended by ${signal}`
      : code === 0
        ? 'is no reuseport-run that can'
        : `exited with code ${code}`
  const why = lines.find((line) => /Error|ERR_|cannot|reuseport-run:/.test(line))
  throw new Refused(`the new launcher ${how}${why === undefined ? '' : `: ${why.trim()}`}`, lines)
}

function asTrial(stdout: string): Trial | null {
  try {
    const trial = JSON.parse(stdout) as Trial
    return typeof trial.selfTest === 'number' && typeof trial.version === 'string' && typeof trial.node === 'string'
      ? trial
      : null
  } catch {
    return null
  }
}

interface End {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly isLate: boolean
}

/** One process, its two pipes, and its deadline. */
class Run {
  readonly ended: Promise<End>
  readonly #native: Native = native()

  constructor(
    what: { file: string; argv: readonly string[]; cwd: string; env: NodeJS.ProcessEnv },
    { state, own, deadlineMs }: Required<Pick<Trying, 'state' | 'own' | 'deadlineMs'>>,
  ) {
    const pipes = [this.#native.pipe(true), this.#native.pipe(true)] as const
    const nothing = openSync('/dev/null', 'r')
    let child: { pid: number; pidfd: number }
    try {
      child = this.#native.spawn({
        ...what,
        env: Object.entries(what.env).map(([name, value]) => `${name}=${value}`),
        stdio: [nothing, pipes[0][1], pipes[1][1]],
        fds: [state],
      })
    } catch (error) {
      for (const [reader] of pipes) closeSync(reader)
      throw new Refused(`the new launcher cannot be started: ${(error as Error).message}`)
    } finally {
      closeSync(nothing)
      for (const [, writer] of pipes) closeSync(writer)
    }
    const outputs = pipes.map(([reader]) => new Output(reader)) as [Output, Output]
    this.ended = this.#follow(child, outputs, deadlineMs, own(child.pid))
  }

  #follow(
    { pid, pidfd }: { pid: number; pidfd: number },
    outputs: [Output, Output],
    deadlineMs: number,
    disown: () => void,
  ): Promise<End> {
    return new Promise((done) => {
      let isLate = false
      const late = setTimeout(() => {
        isLate = true
        this.#native.signalGroup(pid, constants.signals.SIGKILL)
      }, deadlineMs)
      const poller = new this.#native.Poller(pidfd, () => {
        // What it has left running goes with it; until it is reaped the number of the group is surely its own.
        this.#native.signalGroup(pid, constants.signals.SIGKILL)
        const ending = this.#native.pidfdWait(pidfd)
        if (ending === null) return
        clearTimeout(late)
        poller.close()
        this.#native.close(pidfd)
        disown()
        const [stdout, stderr] = outputs.map((output) => output.end()) as [string, string]
        done({ ...ending, stdout, stderr, isLate })
      })
      poller.start(READABLE)
      poller.ref()
    })
  }
}

/** What comes through a pipe: the end of it. */
class Output {
  readonly #fd: number
  readonly #poller: Poller
  #text = Buffer.alloc(0)

  constructor(fd: number) {
    this.#fd = fd
    this.#poller = new (native().Poller)(fd, () => this.#read())
    this.#poller.start(READABLE)
  }

  end(): string {
    this.#read()
    this.#poller.close()
    closeSync(this.#fd)
    return this.#text.toString('utf8')
  }

  /** A pipe's worth at a time. */
  #read(): void {
    const chunk = Buffer.allocUnsafe(65_536)
    let length = 0
    try {
      length = readSync(this.#fd, chunk)
    } catch {
      return // EAGAIN: nothing now.
    }
    if (length === 0) this.#poller.start(0)
    this.#text = Buffer.concat([this.#text, chunk.subarray(0, length)]).subarray(-SHOWN_BYTES)
  }
}
