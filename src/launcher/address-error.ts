import { ReuseportError } from '../errors.js'
import { describeHolders, portHolders } from './port-holder.js'

/** Dresses the error of a bind or listen for the one who has to mend it; `otherwise`: what he can do if the port is to stay another's. */
export function addressError(
  kind: 'tcp' | 'udp',
  address: string,
  port: number,
  cause: NodeJS.ErrnoException,
  otherwise = 'let the program listen elsewhere',
): ReuseportError {
  if (cause.code === 'EADDRINUSE' && kind === 'udp')
    return new ReuseportError('ERR_ADDRESS_IN_USE', `${address} is in use (UDP)`, {
      facts: { address, port },
      next: 'ss -lunp shows by whom.',
      cause,
    })
  if (cause.code === 'EADDRINUSE') {
    const holders = portHolders(port)
    return new ReuseportError('ERR_ADDRESS_IN_USE', `${address} is in use: held by ${describeHolders(holders)}`, {
      facts: { address, port, holders: holders.map(({ pid, name }) => `${pid ?? '?'} ${name ?? '?'}`) },
      next: `Stop that process, or ${otherwise}.`,
      cause,
    })
  }
  if (cause.code === 'EACCES')
    return new ReuseportError('ERR_PERMISSION', `this user may not listen on ${address}`, {
      facts: { address, port, uid: process.geteuid?.() ?? null },
      next: `Ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or sysctl net.ipv4.ip_unprivileged_port_start=${port}.`,
      cause,
    })
  return new ReuseportError('ERR_ADDRESS', `cannot listen on ${address}: ${cause.code ?? cause.message}`, {
    facts: { address, port },
    next:
      cause.code === 'EADDRNOTAVAIL'
        ? 'That address belongs to no interface of this machine (ip address).'
        : 'See ip(7) for this errno.',
    cause,
  })
}
