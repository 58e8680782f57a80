import type { Log } from '../../log.js'
import type { HttpAddress } from '../../options.js'
import { HttpServer, nameOf, type Routes, type SavedServer } from './server.js'

/** What an option of the launcher answers, and where. */
export interface HttpUse {
  readonly option: string
  readonly address: HttpAddress
  readonly routes: Routes
}

export interface SavedHttp {
  readonly servers: readonly SavedServer[]
}

/** The launcher's own HTTP servers: one per address, whatever uses it. All are open or none is. */
export class HttpServers {
  /** By address, with the options that it is there for. */
  readonly #servers = new Map<string, { readonly server: HttpServer; readonly options: string[] }>()

  constructor(uses: readonly HttpUse[]) {
    for (const { option, address, routes } of uses) {
      const name = nameOf(address)
      const { server, options } = this.#servers.get(name) ?? { server: new HttpServer(address), options: [] }
      server.add(routes)
      this.#servers.set(name, { server, options: [...options, option] })
    }
  }

  /** Throws ERR_ADDRESS_IN_USE, ERR_PERMISSION, ERR_ADDRESS: then none is open. */
  async open(log: Log): Promise<void> {
    try {
      for (const { server, options } of this.#servers.values()) await server.open(options[0] as string)
    } catch (error) {
      this.close()
      throw error
    }
    for (const [address, { options }] of this.#servers) log('info', 'http.listening', { address, options })
  }

  save(): SavedHttp {
    return { servers: [...this.#servers.values()].map(({ server }) => server.save()) }
  }

  resume(before: SavedHttp | null): void {
    for (const saved of before?.servers ?? []) this.#servers.get(saved.address)?.server.resume(saved)
  }

  /** An answer is on its way: nobody should be cut off in the middle of it. */
  get isBusy(): boolean {
    return [...this.#servers.values()].some(({ server }) => server.isBusy)
  }

  close(): void {
    for (const { server } of this.#servers.values()) server.close()
  }
}
