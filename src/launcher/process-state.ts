import { readFileSync } from 'node:fs'

/** What a process that does not answer is doing, as far as /proc says (proc(5): the third field of stat). */
const DOING: Readonly<Record<string, string>> = {
  T: 'it is stopped (SIGSTOP)',
  t: 'a debugger holds it',
  R: 'it is busy (a loop, or long work without a pause)',
  S: 'it waits in a call that blocks its event loop',
  D: 'it waits for a device',
  Z: 'it has ended',
}

/** In words; null when /proc does not say. */
export function doingOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold spaces and parentheses itself.
    return DOING[stat.charAt(stat.lastIndexOf(')') + 2)] ?? null
  } catch {
    return null // It has ended meanwhile.
  }
}
