import type { SocketName } from '../../protocol.js'

/** Where a socket belongs: its slot's, and its place in its reuseport group (kernel.md §3), which nothing else would tell. */
export interface StoredName extends SocketName {
  readonly index: number
}

/** Names of sockets that come from here; any other is of a socket unit. */
const PREFIX = 'reuseport-run'
/** FDNAME_MAX of systemd. */
const LONGEST_NAME = 255

/** Any ASCII but control characters and ':' may be in a name. null: it would be too long, and of no use cut short. */
export function storedName({ listener, slot, index }: StoredName): string | null {
  // A space is well-formed, but a person who reads `systemd-analyze fdstore` may take it for the end.
  const name = `${PREFIX}.${slot}.${index}.${encodeURIComponent(listener).replaceAll('%20', '+')}`
  return name.length > LONGEST_NAME ? null : name
}

export function parseStoredName(name: string): StoredName | null {
  const [, slot, index, listener] = new RegExp(`^${PREFIX}\\.(\\d{1,4})\\.(\\d{1,4})\\.(.+)$`).exec(name) ?? []
  if (listener === undefined) return null
  try {
    return { slot: Number(slot), index: Number(index), listener: decodeURIComponent(listener.replaceAll('+', '%20')) }
  } catch {
    return null
  }
}
