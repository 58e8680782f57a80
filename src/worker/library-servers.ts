import type { Socket } from 'node:dgram'
import { type Fate, MEETING, MEETING_VERSION, type Meeting, type Place } from '../meeting.js'
import type { ListenAddress } from '../protocol.js'

/** A place that the hook fills in when the server's listen() is claimed. */
export type OpenPlace = { -readonly [Key in keyof Place]: Place[Key] } & { readonly fate: Fate | undefined }

export function openPlace(fate: Fate | undefined): OpenPlace {
  return { generation: null, ready: () => {}, fate }
}

type Bind = NonNullable<Meeting['bind']>

/** The servers with which the program is about to listen by `listenReusePort`. */
export class LibraryServers implements Meeting {
  readonly version: number = MEETING_VERSION
  readonly #places = new WeakMap<object, OpenPlace>()

  readonly #bind: Bind

  constructor(bind: Bind) {
    this.#bind = bind
  }

  /** For the library of this thread to find. */
  static offer(bind: Bind): LibraryServers {
    const servers = new LibraryServers(bind)
    Object.defineProperty(globalThis, MEETING, { value: servers, configurable: true })
    return servers
  }

  announce(server: object, fate?: Fate): Place {
    const place = openPlace(fate)
    this.#places.set(server, place)
    return place
  }

  bind(socket: Socket, address: ListenAddress & { readonly kind: 'udp' }, fate: Fate): Place {
    return this.#bind(socket, address, fate)
  }

  forget(server: object): void {
    this.#places.delete(server)
  }

  /** undefined: this server's listen() is a plain one. */
  placeOf(server: object): OpenPlace | undefined {
    return this.#places.get(server)
  }
}
