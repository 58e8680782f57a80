import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The access mode in the flags of an open file (proc(5)): for reading only is 0. */
const ACCESS_MODE = 0o3

/** Those of these files that we, or a process below us, have open for writing now: logs and databases of the program, and no program. */
export function writtenByOurs(paths: readonly string[]): Set<string> {
  const wanted = new Set(paths)
  const written = new Set<string>()
  for (const pid of processesBelow(process.pid))
    for (const fd of listed(`/proc/${pid}/fd`))
      try {
        const path = readlinkSync(`/proc/${pid}/fd/${fd}`)
        if (!wanted.has(path)) continue
        const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0'
        if ((Number.parseInt(flags, 8) & ACCESS_MODE) !== 0) written.add(path)
      } catch {
        // Closed, or ended, meanwhile.
      }
  return written
}

/** The process itself, and all that it has started, directly or not. */
function processesBelow(top: number): number[] {
  const parents = new Map<number, number>()
  for (const entry of listed('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1')
      // The name in parentheses may hold spaces and parentheses itself.
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
    } catch {
      // It has ended meanwhile.
    }
  }
  const isBelow = (pid: number): boolean => {
    let at: number | undefined = pid
    while (at !== undefined && at > 1 && at !== top) at = parents.get(at)
    return at === top
  }
  return [...parents.keys()].filter(isBelow)
}

function listed(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
