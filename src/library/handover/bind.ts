import type { Socket } from 'node:dgram'
import type { DatagramAddress } from '../datagram-address.js'
import type { Listener, Standing } from '../listener.js'
import type { HandoverOptions } from './entry.js'
import { follow, join, notToBeHandedOver, type RowOptions } from './listen.js'

/** `begin`: what is to be done to the socket before it receives. Rejects with what bind(2) says, and with what is wrong with the path. */
export async function bindWithHandover(
  socket: Socket,
  listener: Listener,
  path: string,
  address: DatagramAddress,
  options: HandoverOptions & RowOptions,
  begin: () => void,
): Promise<Standing> {
  if (address.port === 0) throw notToBeHandedOver()
  const succession = await join(path)
  succession.expect()
  try {
    const { ready, isInherited } = succession.bind(socket, address, { ...options, fate: listener.fate }, begin)
    socket.once('close', () => listener.closed())
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
