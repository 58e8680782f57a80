import type { Socket } from 'node:dgram'
import type { Fate, Place } from '../meeting.js'
import type { ListenAddress } from '../protocol.js'
import type { Claimant } from './claimant.js'
import { openPlace } from './library-servers.js'

/** The library's bind() of a UDP socket is claimed at the launcher. Throws what bind() would. */
export function bindManaged(
  claimant: Claimant,
  socket: Socket,
  address: ListenAddress & { readonly kind: 'udp' },
  fate: Fate,
): Place {
  const { agent } = claimant
  const place = openPlace(fate)
  const answer = agent.bind(socket, address, place)
  if (answer.mode === 'plain') return place
  claimant.claimed()
  if (answer.mode === 'failed') throw bindError(address, answer)
  agent.fill(place, answer.claim)
  agent.announce(answer.claim)
  return place
}

/** As Node words it. */
function bindError(
  { host, port }: { readonly host: string | null; readonly port: number },
  { errno, code }: { readonly errno: number; readonly code: string },
): Error {
  const message = `bind ${code} ${host}:${port}`
  return Object.assign(new Error(message), { errno, code, syscall: 'bind', address: host, port })
}
