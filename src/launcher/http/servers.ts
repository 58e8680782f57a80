import type { HttpAddress } from '../../options.js'
import { type Check, fieldsOf, listOf } from '../shape.js'
import { HttpServer, nameOf, type Routes, SAVED_SERVER, type SavedServer } from './server.js'

/** What an option of the launcher answers, and where. */
export interface HttpUse {
  readonly option: string
  readonly address: HttpAddress
  readonly routes: Routes
}

export interface SavedHttp {
  readonly servers: readonly SavedServer[]
}
export const SAVED_HTTP: Check = fieldsOf({ servers: listOf(SAVED_SERVER) })

/** The launcher's own HTTP servers: one per address, whatever uses it. All are open or none is. */
export class HttpServers {
  readonly #servers = new Map<string, { readonly server: HttpServer; readonly option: string }>()

  constructor(uses: readonly HttpUse[]) {
    for (const { option, address, routes } of uses) {
      const name = nameOf(address)
      const { server } = this.#servers.get(name) ?? { server: new HttpServer(address) }
      server.add(routes)
      this.#servers.set(name, { server, option: this.#servers.get(name)?.option ?? option })
    }
  }

  /** Throws ERR_ADDRESS_IN_USE, ERR_PERMISSION, ERR_ADDRESS: then none is open. */
  async open(): Promise<void> {
    try {
      for (const { server, option } of this.#servers.values()) await server.open(option)
    } catch (error) {
      this.close()
      throw error
    }
  }

  save(): SavedHttp {
    return { servers: [...this.#servers.values()].map(({ server }) => server.save()) }
  }

  resume({ servers }: SavedHttp): void {
    for (const saved of servers) this.#servers.get(saved.address)?.server.resume(saved)
  }

  /** An answer is on its way: nobody should be cut off in the middle of it. */
  get isBusy(): boolean {
    return [...this.#servers.values()].some(({ server }) => server.isBusy)
  }

  close(): void {
    for (const { server } of this.#servers.values()) server.close()
  }
}
