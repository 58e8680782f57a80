import { readFileSync } from 'node:fs'

/** USER_HZ: what /proc counts in, 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

/** What a process has used, from /proc (proc(5)). */
export interface ProcessUsage {
  /** Memory that is in RAM now, in bytes; what it shares with others counts in full. */
  readonly rss: number
  /** Processor time since its start, user and system, of all its threads. */
  readonly cpuMs: number
}

/** null when it has ended, or /proc does not tell. */
export function usageOf(pid: number): ProcessUsage | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // Fields from the third on: the second may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ticks = Number(fields[11]) + Number(fields[12])
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
    return { rss: Number(kilobytes ?? 0) * 1_024, cpuMs: (ticks * 1_000) / TICKS_PER_SECOND }
  } catch {
    return null
  }
}

/** Milliseconds since its start, by a clock that nobody sets; null when it has ended, or /proc does not tell. */
export function ageOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const startedAt = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
    const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0])
    return Math.round(uptime * 1_000 - (startedAt * 1_000) / TICKS_PER_SECOND)
  } catch {
    return null
  }
}
