import { join } from 'node:path'
import { ReuseportError } from '../errors.js'
import type { Log } from '../log.js'
import type { LauncherOptions } from '../options.js'
import type { ListenerKey, SocketName } from '../protocol.js'
import type { RuntimeDir } from '../runtime-dir.js'
import type { Agents } from './agents.js'
import type { Event, WorkerEvent } from './brain/events.js'
import { initialState, type State } from './brain/state.js'
import { facts } from './brain/workers.js'
import { Channels } from './channels.js'
import type { Orders } from './control.js'
import { ControlSocket } from './control-socket.js'
import { EventQueue } from './event-queue.js'
import type { EventStream } from './event-stream.js'
import type { Foreign } from './foreign.js'
import { Hands } from './hands.js'
import { makeProber } from './health-checks.js'
import { type Http, makeHttp } from './http/http.js'
import type { Limits } from './limits.js'
import type { Activation, NamedSocket } from './listen-fds.js'
import { Notebook, type Notes } from './notebook.js'
import type { NotifySocket } from './notify-socket.js'
import type { Output, Speaker } from './output.js'
import type { Prober } from './probe/prober.js'
import { Processes } from './processes.js'
import { Renewals } from './renewals.js'
import type { Heritage } from './service/heritage.js'
import type { ServiceManager } from './service/service-manager.js'
import { orphanTerms, settingsOf } from './settings.js'
import { Sockets } from './sockets.js'
import type { Specs } from './specs.js'
import { Timers } from './timers.js'
import type { Image, SavedSignals } from './upgrade/image.js'
import { Verdicts } from './verdicts.js'
import { WarmUps } from './warm-ups.js'
import type { Standing } from './welcome.js'

/** Loaded by every worker before its program. */
export const PRELOAD: string = join(__dirname, '..', 'worker', 'preload.js')

/** Who hears of what happens, and who knows of signals and options. */
export interface Told {
  readonly log: Log
  readonly events: EventStream
  readonly saveSignals: () => SavedSignals
  /** What names the lines of workers; without it they go past us. */
  readonly output?: Output | undefined
  /** What the options are meant to be by now: asked before each reload. Without it they stay. */
  readonly reread?: () => Promise<LauncherOptions>
}

/** What a launcher is made of, beside its options. */
export interface Given extends Told {
  readonly runtime: RuntimeDir
  readonly specs: Specs
  readonly activation: Activation
  /** What a launcher that was killed has left; null: nothing. */
  readonly notes: Notes | null
  /** That has started us, and wants to know. */
  readonly service: ServiceManager | undefined
}

/** What the parts ask of the whole. */
export interface Whole {
  readonly orders: Orders
  /** After each event. */
  readonly stepped: (event: Event, before: State) => void
  readonly upgrade: () => void
  readonly end: (code: number, callers: readonly number[]) => void
}

/** Everything that a launcher is made of, put together: who tells whom. */
export class Parts {
  readonly log: Log
  readonly runtime: RuntimeDir
  readonly activation: Activation
  readonly service: ServiceManager | undefined
  readonly saveSignals: () => SavedSignals
  readonly startedAt: string
  /** When this image of the process took over from another one; null: it is the first. */
  readonly upgradedAt: string | null
  readonly specs: Specs
  readonly verdicts: Verdicts
  readonly sockets: Sockets
  readonly notebook: Notebook
  readonly queue: EventQueue
  readonly renewals: Renewals
  readonly timers: Timers
  readonly processes: Processes
  readonly agents: Agents
  readonly channels: Channels | undefined
  /** In their place, with `--listen`. */
  readonly foreign: Foreign | undefined
  readonly notify: NotifySocket | undefined
  readonly prober: Prober | undefined
  readonly warmUps: WarmUps | undefined
  readonly control: ControlSocket
  readonly http: Http | undefined
  readonly hands: Hands
  #limits: Limits | undefined

  /** `before`: what another image of this process has left. Throws ERR_ADDRESS. */
  constructor(options: LauncherOptions, given: Given, whole: Whole, before?: Image) {
    this.log = given.log
    this.runtime = given.runtime
    this.activation = given.activation
    this.service = given.service
    this.saveSignals = given.saveSignals
    const at = new Date().toISOString()
    this.startedAt = before?.startedAt ?? at
    this.upgradedAt = before === undefined ? null : at
    this.specs = given.specs
    this.verdicts = new Verdicts(before?.verdicts)
    const kept = { store: given.service?.store, user: options.user }
    this.sockets =
      before === undefined
        ? new Sockets({ given: given.activation.sockets, stored: given.activation.stored, ...kept })
        : Sockets.resume(before.sockets, kept)
    this.notebook = new Notebook(given.runtime.notes, given.log)
    this.queue = new EventQueue(before === undefined ? this.#firstState(options) : stateAfter(before.state, options), {
      decided: (state) => this.notebook.decided(state, options, () => this.sockets.allInodes(), this.specs.all()),
      perform: (effect) => this.hands.perform(effect),
      stepped: whole.stepped,
    })
    this.renewals = new Renewals(options, { ...given, queue: this.queue, kept: before?.kept ?? undefined })
    this.timers = new Timers((id) => this.queue.post({ type: 'timer', id }), before?.timers)
    this.processes = new Processes({
      channel: given.runtime.channelSocket,
      preload: PRELOAD,
      ready: options.ready,
      compat: options.compat,
      notify: given.runtime.notifySocket,
      identity: options.user,
      diesWithUs: options.dieWithLauncher,
      compileCache: options.compileCache ? given.runtime.compileCache() : undefined,
      begins: (token) => this.notebook.begins(token),
      ended: (token) => this.notebook.ended(token),
      post: (event) => this.queue.post(this.#withLastWords(event)),
      lines: given.output && ((...of) => (given.output as Output).sink(...of, () => this.#speaker(of[0]))),
      saved: before?.processes,
    })
    this.foreign = options.listen.length > 0 ? this.#makeForeign(options, before) : undefined
    this.channels = this.foreign === undefined ? this.#makeChannels(options, given.notes, before) : undefined
    this.agents = this.foreign ?? (this.channels as Channels)
    this.notify = options.ready === 'notify' ? this.#makeNotifySocket(before) : undefined
    this.prober = this.#makeProber(options)
    this.warmUps = options.warmup && new WarmUps(options.warmup, this.agents, (event) => this.queue.post(event))
    this.control = new ControlSocket(whole.orders, given.log)
    const { status } = whole.orders
    this.http = makeHttp(options, { ...this, status, events: given.events })
    this.hands = new Hands({ ...this, options, upgrade: whole.upgrade, end: whole.end })
  }

  #speaker(worker: number): Speaker | null {
    const record = this.queue.state.workers[worker]
    return record === undefined ? null : facts(record)
  }

  #firstState(options: LauncherOptions): State {
    const given = this.activation.sockets.flatMap(({ keys }) => keys)
    const { orders, slots, isInOrder } = this.#takeHeritage(options, given)
    return initialState(settingsOf(options, { slots, given, steers: isInOrder && this.sockets.canSteer() }), orders)
  }

  /** What is of no use any more is let go of, before any worker is there. */
  #takeHeritage({ workers, listen }: LauncherOptions, given: readonly ListenerKey[]): Omit<Heritage, 'isWanted'> {
    const stored = this.activation.stored.map(({ name }) => name)
    if (stored.length === 0) return { orders: {}, slots: workers, isInOrder: true }
    const { heritageOf } = require('./service/heritage.js') as typeof import('./service/heritage.js')
    const heritage = heritageOf(stored, { workers, canScale: listen.length === 0, given })
    this.tellDropped(this.sockets.dropStored(heritage.isWanted))
    for (const [address, order] of Object.entries(heritage.orders))
      this.log('info', 'store.taken', { address, sockets: order.length })
    return heritage
  }

  tellDropped(sockets: readonly SocketName[]): void {
    for (const { listener, slot } of sockets) this.log('warn', 'store.dropped', { address: listener, slot })
  }

  #makeChannels(options: LauncherOptions, notes: Notes | null, before: Image | undefined): Channels {
    return new Channels({
      path: this.runtime.channelSocket,
      letWorkersIn: this.runtime.letWorkersIn,
      uid: options.user?.uid,
      processes: this.processes,
      sockets: this.sockets,
      standing: (worker) => this.#standing(worker),
      post: (event) => this.queue.post(event),
      patience: { timeoutMs: options.hangTimeoutMs, killMs: options.hangKillMs },
      terms: orphanTerms(options),
      // All that were alive before an upgrade are ours.
      knownTokens: before === undefined && notes === null ? null : new Set(notes?.tokens),
      log: this.log,
      saved: before?.channels ?? undefined,
    })
  }

  /** Loaded only when the program has no agent. */
  #makeForeign(options: LauncherOptions, before: Image | undefined): Foreign {
    const { Foreign } = require('./foreign.js') as typeof import('./foreign.js')
    return new Foreign({
      sockets: this.sockets,
      listens: this.#listens(options),
      hasDoor: options.health !== undefined,
      aliveMs: options.ready === 'alive' ? options.aliveMs : undefined,
      post: (event) => this.queue.post(event),
      stop: (worker) => this.hands.terminate(worker),
      saved: before?.foreign ?? undefined,
    })
  }

  /** What `--listen` asks for: addresses, and sockets that were given to us, by name. Throws ERR_ADDRESS. */
  #listens({ listen }: LauncherOptions): NamedSocket[] {
    return listen.map(({ name, from }) => {
      if (typeof from !== 'string') return { name, address: from }
      const given = this.activation.sockets.find((socket) => socket.name === from)
      if (given !== undefined) return { name: name ?? from, address: given.address }
      const there = this.activation.sockets.map((socket) => socket.name)
      throw new ReuseportError('ERR_ADDRESS', `no socket named ${JSON.stringify(from)} was given to the launcher`, {
        facts: { given: there },
        next: `LISTEN_FDNAMES has: ${there.length === 0 ? 'nothing' : there.join(', ')}. systemd names a socket by FileDescriptorName=.`,
      })
    })
  }

  #makeNotifySocket(before: Image | undefined): NotifySocket {
    const { NotifySocket } = require('./notify-socket.js') as typeof import('./notify-socket.js')
    return new NotifySocket({
      path: this.runtime.notifySocket,
      letWorkersIn: this.runtime.letWorkersIn,
      processes: this.processes,
      post: (event) => this.queue.post(event),
      log: this.log,
      saved: before?.notify ?? undefined,
    })
  }

  #makeProber(options: LauncherOptions): Prober | undefined {
    if (options.health === undefined) return undefined
    return makeProber({
      agents: this.agents,
      processes: this.processes,
      specs: this.specs,
      runtime: this.runtime,
      identity: options.user,
      state: () => this.queue.state,
      post: (event) => this.queue.post(event),
    })
  }

  /** The end of a process may be known before what it said last is read. */
  #withLastWords(event: WorkerEvent): WorkerEvent {
    if (event.type !== 'exited' && event.type !== 'gone') return event
    return { ...event, held: this.agents.lastWords(event.worker) }
  }

  #standing(worker: number): Standing | null {
    const record = this.queue.state.workers[worker]
    if (record === undefined) return null
    // One without a slot of its own knows the last word of none.
    const slot = this.queue.state.slots[record.slot]
    return {
      generation: record.generation,
      slot: record.slot,
      term: slot?.term ?? 0,
      working: slot?.working ?? this.queue.state.working ?? record.generation,
    }
  }

  /** As the options have them by now. Loaded only when there are some. */
  watchLimits(): void {
    const { options } = this.renewals
    const isAsked = options.maxMemory !== undefined || options.maxAgeMs !== undefined
    if (this.#limits !== undefined) this.#limits.set(options)
    else if (isAsked) {
      const limits = require('./limits.js') as typeof import('./limits.js')
      const { queue } = this
      this.#limits = new limits.Limits(options, { state: () => queue.state, post: (event) => queue.post(event) })
    }
  }

  /** What is under way ends, and nothing of a worker's is held any more. */
  close(): void {
    this.timers.clear()
    this.#limits?.close()
    this.hands.close()
    this.prober?.close()
    this.warmUps?.close()
    this.notify?.close()
    this.agents.close()
    this.processes.close()
    this.sockets.closeAll()
    this.control.close()
    this.http?.servers.close()
  }
}

/** As it was, with the settings that the options mean now. */
function stateAfter(state: State, options: LauncherOptions): State {
  return { ...state, settings: settingsOf(options, state.settings) }
}
