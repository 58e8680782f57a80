import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { listeningSockets } from './listening-sockets.js'

/** A process that listens on a port. `pid` is null when /proc does not let us look (another user's process). */
export interface PortHolder {
  readonly pid: number | null
  readonly name: string | null
}

/** The processes that listen on a TCP port of this network namespace, from /proc (proc(5)); empty when nobody shows. */
export function portHolders(port: number): PortHolder[] {
  return holdersOfInodes(listeningSockets().flatMap((socket) => (socket.port === port ? [socket.inode] : [])))
}

/** The processes that have one of these sockets open; one without a pid if there is none that shows. */
export function holdersOfInodes(inodes: readonly string[]): PortHolder[] {
  const wanted = new Set(inodes)
  if (wanted.size === 0) return []
  const holders = processes().filter((pid) => holdsAny(pid, wanted))
  if (holders.length === 0) return [{ pid: null, name: null }]
  return holders.map((pid) => ({ pid: Number(pid), name: nameOf(pid) }))
}

/** Pids of processes that have one of these sockets open, as far as /proc lets us look. */
export function holdersOf(inodes: readonly number[]): number[] {
  return holdersOfInodes(inodes.map(String)).flatMap(({ pid }) => pid ?? [])
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
