import type { Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { ListenAddress } from '../../protocol.js'
import type { Listener, Standing } from '../listener.js'
import { isIpv6Only, typeOf } from './datagrams.js'
import type { HandoverOptions } from './entry.js'
import { follow, join, notToBeHandedOver, type RowOptions } from './listen.js'

/** `begin`: what is to be done to the socket before it receives. Rejects with what bind(2) says, and with what is wrong with the path. */
export async function bindWithHandover(
  socket: Socket,
  listener: Listener,
  path: string,
  where: { readonly port: number; readonly address: string | undefined },
  options: HandoverOptions & RowOptions,
  begin: () => void,
): Promise<Standing> {
  const asked = await addressOf(socket, where)
  const succession = await join(path)
  succession.expect()
  try {
    const { claim, ready, isInherited } = succession.bind(socket, asked, { ...options, fate: listener.fate }, begin)
    // In a drain this is not yet its end.
    socket.once('close', () => {
      if (!claim.isDraining) listener.closed()
    })
    follow(succession, options)
    return {
      address: socket.address(),
      inherited: isInherited ? 'predecessor' : 'none',
      generation: succession.generation,
      ready,
    }
  } finally {
    succession.settled()
  }
}

async function addressOf(
  socket: Socket,
  { port, address }: { readonly port: number; readonly address: string | undefined },
): Promise<ListenAddress & { readonly kind: 'udp' }> {
  const family = typeOf(socket) === 'udp6' ? 6 : 4
  const ipv6Only = isIpv6Only(socket)
  if (port === 0) throw notToBeHandedOver()
  // As Node's bind() does; it takes an address of the other family, too, and the kernel does not.
  const host = (await lookup(address ?? (family === 6 ? '::' : '0.0.0.0'), { family })).address
  if (isIP(host) !== family)
    throw Object.assign(new Error(`bind EINVAL ${host}:${port}`), { code: 'EINVAL', host, port })
  return { kind: 'udp', host, port, ipv6Only }
}
