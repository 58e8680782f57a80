import type { Refusal, ScaleVerdict, UpgradeVerdict, Verdict } from '../control-protocol.js'
import type { Log } from '../log.js'
import { native, type Poller, READABLE } from '../native.js'
import type { Orders, SavedControl } from './control.js'
import type { ControlServer } from './control-server.js'

/** Node's own. */
const BACKLOG = 511

/**
 * A unix socket of mode 0600 in a directory of mode 0700: whoever can connect is the owner, or root, and the kernel is asked once more. HTTP is loaded for the first who does: it
 * takes 7 ms of processor time and 1.5 MB (Node 20), and many a launcher is never asked anything.
 */
export class ControlSocket {
  readonly #orders: Orders
  readonly #log: Log
  #waiting: { readonly fd: number; readonly poller: Poller } | undefined
  #server: ControlServer | undefined

  constructor(orders: Orders, log: Log) {
    this.#orders = orders
    this.#log = log
  }

  /** Throws what bind(2) says. */
  listen(path: string): void {
    const fd = native().socket('unix', 'stream')
    // The mode is right from the moment the path exists.
    const mask = process.umask(0o177)
    try {
      native().bindUnix(fd, path)
      native().listen(fd, BACKLOG)
    } catch (error) {
      native().close(fd)
      throw error
    } finally {
      process.umask(mask)
    }
    this.#await(fd)
  }

  #await(fd: number): void {
    const poller = new (native().Poller)(fd, () => {
      poller.close()
      this.#waiting = undefined
      this.#serve({ fd, nextCaller: 1, clients: [] })
    })
    poller.start(READABLE)
    poller.ref()
    this.#waiting = { fd, poller }
  }

  #serve(saved: SavedControl): void {
    const { ControlServer } = require('./control-server.js') as typeof import('./control-server.js')
    this.#server = new ControlServer(this.#orders, this.#log, saved)
  }

  save(): SavedControl {
    if (this.#waiting !== undefined) return { fd: this.#waiting.fd, nextCaller: 1, clients: [] }
    return (this.#server as ControlServer).save()
  }

  /** Of another image of this process. */
  resume(saved: SavedControl): void {
    if (saved.nextCaller > 1 || saved.clients.length > 0) this.#serve(saved)
    else this.#await(saved.fd)
  }

  /** An answer is on its way that the kernel has not taken whole. */
  get isSending(): boolean {
    return this.#server?.isSending === true
  }

  answer(callers: readonly number[], verdict: Verdict | ScaleVerdict | UpgradeVerdict): void {
    for (const caller of callers) this.#server?.answer(caller, verdict)
  }

  refuse(caller: number, refusal: Refusal): void {
    this.#server?.refuse(caller, refusal)
  }

  /** Takes no further connection. */
  close(): void {
    this.#server?.close()
    if (this.#waiting === undefined) return
    this.#waiting.poller.close()
    native().close(this.#waiting.fd)
    this.#waiting = undefined
  }

  /**
   * Answers whoever waits for the stop, and drops everybody else. These connections are not closed: they end with the process, so a
   * client that reads to the end knows that it has gone. Resolves when the last byte is with the kernel.
   */
  async sayGoodbye(callers: readonly number[]): Promise<void> {
    this.#orders.events.end()
    await this.#server?.sayGoodbye(callers)
  }
}
