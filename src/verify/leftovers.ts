import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

export interface LeftProcess {
  readonly pid: number
  readonly command: string
}

/** Set in the launcher's environment with a value of this run; every process that comes from it has it in its initial environment. */
export const ENV_MARK = 'REUSEPORT_RUN_VERIFY'

/**
 * Processes that come from the launcher of this run: they carry its mark, or live in its private network namespace (which also finds
 * one that was started with an environment of its own). `privateNetwork`: the namespace is ours alone.
 */
export function processesOf(mark: string, privateNetwork: boolean): LeftProcess[] {
  const marked = `${ENV_MARK}=${mark}`
  const ours = privateNetwork ? readlinkSync('/proc/thread-self/ns/net') : null
  const found: LeftProcess[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    try {
      const environment = readFileSync(`/proc/${name}/environ`, 'latin1').split('\0')
      // A zombie has no environment and no namespace: it is its parent's to reap, and nothing of it runs.
      if (!environment.includes(marked) && (ours === null || readlinkSync(`/proc/${name}/ns/net`) !== ours)) continue
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ').trim()
      found.push({ pid, command })
    } catch {
      // It ended while we looked, or belongs to another user, so not to us.
    }
  }
  return found
}

/** Unix sockets below a directory. */
export function socketsIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return socketsIn(path)
    return entry.isSocket() ? [path] : []
  })
}
