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
  const env = Object.entries(process.env).map(([name, value]) => `${name}=${value}`)
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

/** Waits for the end of a process, which a pidfd shows by being readable; gives how it ended, and closes the pidfd. */
export function waitFor(pidfd: number): { code: number | null; signal: string | null } {
  if (native().pollSync(pidfd, READABLE, DEADLINE_MS) === 0) throw new Error('still running')
  const ended = native().pidfdWait(pidfd)
  native().close(pidfd)
  if (ended === null) throw new Error('readable, but not ended')
  return ended
}

/** Runs it to its end. */
export function shell(
  script: string,
  options?: Partial<SpawnOptions>,
): { code: number | null; signal: string | null; output: string } {
  const { pidfd, output } = startShell(script, options)
  const text = readFileSync(output, 'utf8')
  closeSync(output)
  return { ...waitFor(pidfd), output: text }
}
