import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../until.js'

export const root: string = join(import.meta.dirname, '..', '..', '..')

/** The Node under test; a matrix runs every test with each supported one. */
export const TEST_NODE: string = process.env['TEST_NODE'] ?? process.execPath
export const PRELOAD: string = join(root, 'dist', 'worker', 'preload.js')
export const fixture = (name: string): string => join(root, 'test', 'fixtures', 'worker', name)

/** A process of a test: its output in lines, its end as a promise. */
export class Program {
  readonly child: ChildProcess
  readonly lines: string[] = []
  readonly errors: string[] = []
  readonly ended: Promise<{ code: number | null; signal: string | null }>

  constructor(
    command: readonly string[],
    env: Record<string, string | undefined> = {},
    cwd: string = root,
    stderr: number | 'pipe' = 'pipe',
  ) {
    if (!existsSync(PRELOAD)) throw new Error(`${PRELOAD} is missing: npx tsc -p .`)
    const [file = '', ...argv] = command
    // vitest's own variables (NODE_ENV, VITEST_*) are not part of a user's environment; PATH starts with the Node under test.
    const PATH = `${join(TEST_NODE, '..')}:${process.env['PATH']}`
    this.child = spawn(file, argv, {
      cwd,
      env: { PATH, HOME: process.env['HOME'], ...env },
      stdio: ['ignore', 'pipe', stderr],
    })
    collect(this.child.stdout, this.lines)
    collect(this.child.stderr, this.errors)
    this.ended = new Promise((done) => {
      this.child.once('close', (code, signal) => done({ code, signal }))
      this.child.once('error', (error) => {
        this.errors.push(String(error))
        done({ code: -1, signal: null })
      })
    })
  }

  get pid(): number {
    return this.child.pid ?? -1
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** The rest of the first line that begins with `start`. */
  async line(start: string): Promise<string> {
    return until(
      () => `line "${start}" of pid ${this.pid}\n${this.lines.join('\n')}\n${this.errors.join('\n')}`,
      () =>
        this.lines
          .find((line) => line.startsWith(start))
          ?.slice(start.length)
          .trim(),
    )
  }

  /** The end of the test: kill, and wait for it. */
  async kill(): Promise<void> {
    if (this.isRunning) this.child.kill('SIGKILL')
    await this.ended
  }
}

function collect(stream: NodeJS.ReadableStream | null, lines: string[]): void {
  let rest = ''
  stream?.on('data', (data: Buffer) => {
    const parts = (rest + data).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  stream?.on('end', () => {
    if (rest !== '') lines.push(rest)
  })
}
