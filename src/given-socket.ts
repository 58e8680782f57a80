import { native } from './native.js'
import { type ListenAddress, type ListenerKey, listenerKey } from './protocol.js'

/** Sockets that a process is started with, as descriptors from 3 on (sd_listen_fds(3)). */

/** Where they begin (SD_LISTEN_FDS_START). */
export const FIRST_GIVEN = 3
/** What systemd calls a socket that has no name. */
export const NAMELESS = 'unknown'

export interface GivenAddress {
  /** As the one who binds it would word it. */
  readonly address: ListenAddress
  /** The addresses of a program's listen() that it answers. */
  readonly keys: readonly ListenerKey[]
}

/** SO_TYPE (socket(2)). */
const [SOCK_STREAM, SOCK_DGRAM] = [1, 2]

/** Throws why it is of no use, in words. */
export function addressOfGiven(fd: number): GivenAddress {
  const addon = native()
  const type = addon.getOption(fd, 'type')
  if (type === SOCK_STREAM && addon.getOption(fd, 'acceptConnections') !== 1) throw new Error('it does not listen')
  const local = addon.localAddress(fd)
  if ('path' in local) {
    if (type !== SOCK_STREAM || !local.path.startsWith('/')) throw new Error('it is no stream socket with a path')
    const address: ListenAddress = { kind: 'unix', path: local.path }
    return { address, keys: [listenerKey(address)] }
  }
  if (type !== SOCK_STREAM && type !== SOCK_DGRAM) throw new Error('it is neither TCP nor UDP')
  const kind = type === SOCK_STREAM ? 'tcp' : 'udp'
  const { host, port } = local
  if (port === 0) throw new Error('it has no port')
  const ipv6Only = local.family === 6 && addon.getOption(fd, 'ipv6Only') === 1
  const exact: ListenAddress = { kind, host, port, ipv6Only }
  // What Node binds for listen(port): every address, or every one of IPv4 where there is no IPv6.
  const isEvery = (host === '::' && !ipv6Only) || host === '0.0.0.0'
  const every: ListenAddress = { kind, host: null, port, ipv6Only: false }
  return isEvery
    ? { address: host === '::' ? every : exact, keys: [listenerKey(every), listenerKey(exact)] }
    : { address: exact, keys: [listenerKey(exact)] }
}

/** A copy, close-on-exec and no longer one of the first numbers, in place of what was given. */
export function takeGiven(given: number): number {
  const fd = native().dup(given)
  native().close(given)
  return fd
}
