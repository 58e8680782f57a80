import { join } from 'node:path'
import type { CanaryPlan, ReloadWait, Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { Log } from '../log.js'
import type { LauncherOptions } from '../options.js'
import { removePidFile, writePidFile } from '../pid-file.js'
import { type ListenerKey, listenerKey, type SocketName } from '../protocol.js'
import { heldRuntimeDir, notUsable, type RuntimeDir, takeRuntimeDir } from '../runtime-dir.js'
import { VERSION } from '../version.js'
import { adopt } from './adoption.js'
import type { Agents } from './agents.js'
import type { Event, WorkerEvent } from './brain/events.js'
import { initialState, type State } from './brain/state.js'
import { Channels } from './channels.js'
import { now } from './clock.js'
import { logicalDirectory } from './command.js'
import { ControlServer } from './control-server.js'
import { EventQueue, type NewEvent } from './event-queue.js'
import type { EventStream } from './event-stream.js'
import type { Foreign } from './foreign.js'
import { Hands, isShared } from './hands.js'
import { makeProber } from './health-checks.js'
import { type Activation, type NamedSocket, takeListenFds } from './listen-fds.js'
import { Notebook, type Notes, readNotes } from './notebook.js'
import type { NotifySocket } from './notify-socket.js'
import { awaitedOf, endHalfStarted, type Left, leftOf } from './orphans.js'
import type { Prober } from './probe/prober.js'
import { Processes } from './processes.js'
import { type ServiceEnvironment, takeServiceEnvironment } from './service/environment.js'
import type { Heritage } from './service/heritage.js'
import type { SavedService, ServiceManager } from './service/service-manager.js'
import { orphanTerms, settingsOf } from './settings.js'
import { Sockets } from './sockets.js'
import { Specs } from './specs.js'
import { statusOf } from './status.js'
import { stderr } from './stderr.js'
import { Timers } from './timers.js'
import { IMAGE_VERSION, type Image, optionsOf, type SavedSignals, saveOptions } from './upgrade/image.js'
import { upgrade } from './upgrade/upgrader.js'
import { Verdicts } from './verdicts.js'
import { WarmUps } from './warm-ups.js'
import { strangerWarnings, warningsOf } from './warnings.js'
import type { Standing } from './welcome.js'

/*
 * The promises, in this order:
 *
 * 1. Nothing is lost. No connection refused or reset, no request failed by a reload or a worker crash (but for what that worker had in hand).
 * 2. A new version proves itself first. Until it serves on every slot, nothing it does can lower the capacity of the old one.
 * 3. The launcher is no single point of failure. The workers hold copies of every socket and serve on without it.
 * 4. Every order gets an honest answer.
 *
 * How they are kept: every socket is made here and closed only when its listener ends (sockets.ts); one queue of events (event-queue.ts),
 * one pure `step` that decides (brain/), and hands that decide nothing (hands.ts).
 */

const PRELOAD = join(__dirname, '..', 'worker', 'preload.js')

/** Who hears of what happens, and who knows of signals. */
interface Told {
  readonly log: Log
  readonly events: EventStream
  readonly saveSignals: () => SavedSignals
}

/** What a launcher is made of, beside its options. */
interface Given extends Told {
  readonly runtime: RuntimeDir
  readonly specs: Specs
  readonly activation: Activation
  /** What a launcher that was killed has left; null: nothing. */
  readonly notes: Notes | null
  readonly service: ServiceManager | undefined
}

export class Launcher {
  #options: LauncherOptions
  readonly #log: Log
  readonly #runtime: RuntimeDir
  readonly #sockets: Sockets
  readonly #activation: Activation
  readonly #processes: Processes
  readonly #agents: Agents
  readonly #channels: Channels | undefined
  /** In their place, with `--listen`. */
  readonly #foreign: Foreign | undefined
  readonly #control: ControlServer
  readonly #specs: Specs
  readonly #timers: Timers
  readonly #verdicts: Verdicts
  readonly #queue: EventQueue
  readonly #hands: Hands
  /** Every time that the options are read again. */
  #reread: (() => Promise<LauncherOptions>) | undefined
  #renewing: Promise<void> = Promise.resolve()
  /** Has not begun. */
  #nextRenewal: Promise<void> | undefined
  /** Which settings are not what they are meant to be by now; undefined: none. */
  #kept: string | undefined
  /** Reloads that wait for it. */
  #isRenewing = 0
  readonly #ended: Promise<number>
  #resolveEnded: (code: number) => void = () => {}
  readonly #notify: NotifySocket | undefined
  readonly #prober: Prober | undefined
  readonly #notebook: Notebook
  readonly #warmUps: WarmUps | undefined
  /** That has started us, and wants to know. */
  readonly #service: ServiceManager | undefined

  readonly #startedAt: string
  /** When this image of the process took over from another one; null: it is the first. */
  readonly #upgradedAt: string | null
  readonly #saveSignals: () => SavedSignals

  /** `before`: what another image of this process has left. */
  private constructor(
    options: LauncherOptions,
    { log, events, runtime, specs, activation, service, saveSignals, notes }: Given,
    before?: Image,
  ) {
    const at = new Date().toISOString()
    this.#startedAt = before?.startedAt ?? at
    this.#upgradedAt = before === undefined ? null : at
    this.#saveSignals = saveSignals
    this.#options = options
    this.#service = service
    this.#log = log
    this.#runtime = runtime
    this.#specs = specs
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    this.#activation = activation
    this.#verdicts = new Verdicts(before?.verdicts)
    const kept = { store: service?.store, user: options.user }
    this.#sockets =
      before === undefined
        ? new Sockets({ given: activation.sockets, stored: activation.stored, ...kept })
        : Sockets.resume(before.sockets, kept)
    this.#notebook = new Notebook(runtime.notes, log)
    this.#queue = new EventQueue(before === undefined ? this.#firstState() : this.#stateAfter(before.state), {
      decided: (state) => this.#notebook.decided(state, options, () => this.#sockets.allInodes(), specs.all()),
      perform: (effect) => this.#hands.perform(effect),
      stepped: (event, last) => this.#stepped(event, last),
    })
    this.#timers = new Timers((id) => this.#queue.post({ type: 'timer', id }), before?.timers)
    this.#processes = new Processes({
      channel: runtime.channelSocket,
      preload: PRELOAD,
      ready: options.ready,
      compat: options.compat,
      notify: runtime.notifySocket,
      identity: options.user,
      diesWithUs: options.dieWithLauncher,
      begins: (token) => this.#notebook.begins(token),
      ended: (token) => this.#notebook.ended(token),
      post: (event) => this.#queue.post(this.#withLastWords(event)),
      saved: before?.processes,
    })
    this.#foreign = options.listen.length > 0 ? this.#makeForeign(before) : undefined
    this.#channels = this.#foreign === undefined ? this.#makeChannels(before, notes) : undefined
    this.#agents = this.#foreign ?? (this.#channels as Channels)
    this.#notify = options.ready === 'notify' ? this.#makeNotifySocket(before) : undefined
    this.#prober = this.#makeProber()
    this.#warmUps = options.warmup && new WarmUps(options.warmup, this.#agents, (event) => this.#queue.post(event))
    this.#control = new ControlServer({
      status: (watchMs) => this.status(watchMs),
      reload: (caller, wait, canary) => this.reload(caller, wait, canary),
      promote: (caller, wait) => this.#queue.post({ type: 'promote', caller, wait }),
      abort: (caller) => this.#queue.post({ type: 'abort', caller, wait: 'baked' }),
      scale: (caller, workers, isRelative) => this.scale({ caller, workers, isRelative }),
      upgrade: (caller) => this.upgrade({ caller }),
      stop: (caller) => this.stop({ caller }),
      events,
    })
    this.#hands = new Hands({
      options,
      log,
      queue: this.#queue,
      timers: this.#timers,
      sockets: this.#sockets,
      processes: this.#processes,
      agents: this.#agents,
      foreign: this.#foreign,
      specs,
      verdicts: this.#verdicts,
      prober: this.#prober,
      warmUps: this.#warmUps,
      control: this.#control,
      upgrade: () => void this.#upgrade(),
      end: (code, callers) => void this.#end(code, callers),
    })
  }

  #firstState(): State {
    const given = this.#activation.sockets.flatMap(({ keys }) => keys)
    const { orders, slots, isInOrder } = this.#takeHeritage(given)
    return initialState(
      settingsOf(this.#options, { slots, given, steers: isInOrder && this.#sockets.canSteer() }),
      orders,
    )
  }

  /** As it was, with the settings that the options mean now. */
  #stateAfter(state: State): State {
    return { ...state, settings: settingsOf(this.#options, state.settings) }
  }

  /** What is of no use any more is let go of, before any worker is there. */
  #takeHeritage(given: readonly ListenerKey[]): Omit<Heritage, 'isWanted'> {
    const { workers, listen } = this.#options
    const stored = this.#activation.stored.map(({ name }) => name)
    if (stored.length === 0) return { orders: {}, slots: workers, isInOrder: true }
    const { heritageOf } = require('./service/heritage.js') as typeof import('./service/heritage.js')
    const heritage = heritageOf(stored, { workers, canScale: listen.length === 0, given })
    this.#tellDropped(this.#sockets.dropStored(heritage.isWanted))
    for (const [address, order] of Object.entries(heritage.orders))
      this.#log('info', 'store.taken', { address, sockets: order.length })
    return heritage
  }

  #tellDropped(sockets: readonly SocketName[]): void {
    for (const { listener, slot } of sockets) this.#log('warn', 'store.dropped', { address: listener, slot })
  }

  #makeChannels(before: Image | undefined, notes: Notes | null): Channels {
    return new Channels({
      path: this.#runtime.channelSocket,
      letWorkersIn: this.#runtime.letWorkersIn,
      uid: this.#options.user?.uid,
      processes: this.#processes,
      sockets: this.#sockets,
      standing: (worker) => this.#standing(worker),
      post: (event) => this.#queue.post(event),
      patience: { timeoutMs: this.#options.hangTimeoutMs, killMs: this.#options.hangKillMs },
      terms: orphanTerms(this.#options),
      // All that were alive before an upgrade are ours.
      knownTokens: before === undefined && notes === null ? null : new Set(notes?.tokens),
      log: this.#log,
      saved: before?.channels ?? undefined,
    })
  }

  /** Loaded only when the program has no agent. */
  #makeForeign(before: Image | undefined): Foreign {
    const { Foreign } = require('./foreign.js') as typeof import('./foreign.js')
    return new Foreign({
      sockets: this.#sockets,
      listens: this.#listens(),
      hasDoor: this.#options.health !== undefined,
      aliveMs: this.#options.ready === 'alive' ? this.#options.aliveMs : undefined,
      post: (event) => this.#queue.post(event),
      stop: (worker) => this.#hands.terminate(worker),
      saved: before?.foreign ?? undefined,
    })
  }

  /** What `--listen` asks for: addresses, and sockets that were given to us, by name. Throws ERR_ADDRESS. */
  #listens(): NamedSocket[] {
    return this.#options.listen.map(({ name, from }) => {
      if (typeof from !== 'string') return { name, address: from }
      const given = this.#activation.sockets.find((socket) => socket.name === from)
      if (given !== undefined) return { name: name ?? from, address: given.address }
      const there = this.#activation.sockets.map((socket) => socket.name)
      throw new ReuseportError('ERR_ADDRESS', `no socket named ${JSON.stringify(from)} was given to the launcher`, {
        facts: { given: there },
        next: `LISTEN_FDNAMES has: ${there.length === 0 ? 'nothing' : there.join(', ')}. systemd names a socket by FileDescriptorName=.`,
      })
    })
  }

  /**
   * Takes the name, opens the control socket and begins the first generation. Throws before anything is started: ERR_COMMAND_NOT_FOUND,
   * ERR_COMMAND_NOT_EXECUTABLE, ERR_USER, ERR_NAME_TAKEN, ERR_RUNTIME_DIR, ERR_ADDON_NOT_FOUND. `reread`: what the options are meant to be by now,
   * asked before each reload.
   */
  static async start(options: LauncherOptions, told: Told, reread?: () => Promise<LauncherOptions>): Promise<Launcher> {
    // Before anything looks at the environment.
    const activation = takeListenFds()
    const service = meetServiceManager(takeServiceEnvironment(), told.log)
    try {
      return await Launcher.#start(options, { ...told, activation, service }, reread)
    } catch (error) {
      service?.failed(error)
      service?.close()
      throw error
    }
  }

  static async #start(
    options: LauncherOptions,
    given: Omit<Given, 'runtime' | 'specs' | 'notes'>,
    reread: (() => Promise<LauncherOptions>) | undefined,
  ): Promise<Launcher> {
    const { log } = given
    const directory = logicalDirectory()
    const specs = new Specs({ program: options, user: options.user, directory, agent: agentOf(options), log })
    specs.resolve(1)
    const runtime = takeRuntimeDir(options.name, { ...options, startedFrom: directory })
    const notes = readNotes(runtime.notes)
    let launcher: Launcher | undefined
    try {
      const left = notes === null ? [] : leftOf(notes)
      const awaited = notes === null ? [] : awaitedOf(notes, left, options, given.activation)
      launcher = new Launcher(options, { ...given, runtime, specs, notes })
      launcher.#reread = reread
      launcher.#openListens()
      launcher.#writePidFile()
      const begin =
        notes === null || awaited.length === 0 ? launcher.#begin(left) : await launcher.#adopt(notes, awaited)
      await launcher.#control.listen(runtime.controlSocket)
      log('info', 'launcher.started', {
        name: options.name,
        pid: process.pid,
        workers: options.workers,
        directory,
        control: runtime.controlSocket,
      })
      launcher.#tellActivation()
      launcher.#queue.post(begin)
      return launcher
    } catch (error) {
      if (launcher !== undefined) {
        launcher.#notify?.close()
        launcher.#agents.close()
        launcher.#processes.close()
        launcher.#sockets.closeAll()
        launcher.#removePidFile()
      }
      runtime.release('notes')
      throw error instanceof ReuseportError ? error : notUsable(runtime.directory, error)
    }
  }

  /** A first start. What another launcher was about to start is of no use to anybody. */
  #begin(left: readonly Left[]): NewEvent {
    for (const one of left) endHalfStarted(one)
    this.#specs.tellShadowed(1)
    return { type: 'start' }
  }

  async #adopt(notes: Notes, awaited: readonly number[]): Promise<NewEvent> {
    this.#specs.adopt(notes.specs)
    return await adopt({
      notes,
      awaited,
      offers: (this.#channels as Channels).offers,
      sockets: this.#sockets,
      workers: this.#options.workers,
      log: this.#log,
    })
  }

  /** Goes on with what another image of this process has left. */
  static resume(asked: LauncherOptions, told: Told, reread: () => Promise<LauncherOptions>, before: Image): Launcher {
    const { log } = told
    // What the config file says by now is for the next reload.
    const options = { ...asked, ...optionsOf(before) }
    const { directory } = before.specs
    const { user } = options
    const specs = new Specs({ program: options, user, directory, agent: agentOf(options), log, saved: before.specs })
    const runtime = heldRuntimeDir(before.directory, { lock: before.lock, user })
    const { service: saved } = before
    const service =
      saved === null ? undefined : meetServiceManager(takeServiceEnvironment({ ...saved.variables }), log, saved)
    const activation = { sockets: before.sockets.given, stored: [], refused: [] }
    const launcher = new Launcher(options, { ...told, runtime, specs, activation, service, notes: null }, before)
    launcher.#reread = reread
    launcher.#kept = before.kept ?? undefined
    launcher.#control.resume(before.control)
    const to = { version: VERSION, node: process.version }
    launcher.#queue.post({ type: 'upgraded', from: before.by, to, gapMs: now() - before.at })
    launcher.#hands.resume(before.hands)
    launcher.#prober?.resume(before.prober)
    launcher.#warmUps?.resume(before.warmUps)
    if (before.sockets.stored.length > 0 && before.state.phase === 'running') launcher.#dropStoredSoon()
    return launcher
  }

  /** For another image of this process. */
  #save(): Image {
    return {
      version: IMAGE_VERSION,
      pid: process.pid,
      by: { version: VERSION, node: process.version },
      at: now(),
      ldPreload: process.env['LD_PRELOAD'] ?? null,
      options: saveOptions(this.#options),
      kept: this.#kept ?? null,
      directory: this.#runtime.directory,
      lock: this.#runtime.lock,
      startedAt: this.#startedAt,
      state: this.#queue.state,
      specs: this.#specs.save(),
      verdicts: this.#verdicts.save(),
      timers: this.#timers.save(),
      sockets: this.#sockets.save(),
      processes: this.#processes.save(),
      channels: this.#channels?.save() ?? null,
      foreign: this.#foreign?.save() ?? null,
      notify: this.#notify?.save() ?? null,
      prober: this.#prober?.save() ?? [],
      warmUps: this.#warmUps?.save() ?? [],
      service: this.#service?.save() ?? null,
      hands: this.#hands.save(),
      control: this.#control.save(),
      signals: this.#saveSignals(),
      stderr: stderr.unwritten.toString('base64'),
    }
  }

  #upgrade(): Promise<void> {
    return upgrade({
      log: this.#log,
      directory: this.#specs.directory,
      save: () => this.#save(),
      isWanted: () => this.#queue.state.upgrade !== null,
      suspend: () => {
        this.#prober?.suspend()
        this.#warmUps?.suspend()
      },
      goOn: () => {
        this.#prober?.resume()
        this.#warmUps?.resume()
      },
      isBusy: () =>
        this.#isRenewing > 0 || this.#agents.asks || this.#control.isSending || this.#service?.isSending === true,
      giveUpWaiting: () => this.#agents.giveUpAsking(),
      own: (pid) => this.#processes.own(pid),
      post: (event) => this.#queue.post(event),
    })
  }

  /** The exit code, once every worker has gone and every file is removed. */
  get ended(): Promise<number> {
    return this.#ended
  }

  /** `watchMs`: workers are to count their HTTP answers from now on, until nobody has asked so for this long. */
  async status(watchMs?: number): Promise<Status> {
    const loads = await this.#agents.loads(watchMs)
    return statusOf(this.#queue.state, {
      name: this.#options.name,
      version: VERSION,
      startedAt: this.#startedAt,
      upgradedAt: this.#upgradedAt,
      sockets: this.#sockets,
      processes: this.#processes,
      lastReload: this.#verdicts.last,
      lastReloadAt: this.#verdicts.lastAt,
      held: (worker) => this.#agents.held(worker),
      loads,
      warnings: this.#warnings(),
      now: now(),
    })
  }

  /** Resolves when it is ordered, or was refused. */
  async reload(caller: number | null = null, wait: ReloadWait = 'baked', canary?: CanaryPlan): Promise<void> {
    this.#isRenewing++
    await this.#renewed()
    this.#isRenewing--
    this.#orderReload(caller, wait, canary)
  }

  /** One after the other; whoever asks before the next one has begun is content with it. */
  #renewed(): Promise<void> {
    this.#nextRenewal ??= this.#renewing.then(() => {
      this.#nextRenewal = undefined
      return this.#renew()
    })
    this.#renewing = this.#nextRenewal
    return this.#nextRenewal
  }

  /** Whoever asks for a reload has put everything there before. What cannot be had is the reason why the reload is aborted. */
  async #renew(): Promise<void> {
    if (this.#reread === undefined) return
    let asked: LauncherOptions
    try {
      asked = await this.#reread()
    } catch (error) {
      return this.#specs.use(() => {
        throw error
      })
    }
    const { describeKept, renewed } = require('./renewal.js') as typeof import('./renewal.js')
    const { options, kept } = renewed(this.#options, asked)
    this.#options = options
    this.#kept = kept.length === 0 ? undefined : describeKept(kept)
    this.#specs.use(() => options)
    this.#queue.post({ type: 'settings', settings: settingsOf(options, this.#queue.state.settings) })
    if (this.#kept !== undefined) this.#log('warn', 'config.kept', { settings: kept, text: this.#kept })
  }

  #orderReload(caller: number | null, wait: ReloadWait, canary: CanaryPlan | undefined): void {
    if (canary === undefined) this.#queue.post({ type: 'reload', caller, wait })
    else this.#queue.post({ type: 'reload', caller, wait, canary, isShared: isShared(this.#sockets) })
  }

  /** Another number of workers; `isRelative`: so many more than were asked for last. */
  scale({ caller = null, ...order }: { caller?: number | null; workers: number; isRelative: boolean }): void {
    this.#queue.post({ type: 'scale', caller, ...order })
  }

  /** A new launcher in the place of this one, in the same process; `reload`: and then new workers. */
  upgrade({ caller = null, reload = false }: { caller?: number | null; reload?: boolean }): void {
    this.#queue.post({ type: 'upgrade', caller, reload })
  }

  /** `pressure`: 'drain' once, 'more' for each further Ctrl-C, 'now' for SIGQUIT. */
  stop({
    caller = null,
    pressure = 'drain',
    exitCode = 0,
  }: {
    caller?: number | null
    pressure?: 'drain' | 'more' | 'now'
    exitCode?: number
  } = {}): void {
    this.#queue.post({ type: 'stop', caller, pressure, exitCode })
  }

  #writePidFile(): void {
    const { pidFile } = this.#options
    if (pidFile === undefined) return
    try {
      writePidFile(pidFile)
    } catch (cause) {
      throw new ReuseportError('ERR_PID_FILE', `cannot write ${pidFile}: ${(cause as Error).message}`, {
        facts: { path: pidFile },
        next: 'Name a file in a directory that exists, and that this user may write to, with --pid-file.',
        cause,
      })
    }
  }

  #removePidFile(): void {
    if (this.#options.pidFile !== undefined) removePidFile(this.#options.pidFile)
  }

  /** After each event. */
  #stepped(event: Event, before: State): void {
    if (before.phase === 'starting' && this.#queue.state.phase === 'running') this.#isUp()
    this.#service?.stepped(this.#queue.state, this.#verdicts.last)
    // Nothing that was decided before its end was known may outlast it: nobody else would stop its timers.
    if (event.type !== 'exited') return
    this.#prober?.stop(event.worker)
    this.#warmUps?.stop(event.worker)
  }

  #isUp(): void {
    this.#tellSurroundings()
    if (this.#activation.stored.length === 0) return
    const { workers } = this.#options
    if (this.#queue.state.slots.length > workers) this.scale({ workers, isRelative: false })
    this.#dropStoredSoon()
  }

  /** What nobody has claimed by then nobody wants any more. */
  #dropStoredSoon(): void {
    setTimeout(() => this.#tellDropped(this.#sockets.dropStored()), this.#options.readyTimeoutMs).unref()
  }

  /** Bound and listening from here on: whoever comes early waits for the first worker. Throws what `Sockets` does. */
  #openListens(): void {
    for (let slot = 0; slot < this.#options.workers; slot++) this.#foreign?.open(slot)
  }

  #tellActivation(): void {
    for (const { name, address } of this.#activation.sockets)
      this.#log('info', 'activation.taken', { name, address: listenerKey(address) })
    for (const reason of this.#activation.refused) this.#log('warn', 'activation.refused', { reason })
  }

  #tellSurroundings(): void {
    for (const { name, address, keys } of this.#activation.sockets)
      if (!keys.some((key) => this.#queue.state.listeners[key] !== undefined))
        this.#log('warn', 'activation.unused', { name, address: listenerKey(address) })
    if (this.#options.balance !== 'hash' && !this.#queue.state.steers)
      this.#log('warn', 'steering.refused', { reason: "--balance has no effect: the kernel's hash chooses" })
    for (const { text } of strangerWarnings(this.#sockets.inodes())) this.#log('warn', 'port.shared', { text })
    const runs = this.#unapplied()
    if (runs !== null) this.#log('warn', 'adoption.not-applied', { text: runs })
  }

  /** The workers of another launcher run something else than this one was told to. */
  #unapplied(): string | null {
    const runs = this.#specs.unapplied(this.#queue.state.working ?? 0)
    if (runs === null) return null
    return `the workers were taken over as they are: ${runs}. A reload starts the command of this launcher`
  }

  #warnings(): Status['warnings'] {
    const runs = this.#unapplied()
    const warnings = [
      ...warningsOf(this.#sockets.inodes(), Object.values(this.#queue.state.listeners), this.#options),
      ...(runs === null ? [] : [{ code: 'not-applied', text: runs }]),
    ]
    return this.#kept === undefined ? warnings : [...warnings, { code: 'config-kept', text: this.#kept }]
  }

  #makeNotifySocket(before: Image | undefined): NotifySocket {
    const { NotifySocket } = require('./notify-socket.js') as typeof import('./notify-socket.js')
    return new NotifySocket({
      path: this.#runtime.notifySocket,
      letWorkersIn: this.#runtime.letWorkersIn,
      processes: this.#processes,
      post: (event) => this.#queue.post(event),
      log: this.#log,
      saved: before?.notify ?? undefined,
    })
  }

  #makeProber(): Prober | undefined {
    if (this.#options.health === undefined) return undefined
    return makeProber({
      agents: this.#agents,
      processes: this.#processes,
      specs: this.#specs,
      runtime: this.#runtime,
      identity: this.#options.user,
      state: () => this.#queue.state,
      post: (event) => this.#queue.post(event),
    })
  }

  /** The end of a process may be known before what it said last is read. */
  #withLastWords(event: WorkerEvent): WorkerEvent {
    if (event.type !== 'exited' && event.type !== 'gone') return event
    return { ...event, held: this.#agents.lastWords(event.worker) }
  }

  #standing(worker: number): Standing | null {
    const record = this.#queue.state.workers[worker]
    if (record === undefined) return null
    // One without a slot of its own knows the last word of none.
    const slot = this.#queue.state.slots[record.slot]
    return {
      generation: record.generation,
      slot: record.slot,
      term: slot?.term ?? 0,
      working: slot?.working ?? this.#queue.state.working ?? record.generation,
    }
  }

  async #end(code: number, callers: readonly number[]): Promise<void> {
    this.#timers.clear()
    this.#hands.close()
    this.#prober?.close()
    this.#warmUps?.close()
    this.#notify?.close()
    this.#agents.close()
    this.#processes.close()
    this.#sockets.closeAll()
    this.#control.close()
    this.#removePidFile()
    this.#runtime.release()
    // Not before: who hears that it has stopped may start the next one under this name.
    await this.#control.sayGoodbye(callers)
    this.#service?.close()
    this.#resolveEnded(code)
  }
}

/** Files of ours that the program loads. */
function agentOf({ listen }: LauncherOptions): readonly string[] {
  return listen.length > 0 ? [] : [PRELOAD]
}

/** Loaded only when there is one. */
function meetServiceManager(
  environment: ServiceEnvironment,
  log: Log,
  saved?: SavedService,
): ServiceManager | undefined {
  if (environment.socket === undefined) return undefined
  const { ServiceManager } = require('./service/service-manager.js') as typeof import('./service/service-manager.js')
  return new ServiceManager(environment, log, saved)
}
