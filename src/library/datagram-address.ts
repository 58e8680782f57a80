import type { Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { ListenAddress } from '../protocol.js'
import { isIpv6Only, typeOf } from '../serving/datagram-handles.js'

export type DatagramAddress = ListenAddress & { readonly kind: 'udp' }

/** The address that Node's bind() would bind. Rejects as that does. */
export async function datagramAddress(
  socket: Socket,
  { port, address }: { readonly port: number; readonly address: string | undefined },
): Promise<DatagramAddress & { readonly host: string }> {
  const family = typeOf(socket) === 'udp6' ? 6 : 4
  // Node takes an address of the other family, too, and the kernel does not.
  const host = (await lookup(address ?? (family === 6 ? '::' : '0.0.0.0'), { family })).address
  if (isIP(host) !== family)
    throw Object.assign(new Error(`bind EINVAL ${host}:${port}`), { code: 'EINVAL', host, port })
  return { kind: 'udp', host, port, ipv6Only: isIpv6Only(socket) }
}
