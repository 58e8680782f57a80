import { subscribe } from 'node:diagnostics_channel'
import type { Drain as DrainType } from '../../serving/drain/drain.js'
import type { Server } from '../../serving/handles.js'
import { type Answer, type Ask, CMD, isConnection, isOurs, type Tell } from './messages.js'

const LISTEN_STARTS = 'tracing:net.server.listen:asyncStart'

interface ListenStart {
  readonly server: Server
  readonly options?: { readonly port?: unknown; readonly path?: unknown; readonly exclusive?: unknown }
}

/** A child of node:cluster: its primary accepts for it, and is the worker; what it has in hand it drains here, when the primary says so. */
export class ClusterChild {
  readonly #servers = new Set<Server>()
  readonly #binding: string | undefined
  readonly #send: (message: Answer | Tell) => void
  #taken: number | undefined
  #drain: DrainType | undefined

  constructor(binding: string | undefined, first: unknown) {
    this.#binding = binding
    // The program may put another in its place.
    const send = process.send?.bind(process)
    this.#send = (message) => {
      if (process.connected) send?.(message)
    }
    subscribe(LISTEN_STARTS, (message) => this.#listens(message as ListenStart))
    this.#listens(first as ListenStart)
    process.on('internalMessage' as never, (message: unknown) => {
      if (isOurs(message)) this.#answer(message as Ask)
      else if (this.#taken !== undefined && isConnection(message)) this.#taken++
    })
  }

  /** Not what it has to itself: a private helper's port, or a socket of its own. */
  #listens({ server, options }: ListenStart): void {
    const { port, path, exclusive } = options ?? {}
    if (exclusive === true || this.#servers.has(server)) return
    if (typeof path !== 'string' && !(Number(port) > 0)) return
    this.#servers.add(server)
    const { trackSessions } = require('../../serving/drain/http2.js') as typeof import('../../serving/drain/http2.js')
    const { trackUpgrades } =
      require('../../serving/drain/upgrades.js') as typeof import('../../serving/drain/upgrades.js')
    trackSessions(server)
    trackUpgrades(server)
  }

  #answer(asked: Ask): void {
    this.#taken ??= 0
    if (asked.ask === 'drain') this.#begin(asked)
    if (asked.ask === 'resume') this.#end()
    const speaks = asked.ask === 'speaks' ? this.#speaks(asked.where) : null
    const open = [...this.#servers].reduce((sum, server) => sum + server._connections, 0)
    this.#send({ cmd: CMD, seq: asked.seq, taken: this.#taken, open, speaks })
  }

  #speaks(where: number | string): Answer['speaks'] {
    const { speaks } = require('../../serving/speaks.js') as typeof import('../../serving/speaks.js')
    for (const server of this.#servers) {
      const address = server.address()
      if ((typeof address === 'object' ? address?.port : address) === where) return speaks(server)
    }
    return null
  }

  #begin({ deadlineMs, spreadMs }: Extract<Ask, { ask: 'drain' }>): void {
    if (this.#drain !== undefined) return this.#drain.setDeadline(deadlineMs)
    const { loadAddon } = require('../addon.js') as typeof import('../addon.js')
    const { Drain } = require('../../serving/drain/drain.js') as typeof import('../../serving/drain/drain.js')
    loadAddon(this.#binding)
    this.#drain = new Drain(
      [...this.#servers],
      { spreadMs },
      {
        done: (outcome) => this.#send({ cmd: CMD, tell: 'drained', outcome }),
        holds: (held) => this.#send({ cmd: CMD, tell: 'held', held }),
        closedEarly: (call, cut, open) => this.#send({ cmd: CMD, tell: 'closed-early', call, cut, open }),
      },
    )
    this.#drain.begin(deadlineMs)
  }

  #end(): void {
    this.#drain?.cancel()
    this.#drain = undefined
  }
}
