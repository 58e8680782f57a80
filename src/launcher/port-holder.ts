import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A process that listens on a port. `pid` is null when /proc does not let us look (another user's process). */
export interface PortHolder {
  readonly pid: number | null
  readonly name: string | null
}

/** The processes that listen on a TCP port of this network namespace, from /proc (proc(5)); empty when nobody shows. */
export function portHolders(port: number): PortHolder[] {
  const inodes = new Set([...listeningInodes('/proc/net/tcp', port), ...listeningInodes('/proc/net/tcp6', port)])
  if (inodes.size === 0) return []
  const holders: PortHolder[] = []
  for (const pid of processes()) if (holdsAny(pid, inodes)) holders.push({ pid: Number(pid), name: nameOf(pid) })
  return holders.length === 0 ? [{ pid: null, name: null }] : holders
}

/** Pids of processes that have one of these sockets open, as far as /proc lets us look. */
export function holdersOf(inodes: readonly number[]): number[] {
  const wanted = new Set(inodes.map(String))
  return wanted.size === 0
    ? []
    : processes()
        .filter((pid) => holdsAny(pid, wanted))
        .map(Number)
}

/** "pid 812 (nginx)", or what is known. */
export function describeHolders(holders: readonly PortHolder[]): string {
  if (holders.length === 0) return 'nobody that shows in /proc'
  return holders
    .map(({ pid, name }) => (pid === null ? "another user's process" : `pid ${pid} (${name ?? '?'})`))
    .join(', ')
}

function processes(): string[] {
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))
}

function listeningInodes(file: string, port: number): string[] {
  const LISTEN = '0A' // TCP_LISTEN, include/net/tcp_states.h
  try {
    return readFileSync(file, 'latin1')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((field) => field[3] === LISTEN && Number.parseInt(field[1]?.split(':')[1] ?? '', 16) === port)
      .map((field) => field[9] as string)
  } catch {
    return []
  }
}

function holdsAny(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.has(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '')
      } catch {
        return false // Closed meanwhile.
      }
    })
  } catch {
    return false // Ended meanwhile, or another user's.
  }
}

function nameOf(pid: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return null
  }
}
