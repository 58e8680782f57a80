import type { Verdict } from '../../control-protocol.js'
import { ReuseportError } from '../../errors.js'
import type { Log } from '../../log.js'
import { native } from '../../native.js'
import { ServiceSocket } from '../../service-socket.js'
import type { State } from '../brain/state.js'
import type { ServiceEnvironment } from './environment.js'
import { FdStore, type SavedStore } from './fd-store.js'
import { isBusy, isWell, type News, newsOf, oneLine, type View, viewOf } from './news.js'

/** While it takes its time, the manager is asked for so much more … */
const EXTEND_MS = 30_000
/** … so often. */
const EXTEND_EVERY_MS = 10_000
/** A line for people: many workers that start would else be as many messages. */
const TEXT_EVERY_MS = 250
/** systemd answers in milliseconds, unless it is being replaced itself. */
const BARRIER_MS = 5_000

export interface SavedService {
  readonly variables: ServiceEnvironment['variables']
  readonly view: View | null
  readonly store: SavedStore | null
}

/** Tells the service manager that started the launcher (systemd: sd_notify(3)) how it stands. Loaded only when there is one. */
export class ServiceManager {
  /** undefined: it keeps no descriptors for us. */
  readonly store: FdStore | undefined
  readonly #socket: ServiceSocket
  readonly #watchdog: NodeJS.Timeout | undefined
  readonly #extend: NodeJS.Timeout
  #text: NodeJS.Timeout | undefined
  #told: View | null = null
  #now: View | null = null
  #state: State | undefined

  readonly #variables: ServiceEnvironment['variables']

  /** `saved`: what another image of this process has told it. */
  constructor({ socket, watchdogMs, mostStored, variables }: ServiceEnvironment, log: Log, saved?: SavedService) {
    this.#variables = variables
    this.#socket = new ServiceSocket(native(), socket as string)
    const send = this.#send.bind(this)
    const barrier = (): Promise<boolean> => this.#socket.barrier(BARRIER_MS)
    this.store = mostStored > 0 ? new FdStore({ send, barrier, most: mostStored, log }) : undefined
    this.#extend = setInterval(() => {
      if (this.#state !== undefined && isBusy(this.#state)) this.#send([extend()])
    }, EXTEND_EVERY_MS).unref()
    // Half of what it allows (sd_watchdog_enabled(3)). That it is sent at all says that the event loop turns.
    if (watchdogMs !== undefined)
      this.#watchdog = setInterval(() => this.#pat(), Math.max(1, Math.floor(watchdogMs / 2))).unref()
    if (saved === undefined) this.#send(['STATUS=starting', extend()])
    else this.#resume(saved)
  }

  #resume({ view, store }: SavedService): void {
    this.#now = view
    if (store !== null) this.store?.resume(store)
  }

  save(): SavedService {
    return { variables: this.#variables, view: this.#now, store: this.store?.save() ?? null }
  }

  /** It has not taken all that was said. */
  get isSending(): boolean {
    return this.#socket.isSending
  }

  /** After each event. `last`: of the last reload that has one. */
  stepped(state: State, last: Verdict | null): void {
    const before = this.#now
    this.#state = state
    this.#now = viewOf(state, last)
    for (const news of newsOf(before, this.#now)) this.#tell(news, this.#now)
    if (this.#now.text !== this.#told?.text) this.#text ??= setTimeout(() => this.#tellText(), TEXT_EVERY_MS).unref()
  }

  /** It never came to run, or it could not. */
  failed(error: unknown): void {
    const { errno } = ((error instanceof ReuseportError ? error.cause : error) ?? {}) as { errno?: number }
    const code = typeof errno === 'number' ? [`ERRNO=${-errno}`] : []
    this.#send([`STATUS=${oneLine((error as Error).message)}`, ...code])
  }

  close(): void {
    clearInterval(this.#watchdog)
    clearInterval(this.#extend)
    clearTimeout(this.#text)
    this.#socket.close()
  }

  #tell(news: News, view: View): void {
    this.#told = view
    const text = `STATUS=${view.text}`
    switch (news) {
      case 'ready':
        this.#send(['READY=1', `MAINPID=${process.pid}`, text])
        // From here on it is waited for.
        return this.#pat()
      case 'reloading':
        return this.#send(['RELOADING=1', `MONOTONIC_USEC=${monotonic()}`, text, extend()])
      case 'stopping':
        return this.#send(['STOPPING=1', text, extend()])
      default:
        return news satisfies never
    }
  }

  #tellText(): void {
    this.#text = undefined
    if (this.#now === null || this.#now.text === this.#told?.text) return
    this.#told = this.#now
    this.#send([`STATUS=${this.#now.text}`])
  }

  #pat(): void {
    if (this.#watchdog !== undefined && this.#state !== undefined && isWell(this.#state)) this.#send(['WATCHDOG=1'])
  }

  #send(lines: readonly string[], fds: readonly number[] = []): void {
    this.#socket.send(lines, fds)
  }
}

function extend(): string {
  return `EXTEND_TIMEOUT_USEC=${EXTEND_MS * 1_000}`
}

/** CLOCK_MONOTONIC, in µs. */
function monotonic(): bigint {
  return process.hrtime.bigint() / 1_000n
}
