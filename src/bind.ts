import { lstatSync } from 'node:fs'
import type { Native } from './native.js'
import type { ListenAddress } from './protocol.js'

type InetAddress = Exclude<ListenAddress, { kind: 'unix' }>

/**
 * A socket that is bound in the reuseport group of its address and does not listen. Throws what bind(2) says, with `address` as it was
 * tried ("[::]:3000").
 */
export function bindInet(native: Native, address: InetAddress): number {
  if (address.host !== null) return bindHost(native, address.host, address)
  try {
    return bindHost(native, '::', address)
  } catch (error) {
    // As Node does for listen(port): every address, or every IPv4 address where there is no IPv6.
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE' || code === 'EACCES') throw error
    return bindHost(native, '0.0.0.0', address)
  }
}

function bindHost(native: Native, host: string, { kind, port, ipv6Only }: InetAddress): number {
  const isIpv6 = host.includes(':')
  const fd = native.socket(isIpv6 ? 'inet6' : 'inet', kind === 'tcp' ? 'stream' : 'datagram')
  try {
    if (isIpv6) native.setOption(fd, 'ipv6Only', ipv6Only ? 1 : 0)
    native.setOption(fd, 'reusePort', 1)
    // For the bind only, past connections in TIME_WAIT. Left on, another user could bind *and listen* beside a socket of ours that does
    // not listen yet (prototypes.md i). Of UDP it would let others take the datagrams.
    if (kind === 'tcp') native.setOption(fd, 'reuseAddress', 1)
    native.bindInet(fd, host, port)
    if (kind === 'tcp') native.setOption(fd, 'reuseAddress', 0)
    return fd
  } catch (error) {
    native.close(fd)
    throw Object.assign(error as Error, { address: isIpv6 ? `[${host}]:${port}` : `${host}:${port}` })
  }
}

/** A path is a socket on which nobody listens any more. */
export function isStaleSocket(native: Native, path: string, type: 'stream' | 'seqpacket' = 'stream'): boolean {
  if (!lstatSync(path).isSocket()) return false
  const fd = native.socket('unix', type)
  try {
    native.connectUnix(fd, path)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
  } finally {
    native.close(fd)
  }
}
