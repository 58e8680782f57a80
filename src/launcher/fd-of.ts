import type { Server, Socket } from 'node:net'

/** The descriptor of a socket or a server that libuv has; undefined: it has none any more. */
export function fdOf(owner: Socket | Server): number | undefined {
  const { fd } = (owner as unknown as { _handle: { fd: number } | null })._handle ?? { fd: -1 }
  return fd >= 0 ? fd : undefined
}
