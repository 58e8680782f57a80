import type { Packet } from '../channel.js'
import type { Native } from '../native.js'
import { ReceivedFds } from './received-fds.js'

export interface Incoming<M> {
  /** Any `type` may come: a newer peer knows messages that we do not. */
  readonly message: M | { readonly type: string; readonly seq?: number }
  readonly fds: ReceivedFds
}

/** A packet that is not a message: told to the other side, never guessed at. */
export interface Malformed {
  readonly malformed: string
  readonly seq: number | undefined
}

/** A packet as a message with its descriptors; those of a malformed one are closed. What the message says is not looked at. */
export function parsePacket<M>(native: Native, packet: Packet): Incoming<M> | Malformed {
  const fds = new ReceivedFds(native, packet.fds)
  const refuse = (malformed: string, seq?: unknown): Malformed => {
    fds.closeRest()
    return { malformed, seq: typeof seq === 'number' ? seq : undefined }
  }
  let message: unknown
  try {
    message = JSON.parse(packet.data.toString())
  } catch {
    return refuse('not JSON')
  }
  if (typeof message !== 'object' || message === null) return refuse('not an object')
  const { type, seq, fds: manifest = [] } = message as { type?: unknown; seq?: unknown; fds?: unknown }
  if (typeof type !== 'string') return refuse('no type', seq)
  if (packet.truncated) return refuse(`${type}: truncated`, seq)
  if (!Array.isArray(manifest) || manifest.length !== fds.count) {
    const named = Array.isArray(manifest) ? manifest.length : 'no'
    return refuse(`${type}: ${named} descriptors named, ${fds.count} attached`, seq)
  }
  return { message: message as Incoming<M>['message'], fds }
}
