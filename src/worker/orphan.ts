import type { OrphanTerms } from '../protocol.js'
import { endService, type OrderWorld } from './orders.js'
import { say } from './say.js'

/** What nobody reads any more is lost, and that is all. EIO: the terminal is gone. */
const UNREAD: readonly (string | undefined)[] = ['EPIPE', 'EIO']

/**
 * A worker without a launcher. It serves on; what changes is only that nobody reads what its launcher read: that must neither stop it nor
 * end it.
 */
export class Orphan {
  readonly #world: OrderWorld
  readonly #thread: number
  #isFirst = false
  #terms: OrphanTerms | undefined
  #timer: NodeJS.Timeout | undefined
  #isGuarded = false

  constructor(world: OrderWorld, thread: number) {
    this.#world = world
    this.#thread = thread
  }

  /** A launcher has taken it. `terms`: for when that one is gone. */
  found(isFirst: boolean, terms: OrphanTerms | undefined): void {
    clearTimeout(this.#timer)
    this.#isFirst = isFirst
    this.#terms = terms
  }

  lost(): void {
    if (this.#terms === 'kill') process.kill(process.pid, 'SIGKILL')
    this.#world.output.leave()
    this.#guardOutput()
    if (this.#isFirst)
      say(`pid ${process.pid}: the launcher is gone; this worker serves on, and waits for the next one`)
    const terms = this.#terms
    if (typeof terms !== 'object') return
    this.#timer = setTimeout(() => void this.#end(terms), terms.afterMs).unref()
  }

  /** Without a reader a write is an error, and an error that nobody handles is the end of the program. */
  #guardOutput(): void {
    if (this.#isGuarded || this.#thread !== 0) return
    this.#isGuarded = true
    for (const stream of [process.stdout, process.stderr])
      stream.on('error', (error: NodeJS.ErrnoException) => {
        if (!UNREAD.includes(error.code) && stream.listenerCount('error') === 1) throw error
      })
  }

  /** As a stop does. */
  async #end(terms: Exclude<OrphanTerms, 'kill'>): Promise<void> {
    if (this.#isFirst) say(`pid ${process.pid}: no launcher has come for ${terms.afterMs} ms; this worker ends`)
    await endService(this.#world, terms.drainMs)
    if (!this.#isFirst) return
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), terms.killAfterMs).unref()
    process.kill(process.pid, terms.stopSignal)
  }
}
