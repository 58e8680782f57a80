import { RawConnection } from './raw-connection.js'

export interface Tally {
  answered: number
  /** A request without an answer: refused, reset, or closed under it. */
  failed: number
  /** An idle connection closed without a word. */
  closedIdle: number
  /** Connections whose last answer said that it was the last. */
  ended: number
}

/** Clients with keep-alive connections that never retry: every request is answered once or counted as failed. */
export class KeepAliveLoad {
  readonly tally: Tally = { answered: 0, failed: 0, closedIdle: 0, ended: 0 }
  readonly pids = new Set<string>()
  /** Connections that have been answered. */
  opened = 0
  readonly #clients: Promise<void>[] = []
  #running = true

  readonly connections: number

  constructor(to: number | string, options: { connections: number; thinkMs: number; tls?: boolean }) {
    this.connections = options.connections
    for (let index = 0; index < options.connections; index++) this.#clients.push(this.#client(to, options))
  }

  async stop(): Promise<Tally> {
    this.#running = false
    await Promise.all(this.#clients)
    return this.tally
  }

  async #client(to: number | string, options: { thinkMs: number; tls?: boolean }): Promise<void> {
    while (this.#running) {
      try {
        await this.#connection(await RawConnection.open(to, options), options.thinkMs)
      } catch {
        this.tally.failed++
      }
    }
  }

  /** Until its end, or ours. */
  #connection(connection: RawConnection, thinkMs: number): Promise<void> {
    return new Promise((done) => {
      let waiting = true
      let isLast = false
      let isNew = true
      let think: NodeJS.Timeout | undefined
      const finish = (): void => {
        clearTimeout(think)
        connection.socket.destroy()
        done()
      }
      connection.onResponse = (response) => {
        waiting = false
        isLast = response.isLast
        this.tally.answered++
        if (isNew) this.opened++
        isNew = false
        this.pids.add(response.body)
        if (isLast) this.tally.ended++
        if (isLast || !this.#running) return finish()
        think = setTimeout(() => {
          if (!this.#running) return finish()
          waiting = true
          connection.send()
        }, Math.random() * thinkMs)
      }
      connection.onClose = () => {
        if (waiting) this.tally.failed++
        else if (!isLast && this.#running) this.tally.closedIdle++
        finish()
      }
      connection.send()
    })
  }
}
