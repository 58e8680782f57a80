import { resolve } from 'node:path'
import { ReuseportError } from '../errors.js'
import { addressOfGiven, FIRST_GIVEN, NAMELESS, takeGiven } from '../given-socket.js'
import { listenerKey } from '../protocol.js'

/** Of the options of a listen. */
interface Asked {
  readonly port?: number | undefined
  readonly host?: string | undefined
  readonly path?: string | undefined
  readonly ipv6Only?: boolean | undefined
  readonly fdName?: string | undefined
}

export interface Activated {
  readonly fd: number
  /** Of a unix socket: Node does not look for it. */
  readonly path: string | null
}

/** Those that a listener has got. */
const taken = new Set<number>()

/**
 * The socket that systemd, or whoever has started this process, has given it for this listen (LISTEN_FDS): that of the name, or of the address;
 * undefined: there is none. The variables stay, for what the program may read of them itself. Throws ERR_ADDRESS.
 */
export function activated({ fdName, ...where }: Asked): Activated | undefined {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = process.env
  // Who was started by a shell or npm has got the variables of its parent, and none of its descriptors.
  if (LISTEN_PID !== String(process.pid)) return undefined
  const names = LISTEN_FDNAMES.split(':')
  const given = Array.from({ length: Math.min(Number(LISTEN_FDS), 1_000) || 0 }, (_, index) => FIRST_GIVEN + index)
  const nameOf = (fd: number): string => names[fd - FIRST_GIVEN] || NAMELESS
  const fits = (fd: number): boolean =>
    !taken.has(fd) && (fdName === undefined ? isAt(fd, where) : nameOf(fd) === fdName)
  const found = given.find(fits)
  if (found !== undefined) {
    const { address } = addressOfGiven(found)
    taken.add(found)
    return { fd: takeGiven(found), path: address.kind === 'unix' ? address.path : null }
  }
  if (fdName === undefined) return undefined
  const there = given.filter((fd) => !taken.has(fd)).map(nameOf)
  throw new ReuseportError('ERR_ADDRESS', `no socket named ${JSON.stringify(fdName)} was given to this process`, {
    facts: { given: there },
    next: `LISTEN_FDNAMES has: ${there.length === 0 ? 'nothing else' : there.join(', ')}. systemd names a socket by FileDescriptorName=.`,
  })
}

function isAt(fd: number, { port = 0, host, path, ipv6Only = false }: Asked): boolean {
  const asked = listenerKey(
    path === undefined ? { kind: 'tcp', host: host ?? null, port, ipv6Only } : { kind: 'unix', path: resolve(path) },
  )
  try {
    return addressOfGiven(fd).keys.includes(asked)
  } catch {
    return false // It is no socket that listens.
  }
}
