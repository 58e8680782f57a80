import type { Log } from '../log.js'
import type { LauncherOptions } from '../options.js'
import type { EventQueue } from './event-queue.js'
import { settingsOf } from './settings.js'
import type { Specs } from './specs.js'

/** Whom new options concern. */
interface Concerned {
  readonly specs: Specs
  readonly queue: EventQueue
  readonly log: Log
  /** What the options are meant to be by now; missing: what they were. */
  readonly reread?: () => Promise<LauncherOptions>
  /** As another image of this process has left it. */
  readonly kept: string | undefined
}

/** The options, which are read again before each reload: whoever asks for one has put everything there before. */
export class Renewals {
  #options: LauncherOptions
  #kept: string | undefined
  readonly #concerned: Concerned
  #running: Promise<void> = Promise.resolve()
  /** Has not begun. */
  #next: Promise<void> | undefined
  /** Those who wait. */
  #waiting = 0

  constructor(options: LauncherOptions, concerned: Concerned) {
    this.#options = options
    this.#concerned = concerned
    this.#kept = concerned.kept
  }

  get options(): LauncherOptions {
    return this.#options
  }

  /** Which settings are not what they are meant to be by now, in words; undefined: none. */
  get kept(): string | undefined {
    return this.#kept
  }

  get isBusy(): boolean {
    return this.#waiting > 0
  }

  /** One after the other; whoever asks before the next one has begun is content with it. Never rejects: the reload is told. */
  async renew(): Promise<void> {
    this.#waiting++
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      return this.#renew()
    })
    this.#running = this.#next
    await this.#next
    this.#waiting--
  }

  async #renew(): Promise<void> {
    const { reread, specs, queue, log } = this.#concerned
    if (reread === undefined) return
    let asked: LauncherOptions
    try {
      asked = await reread()
    } catch (error) {
      // What cannot be had is the reason why the reload is aborted.
      return specs.use(() => {
        throw error
      })
    }
    const { describeKept, renewed } = require('./renewal.js') as typeof import('./renewal.js')
    const { options, kept } = renewed(this.#options, asked)
    this.#options = options
    this.#kept = kept.length === 0 ? undefined : describeKept(kept)
    specs.use(() => options)
    queue.post({ type: 'settings', settings: settingsOf(options, queue.state.settings) })
    if (this.#kept !== undefined) log('warn', 'config.kept', { settings: kept, text: this.#kept })
  }
}
