import type { Socket } from 'node:net'
import { native, READABLE } from '../../native.js'

/** The client has sent something, or its end, that Node has not read yet. */
export function hasUnread(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null }
  const fd = handle?.fd
  return fd !== undefined && fd >= 0 && native().pollSync(fd, READABLE, 0) !== 0
}
