import { type Fate, MEETING, MEETING_VERSION, type Meeting, type Place } from '../meeting.js'

/** A place that the hook fills in when the server's listen() is claimed. */
export type OpenPlace = { -readonly [Key in keyof Place]: Place[Key] } & { readonly fate: Fate | undefined }

/** The servers with which the program is about to listen by `listenReusePort`. */
export class LibraryServers implements Meeting {
  readonly version: number = MEETING_VERSION
  readonly #places = new WeakMap<object, OpenPlace>()

  /** For the library of this thread to find. */
  static offer(): LibraryServers {
    const servers = new LibraryServers()
    Object.defineProperty(globalThis, MEETING, { value: servers, configurable: true })
    return servers
  }

  announce(server: object, fate?: Fate): Place {
    const place = { generation: null, ready: () => {}, fate }
    this.#places.set(server, place)
    return place
  }

  forget(server: object): void {
    this.#places.delete(server)
  }

  /** undefined: this server's listen() is a plain one. */
  placeOf(server: object): OpenPlace | undefined {
    return this.#places.get(server)
  }
}
