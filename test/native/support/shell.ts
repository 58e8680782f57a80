import { closeSync, openSync, readFileSync } from 'node:fs'
import { native, READABLE, type SpawnOptions } from '../../../src/native.js'

const DEADLINE_MS = 10_000

/** Starts `script` by /bin/sh with the addon's own spawn. What it prints can be read from `output`. */
export function startShell(
  script: string,
  options: Partial<SpawnOptions> = {},
): { pid: number; pidfd: number; output: number } {
  const [output, write] = native().pipe(false)
  const input = openSync('/dev/null', 'r')
  // A sanitizer that is preloaded here is for the addon: not every program of the system survives it.
  const { LD_PRELOAD: _, ...ours } = process.env
  const env = Object.entries(ours).map(([name, value]) => `${name}=${value}`)
  try {
    const argv = ['sh', '-c', script]
    const child = native().spawn({ file: '/bin/sh', argv, env, cwd: '/', stdio: [input, write, write], ...options })
    return { ...child, output }
  } catch (error) {
    closeSync(output)
    throw error
  } finally {
    closeSync(input)
    closeSync(write)
  }
}

export interface Ended {
  code: number | null
  signal: string | null
}

/** Waits for the end of a process, which a pidfd shows by being readable; gives how it ended, and closes the pidfd. */
export function waitFor(pidfd: number): Ended {
  try {
    const inTime = native().pollSync(pidfd, READABLE, DEADLINE_MS) !== 0
    if (!inTime) native().pidfdSignal(pidfd, 9)
    const ended = native().pidfdWait(pidfd)
    if (!inTime || ended === null) throw new Error(`still running after ${DEADLINE_MS} ms`)
    return ended
  } finally {
    native().close(pidfd)
  }
}

/** Runs it to its end. It may print as much as a pipe holds (64 KiB): the output is read after the end, which has a deadline. */
export function shell(script: string, options?: Partial<SpawnOptions>): Ended & { pid: number; output: string } {
  const { pid, pidfd, output } = startShell(script, options)
  try {
    const ended = waitFor(pidfd)
    return { ...ended, pid, output: readFileSync(output, 'utf8') }
  } finally {
    closeSync(output)
  }
}
