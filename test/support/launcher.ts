import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import type { ControlClient } from '../../src/control-client'
import type { Status, Verdict } from '../../src/control-protocol'
import { violation } from './log-automaton'
import { ROOT, TEST_NODE } from './paths'
import { marked, signal } from './processes'
import { until } from './until'

/** The built command line; a test of a broken build names another. */
export const MAIN: string = join(ROOT, 'dist', 'cli', 'main.js')
const built = createRequire(import.meta.url)('../../dist/control-client.js') as { ControlClient: typeof ControlClient }

/** Starting Node a few times on a busy machine. */
const START_MS = 25_000

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface LogEvent {
  readonly msg: string
  readonly level: number
  readonly [field: string]: unknown
}

export interface StartOptions {
  /** The program: default `node` with the fixture of `app`. */
  readonly command?: readonly string[]
  /** Words before the command: `-n 2`. */
  readonly options?: readonly string[]
  /** Default: no bake, unless the options say so. null: no --bake, the default is under test. */
  readonly bake?: null
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Default: a directory of this launcher's own. */
  readonly runtimeDir?: string
  /** null: no --name, the default is under test. */
  readonly name?: string | null
  /** Program and arguments in front of Node: strace, setpriv, a terminal. */
  readonly under?: readonly string[]
  readonly main?: string
  /** Whether it is written to, by `child.stdin`; else it has no input. */
  readonly input?: boolean
  /** Descriptors that it has from 3 on. */
  readonly fds?: readonly number[]
  /** What its end is expected to be, when the test itself does not look at it; default 0. */
  readonly exitCode?: number
}

/** vitest's own variables (NODE_ENV, VITEST_*) are no part of a user's environment. PATH begins with the Node under test. */
export function userEnv(more: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
  const env: Record<string, string | undefined> = {
    PATH: `${join(TEST_NODE, '..')}:${process.env['PATH']}`,
    HOME: process.env['HOME'],
    // The sanitizer builds of the addon come in by these.
    ASAN_OPTIONS: process.env['ASAN_OPTIONS'],
    LD_PRELOAD: process.env['LD_PRELOAD'],
    REUSEPORT_RUN_BINDING: process.env['REUSEPORT_RUN_BINDING'],
    TSAN_OPTIONS: process.env['TSAN_OPTIONS'],
    UBSAN_OPTIONS: process.env['UBSAN_OPTIONS'],
    ...more,
  }
  return Object.fromEntries(Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])))
}

/** A directory of this test, removed at its end. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'rrt-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A launcher under test: a process, spoken to by signals, its control socket and its command line; its log is read as events. */
export class TestLauncher {
  readonly child: ChildProcess
  readonly runtimeDir: string
  readonly name: string
  readonly events: LogEvent[] = []
  /** Lines on stderr that are no events: the program's. */
  readonly errors: string[] = []
  readonly output: string[] = []
  readonly ended: Promise<Ended>
  readonly mark: string
  readonly #cwd: string | undefined
  readonly #env: Record<string, string>
  readonly #main: string
  readonly #options: StartOptions & { command: readonly string[] }
  #exitCode: number
  #end: Ended | undefined
  #client: ControlClient | undefined

  constructor(options: StartOptions & { command: readonly string[] }) {
    this.runtimeDir = options.runtimeDir ?? join(temporaryDirectory(), 'run')
    this.name = options.name ?? 'test'
    const id = options.env?.['RUN_MARK'] ?? randomUUID()
    this.mark = `RUN_MARK=${id}`
    this.#cwd = options.cwd
    this.#env = userEnv({ ...options.env, RUN_MARK: id })
    this.#main = options.main ?? MAIN
    this.#options = options
    this.#exitCode = options.exitCode ?? 0
    const named = options.name === null ? [] : ['--name', this.name]
    const own = [
      '--runtime-dir',
      this.runtimeDir,
      ...named,
      '--log-format',
      'json',
      ...(options.bake === null ? [] : ['--bake', '0']),
      ...(options.options ?? []),
    ]
    const words = [...(options.under ?? []), TEST_NODE, this.#main, ...own, '--', ...options.command]
    const [file, ...argv] = words as [string, ...string[]]
    this.child = spawn(file, argv, {
      cwd: options.cwd,
      env: this.#env,
      stdio: [options.input === true ? 'pipe' : 'ignore', 'pipe', 'pipe', ...(options.fds ?? [])],
    })
    eachLine(this.child.stdout, (line) => this.output.push(line))
    eachLine(this.child.stderr, (line) => {
      const event = asEvent(line)
      if (event === undefined) this.errors.push(line)
      else this.events.push(event)
    })
    this.ended = new Promise((done) => {
      // 'exit', not 'close': after a kill -9 its workers live on and hold the pipes.
      this.child.once('exit', (code, by) => {
        this.#end = { code, signal: by }
        done(this.#end)
      })
    })
    onTestFinished(() => this.#finish())
  }

  get pid(): number {
    return this.child.pid as number
  }

  get isRunning(): boolean {
    return this.#end === undefined
  }

  get directory(): string {
    return join(this.runtimeDir, this.name)
  }

  /** Everything that was said, for the message of a failed wait. */
  get story(): string {
    return [...this.events.map((event) => JSON.stringify(event)), ...this.errors].join('\n')
  }

  /** The first event of this name that fits, or the next one after `from` events. */
  async event(msg: string, fits: (event: LogEvent) => boolean = () => true, from = 0): Promise<LogEvent> {
    const found = await until(
      `event ${msg}`,
      () => {
        const event = this.events.slice(from).find((one) => one.msg === msg && fits(one))
        if (event === undefined && this.#end !== undefined && this.child.stderr?.readableEnded) return 'ended' as const
        return event
      },
      START_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.story}`)
    })
    if (found === 'ended') throw new Error(`it ended (${JSON.stringify(this.#end)}) without ${msg}\n${this.story}`)
    return found
  }

  async serving(): Promise<this> {
    await this.event('launcher.serving')
    return this
  }

  async control(): Promise<ControlClient> {
    this.#client ??= await built.ControlClient.connect({ name: this.name, runtimeDir: this.runtimeDir })
    return this.#client
  }

  async status(): Promise<Status> {
    return (await this.control()).status()
  }

  /** The first status that fits. */
  async when(what: string, fits: (status: Status) => boolean, deadlineMs?: number): Promise<Status> {
    let last: Status | undefined
    return until(
      what,
      async () => {
        last = await this.status()
        return fits(last) && last
      },
      deadlineMs ?? START_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(last)}\n${this.story}`)
    })
  }

  async reload(wait: 'admitted' | 'baked' | 'retired' = 'retired'): Promise<Verdict> {
    return (await this.control()).reload({ wait })
  }

  /** Pids of the workers by slot; fails when a slot has none. */
  async pids(): Promise<number[]> {
    const { slots } = await this.status()
    return slots.map(({ slot, worker }) => {
      if (worker === null) throw new Error(`slot ${slot} has no worker\n${this.story}`)
      return worker.pid
    })
  }

  kill(name: NodeJS.Signals): void {
    signal(this.pid, name)
  }

  /** As `kill -9` does it: its workers live on. */
  async die(): Promise<void> {
    this.kill('SIGKILL')
    await this.ended
  }

  /** Another one with the same name; `changes`: how it is started differently. It has taken over the workers of this one. */
  async next(changes: Partial<StartOptions> = {}): Promise<TestLauncher> {
    const launcher = this.#successor(changes)
    await launcher.event('launcher.adopted')
    return launcher
  }

  /** One that finds nothing that this one has left. */
  async beside(): Promise<TestLauncher> {
    return this.#successor({}).serving()
  }

  #successor(changes: Partial<StartOptions>): TestLauncher {
    return new TestLauncher({
      ...this.#options,
      ...changes,
      runtimeDir: this.runtimeDir,
      env: { ...this.#options.env, ...changes.env, RUN_MARK: this.mark.slice('RUN_MARK='.length) },
    })
  }

  /** A further Ctrl-C, and what it leads to: not so soon after the last that it would be taken for the same (src/ctrl-c.ts: 500 ms). */
  async interrupt(msg: string): Promise<void> {
    const last = this.events.filter((event) => event.msg === 'signal').at(-1)
    await until('the last press is over', () => last === undefined || Date.now() - Number(last['time']) > 550)
    const from = this.events.length
    this.kill('SIGINT')
    await this.event(msg, undefined, from)
  }

  /** A verb of the command line, for this launcher. */
  async run(verb: string, ...words: string[]): Promise<Run> {
    return runCli([verb, '--runtime-dir', this.runtimeDir, '--name', this.name, ...words], {
      cwd: this.#cwd,
      main: this.#main,
    })
  }

  /** Its end as expected, and nothing left behind. */
  async stop(name: NodeJS.Signals = 'SIGTERM', exitCode = 0): Promise<void> {
    this.#exitCode = exitCode
    this.kill(name)
    await this.leavesNothing()
  }

  /** Waits for the end and looks around: exit code, processes, files. */
  async leavesNothing(deadlineMs = 25_000): Promise<void> {
    const end = await withDeadline(this.ended, deadlineMs, () => `its end\n${this.story}`)
    expect({ ...end, story: end.code === this.#exitCode ? '' : this.story }).toEqual({
      code: this.#exitCode,
      signal: null,
      story: '',
    })
    // What its last child needs to vanish from /proc.
    const left = await until('nothing is left', () => marked(this.mark).length === 0, 3_000).catch(() => false)
    expect(left === true ? [] : marked(this.mark)).toEqual([])
    expect(existsSync(this.runtimeDir) ? readdirSync(this.runtimeDir, { recursive: true }) : []).toEqual([])
  }

  expectExit(code: number): void {
    this.#exitCode = code
  }

  /** Ends everything by force: for tests in which the launcher is killed. Its own end is not judged then. */
  async destroy(): Promise<void> {
    for (let left = marked(this.mark); left.length > 0; left = marked(this.mark)) {
      for (const { pid, state } of left) if (state !== 'Z') signal(pid, 'SIGKILL')
      if (left.every(({ state }) => state === 'Z')) break
      await new Promise((done) => setTimeout(done, 5))
    }
    rmSync(this.runtimeDir, { recursive: true, force: true })
  }

  /** What it has logged may come in this order (docs/log.md). Nothing is said of a log that is elsewhere, or was not read as a whole. */
  #replay(): void {
    const pid = this.events.find(({ msg }) => msg === 'launcher.started')?.['pid']
    const own = this.events.filter((event) => event['pid'] === pid && event['stream'] === undefined)
    const isTorn = this.errors.some((line) => line.includes('{"level":'))
    if (isTorn || own.some(({ msg }) => msg === 'log.dropped')) return
    const wrong = violation(own)
    if (wrong === null) return
    const lines = own.map((event, at) => `${at === wrong.at ? '>>> ' : ''}${JSON.stringify(event)}`)
    throw new Error(`the log of the launcher: ${wrong.why}\n${lines.join('\n')}`)
  }

  async #finish(): Promise<void> {
    try {
      if (this.isRunning) {
        this.kill('SIGCONT')
        this.kill('SIGTERM')
        await this.leavesNothing(15_000)
      }
      this.#replay()
    } finally {
      await this.destroy()
    }
  }
}

export async function startLauncher(options: StartOptions & { command: readonly string[] }): Promise<TestLauncher> {
  return new TestLauncher(options).serving()
}

export interface Run extends Ended {
  readonly stdout: string
  readonly stderr: string
}

/** The command line, to its end. */
export async function runCli(
  words: readonly string[],
  options: {
    cwd?: string | undefined
    env?: Readonly<Record<string, string | undefined>>
    under?: readonly string[]
    main?: string
    started?: (child: ChildProcess) => void
  } = {},
): Promise<Run> {
  const [file, ...argv] = [...(options.under ?? []), TEST_NODE, options.main ?? MAIN, ...words] as [string, ...string[]]
  const child = spawn(file, argv, { cwd: options.cwd, env: userEnv(options.env), stdio: ['ignore', 'pipe', 'pipe'] })
  options.started?.(child)
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data) => {
    stdout += data
  })
  child.stderr.on('data', (data) => {
    stderr += data
  })
  const end = new Promise<Run>((done) => child.once('close', (code, by) => done({ code, signal: by, stdout, stderr })))
  try {
    return await withDeadline(end, 30_000, () => `end of ${words.join(' ')}\n${stdout}\n${stderr}`)
  } finally {
    child.kill('SIGKILL')
  }
}

export function withDeadline<T>(work: Promise<T>, ms: number, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not within ${ms} ms: ${what()}`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** A runtime directory of a given mode, as an administrator might have made it. */
export function makeDirectory(path: string, mode: number): string {
  const mask = process.umask(0)
  mkdirSync(path, { recursive: true, mode })
  process.umask(mask)
  return path
}

function asEvent(line: string): LogEvent | undefined {
  if (!line.startsWith('{"level":')) return undefined
  try {
    return JSON.parse(line) as LogEvent
  } catch {
    return undefined
  }
}

function eachLine(stream: NodeJS.ReadableStream | null, take: (line: string) => void): void {
  let rest = ''
  stream?.on('data', (data: Buffer) => {
    const parts = (rest + data).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) take(line)
  })
  stream?.on('end', () => {
    if (rest !== '') take(rest)
  })
}
