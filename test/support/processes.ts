import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { promisify } from 'node:util'

/** What /proc tells of a process that may end at any moment. */
export interface ProcessFacts {
  readonly pid: number
  /** One letter: R, S, D, T, Z (proc(5)). */
  readonly state: string
  readonly parent: number
  readonly group: number
  readonly command: string
}

export function factsOf(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces and parentheses itself.
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim()
    return { pid, state: state as string, parent: Number(parent), group: Number(group), command }
  } catch {
    return undefined
  }
}

export const isAlive = (pid: number): boolean => {
  const facts = factsOf(pid)
  return facts !== undefined && facts.state !== 'Z'
}

function pids(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid))
}

/** Processes whose first environment has this line: all that come from one launcher of a test, however far from it they moved. */
export function marked(line: string): ProcessFacts[] {
  return pids().flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(line)) return []
    } catch {
      return []
    }
    return factsOf(pid) ?? []
  })
}

/** Children of a process, zombies too. */
export function childrenOf(parent: number): ProcessFacts[] {
  return pids()
    .flatMap((pid) => factsOf(pid) ?? [])
    .filter((facts) => facts.parent === parent)
}

/** Open descriptors of a process and what they refer to. Throws when it has gone. */
export function descriptorsOf(pid: number): Map<number, string> {
  const open = new Map<number, string>()
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      open.set(Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`))
    } catch {
      // Closed meanwhile.
    }
  }
  return open
}

/** Inodes of the sockets that listen on a TCP port, from the kernel's own table. */
export function listeningInodes(port: number): number[] {
  const LISTEN = '0A'
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .flatMap((file) => readFileSync(file, 'latin1').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((field) => field[3] === LISTEN && Number.parseInt(field[1]?.split(':')[1] ?? '', 16) === port)
    .map((field) => Number(field[9]))
    .sort((a, b) => a - b)
}

/** Does it wait for connections on one of these sockets? A held or paused worker has its socket and does not ask epoll for it (proc(5), fdinfo). */
export function accepts(pid: number, inodes: readonly number[]): boolean {
  const polls = [...descriptorsOf(pid)].filter(([, target]) => target === 'anon_inode:[eventpoll]')
  return polls.some(([fd]) =>
    [...readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1').matchAll(/^tfd:.* ino:([0-9a-f]+) /gm)].some(([, inode]) =>
      inodes.includes(Number.parseInt(inode as string, 16)),
    ),
  )
}

export interface ListeningSocket {
  readonly inode: number
  /** Pids, each once. */
  readonly holders: readonly number[]
}

/** The same as an operator sees them, and who holds them: `ss -tlnp` (iproute2), with -e for the inodes. */
export async function listeningSockets(port: number): Promise<ListeningSocket[]> {
  const { stdout } = await promisify(execFile)('ss', ['-Htlnpe', `sport = :${port}`])
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({
      inode: Number(/ ino:(\d+)/.exec(line)?.[1]),
      holders: [...new Set([...line.matchAll(/pid=(\d+)/g)].map(([, pid]) => Number(pid)))].sort((a, b) => a - b),
    }))
    .sort((a, b) => a.inode - b.inode)
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended by itself.
  }
}
