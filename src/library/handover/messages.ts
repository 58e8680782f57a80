import type { ListenerKey } from '../../protocol.js'

/*
 * What two processes say to each other by the handover path, when one takes over from the other: packets as on a channel (protocol.ts), JSON
 * with a manifest of its descriptors in `fds`. The new one speaks first.
 *
 *     new                              old
 *     hello                  →
 *                            ←         sockets, or refused
 *     ready                  →                                  its program has called ready() on all of its listeners
 *                            ←         commit
 *     acting                 →                                  it accepts; from here on it owns them
 *                            ←         taken                    the old one has let go: the new one may have a successor
 *                            ←         lane (one per listener whose connections move)
 *
 * Until 'acting' has come the old one accepts as before, and whoever dies or is late changes nothing. After it the old one has given up its
 * copies. If the old one dies at any time the new one has everything, also if its last word was that the new one is late. Nobody comes after the
 * new one before the old one has let go: it would take the new one's end for that of one that nobody has succeeded. What the new one has not asked for by `ready` is served by the old one
 * up to its end: `leaving` tells it, and is answered by `dropped`. What it asks for later it takes by `take`.
 */

/** Grows when a message changes its meaning; fields are only added within a version. */
export const HANDOVER_VERSION = 1

export type FromNew =
  | { readonly type: 'hello'; readonly version: number }
  | { readonly type: 'ready'; readonly takes: readonly ListenerKey[] }
  | { readonly type: 'acting' }
  | { readonly type: 'take'; readonly listener: ListenerKey }
  | { readonly type: 'dropped' }

export type FromOld =
  | {
      readonly type: 'sockets'
      readonly version: number
      /** Of the old one. */
      readonly generation: number
      /** The handover path's own socket and its lock, then those of the listeners. */
      readonly fds: readonly ['path', 'lock', ...ListenerKey[]]
    }
  | { readonly type: 'refused'; readonly code: Refusal; readonly message: string }
  | { readonly type: 'commit' }
  | { readonly type: 'taken' }
  | { readonly type: 'lane'; readonly listener: ListenerKey; readonly fds: readonly ['lane'] }
  | { readonly type: 'leaving' }

export type Refusal =
  /** Another process is taking over right now, or this one has only just begun. */
  | 'busy'
  /** It speaks another version of these messages. */
  | 'version'
  /** A process of another user, of another pid namespace, or this one itself. */
  | 'who'
  /** It was not ready in time. */
  | 'late'
