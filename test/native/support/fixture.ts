import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface FixtureOptions {
  args?: readonly string[]
  nodeOptions?: readonly string[]
  /** A command that runs its arguments: setpriv, taskset, unshare. */
  under?: readonly string[]
}

/** Starts fixtures/<name> in a Node of its own; its environment is ours, so that a sanitizer's preload and the chosen addon reach it. */
export function startFixture(
  name: string,
  { args = [], nodeOptions = [], under = [] }: FixtureOptions = {},
): ChildProcess {
  const command = [...under, process.execPath, ...nodeOptions, join(__dirname, '..', 'fixtures', name), ...args]
  return spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Runs it to its end. */
export async function runFixture(name: string, options?: FixtureOptions): Promise<Ended> {
  const child = startFixture(name, options)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (data) => (stdout += data))
  child.stderr?.on('data', (data) => (stderr += data))
  const [code, signal] = await once(child, 'close')
  return { code, signal, stdout, stderr }
}

/** What it printed as JSON; everything else it did is a failure. */
export async function resultOf<T = unknown>(name: string, options?: FixtureOptions): Promise<T> {
  const { code, signal, stdout, stderr } = await runFixture(name, options)
  if (code !== 0 || stderr !== '') throw new Error(`${name}: ${code ?? signal}\n${stdout}\n${stderr}`)
  return JSON.parse(stdout) as T
}
