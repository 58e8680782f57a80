import { addressOfGiven, FIRST_GIVEN, type GivenAddress, NAMELESS, takeGiven } from '../given-socket.js'
import { type ListenAddress, listenerKey } from '../protocol.js'
import type { StoredName } from './service/stored-name.js'

/**
 * Sockets that come and go as descriptors from 3 on, with variables that say so: systemd's (sd_listen_fds(3)), and Server::Starter's.
 */

const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'] as const

/** A socket that the launcher was given. */
export interface GivenSocket extends GivenAddress {
  /** Close-on-exec, and no longer one of the first numbers. */
  readonly fd: number
  readonly name: string
}

/** A socket of a predecessor of ours, which the service manager has kept. */
export interface StoredSocket {
  readonly fd: number
  readonly name: StoredName
  /** Of a unix socket: the path that it was bound to. */
  readonly boundTo: string | null
}

export interface Activation {
  readonly sockets: readonly GivenSocket[]
  readonly stored: readonly StoredSocket[]
  /** Why something that was given is of no use, in words. */
  readonly refused: readonly string[]
}

const NOTHING: Activation = { sockets: [], stored: [], refused: [] }

/** Takes what this process was given out of its environment: neither variables nor descriptors go any further. */
export function takeListenFds(env: NodeJS.ProcessEnv = process.env): Activation {
  const [pid, count, names] = VARIABLES.map((name) => env[name])
  for (const name of VARIABLES) delete env[name]
  if (count === undefined) return NOTHING
  // Who was started by a shell or npm has got the variables of its parent, and none of its descriptors.
  if (pid !== String(process.pid))
    return { ...NOTHING, refused: [`LISTEN_PID is ${pid ?? 'missing'}, and this is process ${process.pid}`] }
  if (!/^[1-9]\d{0,3}$/.test(count)) return { ...NOTHING, refused: [`LISTEN_FDS is ${JSON.stringify(count)}`] }
  const { parseStoredName } = require('./service/stored-name.js') as typeof import('./service/stored-name.js')
  const named = names?.split(':') ?? []
  const sockets: GivenSocket[] = []
  const stored: StoredSocket[] = []
  const refused: string[] = []
  for (let index = 0; index < Number(count); index++) {
    const name = named[index] || NAMELESS
    const ours = parseStoredName(name)
    try {
      if (ours === null) sockets.push(take(FIRST_GIVEN + index, name))
      else stored.push(takeStored(FIRST_GIVEN + index, ours))
    } catch (error) {
      refused.push(`descriptor ${FIRST_GIVEN + index} (${name}): ${(error as Error).message}`)
    }
  }
  return { sockets, stored, refused }
}

function take(given: number, name: string): GivenSocket {
  // First of all: a number that was not passed after all may be one that Node uses itself.
  const { address, keys } = addressOfGiven(given)
  return { fd: takeGiven(given), name, address, keys }
}

/** A name is only a claim: the socket must be of that address. */
function takeStored(given: number, name: StoredName): StoredSocket {
  const { address, keys } = addressOfGiven(given)
  const boundTo = address.kind === 'unix' ? address.path : null
  // A unix socket is bound beside its path (sockets.ts).
  const isIt = boundTo === null ? keys.includes(name.listener) : `unix ${boundTo}`.startsWith(`${name.listener}.`)
  if (!isIt) throw new Error(`it listens on ${listenerKey(address)}`)
  return { fd: takeGiven(given), name, boundTo }
}

/** A socket that a program is to be given. */
export interface NamedSocket {
  readonly name: string | null
  readonly address: ListenAddress
}

/** The variables for a program that gets these sockets as descriptors from 3 on. LISTEN_PID is its own, which only its process knows. */
export function listenVariables(sockets: readonly NamedSocket[], generation: number): Record<string, string> {
  const starter = sockets.flatMap(({ address }, index) => {
    const where = starterName(address)
    return where === null ? [] : [`${where}=${FIRST_GIVEN + index}`]
  })
  return {
    LISTEN_FDS: String(sockets.length),
    LISTEN_FDNAMES: sockets.map(({ name }) => name ?? NAMELESS).join(':'),
    SERVER_STARTER_PORT: starter.join(';'),
    SERVER_STARTER_GENERATION: String(generation),
  }
}

/** As start_server(1) words it: a path, a port, or host and port. It has no word for UDP that its readers know. */
function starterName(address: ListenAddress): string | null {
  if (address.kind === 'udp') return null
  if (address.kind === 'unix') return address.path
  const { host, port } = address
  if (host === null) return String(port)
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
