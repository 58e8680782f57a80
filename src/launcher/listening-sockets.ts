import { closeSync, openSync, readSync } from 'node:fs'

/** A TCP socket that listens, in this network namespace. */
export interface ListeningSocket {
  readonly family: 4 | 6
  /** As the kernel writes it: hexadecimal, in the machine's byte order (proc(5)); all zeros is every address. */
  readonly address: string
  readonly port: number
  readonly inode: string
}

/** From /proc/net/tcp and tcp6; empty where they cannot be read. */
export function listeningSockets(): ListeningSocket[] {
  return [...socketsIn('/proc/net/tcp', 4), ...socketsIn('/proc/net/tcp6', 6)]
}

function socketsIn(file: string, family: 4 | 6): ListeningSocket[] {
  const LISTEN = '0A' // TCP_LISTEN, include/net/tcp_states.h
  const found: ListeningSocket[] = []
  for (const line of linesOf(file)) {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
    // Those that listen come first; a busy server has a hundred thousand others after them.
    if (state !== LISTEN) break
    const [address = '', port = ''] = local.split(':')
    found.push({ family, address, port: Number.parseInt(port, 16), inode })
  }
  return found
}

/** Without the heading, read piece by piece. */
function* linesOf(file: string): Generator<string> {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch {
    return // No /proc, or no IPv6.
  }
  try {
    const piece = Buffer.alloc(16 * 1024)
    let rest = ''
    let isHeading = true
    for (let length = readSync(fd, piece); length > 0; length = readSync(fd, piece)) {
      const lines = (rest + piece.toString('latin1', 0, length)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (!isHeading) yield line
        isHeading = false
      }
    }
  } finally {
    closeSync(fd)
  }
}
