import { onTestFinished } from 'vitest'
import { temporaryDirectory } from '../launcher.js'
import { marked, signal } from '../processes.js'
import { until } from '../until.js'
import { fixture, Program, TEST_NODE } from './program.js'

export type Config = Readonly<Record<string, unknown>>

/** Processes of test/fixtures/worker/handover.cjs that hand over to each other. */
export class Row {
  readonly directory: string = temporaryDirectory()
  readonly path: string = `${this.directory}/handover.sock`
  /** In the environment of each of its processes. */
  readonly mark: Record<string, string> = { ROW: this.path }
  readonly programs: Program[] = []

  constructor() {
    onTestFinished(async () => {
      // Those too that they have started.
      const [[name, value]] = Object.entries(this.mark) as [[string, string]]
      for (const { pid } of marked(`${name}=${value}`)) signal(pid, 'SIGKILL')
      for (const program of this.programs) await program.ended
    })
  }

  /** The next one: whatever becomes of it. `fault`: see handover-fault.cjs. */
  start(config: Config, env: Record<string, string> = {}, under: readonly string[] = []): Program {
    const fault = Object.keys(env).length > 0 ? ['--require', fixture('handover-fault.cjs')] : []
    return this.begin(fixture('handover.cjs'), [JSON.stringify(config)], env, [...under, TEST_NODE, ...fault])
  }

  /** The same with another program. */
  begin(
    file: string,
    argv: readonly string[],
    env: Record<string, string> = {},
    under: readonly string[] = [TEST_NODE],
  ): Program {
    const program = new Program([...under, file, this.path, ...argv], { ...this.mark, ...env })
    this.programs.push(program)
    return program
  }

  /** The next one, when it serves: all there is was handed over. */
  async next(config: Config, env?: Record<string, string>): Promise<Program> {
    const program = this.start(config, env)
    await program.line('listening')
    if (config['late'] === true) program.child.kill('SIGUSR2')
    await program.line('ready')
    return program
  }
}

/** Counts of the first of its listeners, when all of its connections have ended and the process has, by itself. */
export async function drained(
  program: Program,
): Promise<{ moved: number; ended: number; closed: number; cut: number }> {
  await until(
    () => `pid ${program.pid} ends\n${program.lines.join('\n')}\n${program.errors.join('\n')}`,
    () => !program.isRunning,
  )
  const { code, signal } = await program.ended
  const line = program.lines.find((one) => one.startsWith('drained'))
  if (line === undefined || code !== 0) throw new Error(`pid ${program.pid}: ${code} ${signal}\n${program.lines}`)
  return JSON.parse(line.slice(line.indexOf('{')))
}
