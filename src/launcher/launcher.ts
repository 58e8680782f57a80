import { join } from 'node:path'
import type { CanaryPlan, ReloadWait, Status, Verdict } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import { type NetworkCounters, readNetworkCounters } from '../kernel-counters.js'
import type { Log } from '../log.js'
import type { HealthOptions, LauncherOptions } from '../options.js'
import { listenerKey } from '../protocol.js'
import { notUsable, type RuntimeDir, takeRuntimeDir } from '../runtime-dir.js'
import { VERSION } from '../version.js'
import type { Agents } from './agents.js'
import type { Effect, Event, TimerId, WorkerEvent } from './brain/events.js'
import { initialState, type State, type Worker } from './brain/state.js'
import { step } from './brain/step.js'
import { Channels } from './channels.js'
import { changesBetween, logicalDirectory, resolveCommand, type Spec } from './command.js'
import { ControlServer } from './control-server.js'
import type { Foreign } from './foreign.js'
import { type Activation, type NamedSocket, takeListenFds } from './listen-fds.js'
import type { NotifySocket } from './notify-socket.js'
import { OneByOne } from './one-by-one.js'
import { holdersOf } from './port-holder.js'
import type { Hand } from './probe/attempt.js'
import type { CommandPlace } from './probe/command.js'
import type { Prober, Try } from './probe/prober.js'
import { Processes } from './processes.js'
import { Sockets } from './sockets.js'
import { statusOf } from './status.js'
import { describeStranger, strangersBeside } from './strangers.js'
import type { Standing } from './welcome.js'

/*
 * The promises, in this order:
 *
 * 1. Nothing is lost. No connection refused or reset, no request failed by a reload or a worker crash (but for what that worker had in hand).
 * 2. A new version proves itself first. Until it serves on every slot, nothing it does can lower the capacity of the old one.
 * 3. The launcher is no single point of failure. The workers hold copies of every socket and serve on without it.
 * 4. Every order gets an honest answer.
 *
 * How they are kept: every socket is made here and closed only when its listener ends (sockets.ts); one queue of events, one pure `step`
 * that decides (brain/), and the effects below, which decide nothing.
 */

/** Omit that keeps a union a union. */
type Unstamped<T> = T extends unknown ? Omit<T, 'at'> : never

export class Launcher {
  readonly #options: LauncherOptions
  readonly #log: Log
  readonly #directory: string
  readonly #runtime: RuntimeDir
  readonly #sockets: Sockets
  readonly #activation: Activation
  readonly #processes: Processes
  readonly #agents: Agents
  /** In their place, with `--listen`. */
  readonly #foreign: Foreign | undefined
  readonly #control: ControlServer
  readonly #specs = new Map<number, Spec>()
  readonly #starts = new OneByOne<number>()
  readonly #timers = new Map<TimerId, NodeJS.Timeout>()
  readonly #counters = new Map<number, NetworkCounters | null>()
  readonly #ended: Promise<number>
  #resolveEnded: (code: number) => void = () => {}
  readonly #notify: NotifySocket | undefined
  readonly #prober: Prober | undefined
  #state: State
  #queue: Event[] = []
  /** Outcomes of effects: told to the brain before anything newer, for what is done is known. */
  #outcomes: Event[] = []
  #isStepping = false
  #lastReload: Verdict | null = null

  private constructor(
    options: LauncherOptions,
    log: Log,
    runtime: RuntimeDir,
    directory: string,
    spec: Spec,
    activation: Activation,
  ) {
    this.#options = options
    this.#log = log
    this.#directory = directory
    this.#runtime = runtime
    this.#specs.set(1, spec)
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    this.#activation = activation
    this.#sockets = new Sockets(activation.sockets)
    this.#state = initialState({
      slots: options.workers,
      agent: options.listen.length === 0,
      given: activation.sockets.flatMap(({ keys }) => keys),
      ports: options.ports,
      readyTimeoutMs: options.readyTimeoutMs,
      drainTimeoutMs: options.drainTimeoutMs,
      killAfterMs: options.killAfterMs,
      websocket: options.websocket,
      drainSpreadMs: options.drainSpreadMs,
      ready: options.ready,
      probes: options.health !== undefined,
      liveness: options.health?.livenessMs !== undefined,
      strategy: options.strategy,
      surge: options.surge ?? null,
      bakeMs: options.bakeMs,
      bakeMax5xx: options.bakeMax5xx ?? null,
      migrate: options.migrate && options.listen.length === 0,
      bakeMigrate: options.bakeMigrate,
      alwaysSteers: options.balance !== 'hash',
      standby: options.standby,
      parkMs: options.parkMs,
      steers: this.#sockets.canSteer(),
    })
    this.#processes = new Processes({
      channel: runtime.channelSocket,
      preload: join(__dirname, '..', 'worker', 'preload.js'),
      ready: options.ready,
      compat: options.compat,
      notify: runtime.notifySocket,
      post: (event) => this.#post(this.#withLastWords(event)),
    })
    this.#foreign = options.listen.length > 0 ? this.#makeForeign() : undefined
    this.#agents = this.#foreign ?? this.#makeChannels()
    this.#notify = options.ready === 'notify' ? this.#makeNotifySocket() : undefined
    this.#prober = options.health && this.#makeProber(options.health)
    this.#control = new ControlServer({
      status: () => this.status(),
      reload: (caller, wait, canary) => this.reload(caller, wait, canary),
      promote: (caller, wait) => this.#post({ type: 'promote', caller, wait }),
      abort: (caller) => this.#post({ type: 'abort', caller, wait: 'baked' }),
      scale: (caller, workers, isRelative) => this.scale({ caller, workers, isRelative }),
      stop: (caller) => this.stop({ caller }),
    })
  }

  #makeChannels(): Channels {
    return new Channels({
      path: this.#runtime.channelSocket,
      processes: this.#processes,
      sockets: this.#sockets,
      standing: (worker) => this.#standing(worker),
      post: (event) => this.#post(event),
      patience: { timeoutMs: this.#options.hangTimeoutMs, killMs: this.#options.hangKillMs },
      log: this.#log,
    })
  }

  /** Loaded only when the program has no agent. */
  #makeForeign(): Foreign {
    const { Foreign } = require('./foreign.js') as typeof import('./foreign.js')
    return new Foreign({
      sockets: this.#sockets,
      listens: this.#listens(),
      hasDoor: this.#options.health !== undefined,
      aliveMs: this.#options.ready === 'alive' ? this.#options.aliveMs : undefined,
      post: (event) => this.#post(event),
      stop: (worker) => this.#terminate(worker),
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
   * ERR_COMMAND_NOT_EXECUTABLE, ERR_NAME_TAKEN, ERR_RUNTIME_DIR, ERR_ADDON_NOT_FOUND.
   */
  static async start(options: LauncherOptions, log: Log): Promise<Launcher> {
    // Before anything looks at the environment.
    const activation = takeListenFds()
    const directory = logicalDirectory()
    const spec = resolveCommand(options.command, directory, options.envFiles)
    const runtime = takeRuntimeDir(options.name, { runtimeDir: options.runtimeDir, startedFrom: directory })
    let launcher: Launcher | undefined
    try {
      launcher = new Launcher(options, log, runtime, directory, spec, activation)
      launcher.#openListens()
      await launcher.#control.listen(runtime.controlSocket)
      log('info', 'launcher.started', {
        name: options.name,
        pid: process.pid,
        workers: options.workers,
        directory,
        control: runtime.controlSocket,
      })
      launcher.#tellShadowed(spec)
      launcher.#tellActivation()
      launcher.#post({ type: 'start' })
      return launcher
    } catch (error) {
      if (launcher !== undefined) {
        launcher.#notify?.close()
        launcher.#agents.close()
        launcher.#processes.close()
        launcher.#sockets.closeAll()
      }
      runtime.release()
      throw error instanceof ReuseportError ? error : notUsable(runtime.directory, error)
    }
  }

  /** The exit code, once every worker has gone and every file is removed. */
  get ended(): Promise<number> {
    return this.#ended
  }

  async status(): Promise<Status> {
    const connections = await this.#agents.connections()
    return statusOf(this.#state, {
      name: this.#options.name,
      version: VERSION,
      sockets: this.#sockets,
      processes: this.#processes,
      lastReload: this.#lastReload,
      held: (worker) => this.#agents.held(worker),
      connections,
      warnings: this.#warnings(),
      now: performance.now(),
    })
  }

  reload(caller: number | null = null, wait: ReloadWait = 'baked', canary?: CanaryPlan): void {
    if (canary === undefined) this.#post({ type: 'reload', caller, wait })
    else this.#post({ type: 'reload', caller, wait, canary, isShared: this.#isShared() })
  }

  /** Another number of workers; `isRelative`: so many more than were asked for last. */
  scale({ caller = null, ...order }: { caller?: number | null; workers: number; isRelative: boolean }): void {
    this.#post({ type: 'scale', caller, ...order })
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
    this.#post({ type: 'stop', caller, pressure, exitCode })
  }

  #post(event: Unstamped<Event>): void {
    const stamped = { ...event, at: performance.now() } as Event
    if (this.#isStepping) this.#queue.push(stamped)
    else this.#run(stamped)
  }

  /** The only caller of `step`. Events that arrive while effects are done wait their turn; outcomes of those effects come first. */
  #run(first: Event): void {
    this.#isStepping = true
    for (
      let event: Event | undefined = first;
      event !== undefined;
      event = this.#outcomes.shift() ?? this.#queue.shift()
    ) {
      const { state, effects } = step(this.#state, event)
      const isUp = this.#state.phase === 'starting' && state.phase === 'running'
      this.#state = state
      for (const effect of effects) this.#perform(effect)
      if (isUp) this.#tellSurroundings()
      // Nothing that was decided before its end was known may outlast it: nobody else would stop its timers.
      if (event.type === 'exited') this.#prober?.stop(event.worker)
    }
    this.#isStepping = false
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
      if (!keys.some((key) => this.#state.listeners[key] !== undefined))
        this.#log('warn', 'activation.unused', { name, address: listenerKey(address) })
    if (this.#options.balance !== 'hash' && !this.#state.steers)
      this.#log('warn', 'steering.refused', { reason: "--balance has no effect: the kernel's hash chooses" })
    for (const { text } of this.#warnings()) this.#log('warn', 'port.shared', { text })
  }

  #warnings(): Status['warnings'] {
    const strangers = strangersBeside(this.#sockets.inodes())
    return strangers.map((stranger) => ({ code: 'port-shared', text: describeStranger(stranger) }))
  }

  #makeNotifySocket(): NotifySocket {
    const { NotifySocket } = require('./notify-socket.js') as typeof import('./notify-socket.js')
    const path = this.#runtime.notifySocket
    return new NotifySocket({ path, processes: this.#processes, post: (event) => this.#post(event), log: this.#log })
  }

  /** Loaded only when a health check was asked for. */
  #makeProber(health: HealthOptions): Prober {
    const { Prober } = require('./probe/prober.js') as typeof import('./probe/prober.js')
    return new Prober({
      health,
      bakeMs: this.#options.bakeMs,
      tryOn: (worker) => this.#tryOn(worker, health),
      post: (event) => this.#post(event),
    })
  }

  #tryOn(worker: number, health: HealthOptions): Try {
    if (health.kind !== 'command') {
      const { Attempt } = require('./probe/attempt.js') as typeof import('./probe/attempt.js')
      return (done) => new Attempt(health, this.#agents.wayTo(worker, health.port), done)
    }
    const hand: Hand = (fd, answered) => this.#agents.hand(worker, health.port, fd, answered)
    const { CommandAttempt } = require('./probe/command.js') as typeof import('./probe/command.js')
    return (done) => new CommandAttempt(health, this.#placeOf(worker), hand, done)
  }

  /** Where a health command runs: as the worker does, and with the way to it. */
  #placeOf(worker: number): CommandPlace {
    const { generation, slot } = this.#state.workers[worker] as Worker
    const { cwd, env } = this.#specs.get(generation) as Spec
    return {
      cwd,
      env,
      pid: this.#processes.get(worker)?.agentPid ?? 0,
      slot,
      socket: this.#runtime.healthSocket(worker),
      own: (pid) => this.#processes.own(pid),
    }
  }

  #outcome(event: Unstamped<Event>): void {
    this.#outcomes.push({ ...event, at: performance.now() } as Event)
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case 'resolve':
        return this.#resolve(effect.run, effect.generation)
      case 'spawn':
        return this.#spawn(effect)
      case 'open':
        return this.#open(effect)
      case 'listen':
        return this.#listen(effect)
      case 'answer':
        return this.#agents.answer(effect.worker, effect.claim, effect.answer)
      case 'order':
        return this.#agents.order(effect.worker, effect.seq, effect.order)
      case 'lane':
        return this.#agents.layLane(effect.listener, effect.from, effect.to)
      case 'close':
        for (const socket of effect.sockets) this.#sockets.close(socket)
        return
      case 'steer':
        return this.#steer(effect)
      case 'look':
        return this.#look(effect)
      case 'scaled':
        return this.#control.scaled(effect.callers, effect.verdict)
      case 'protect':
        return this.#processes.get(effect.worker)?.adjustOomScore(0)
      case 'terminate':
        return this.#terminate(effect.worker)
      case 'kill':
        if (!this.#neverStarts(effect.worker)) this.#processes.get(effect.worker)?.kill()
        return
      case 'timer':
        return this.#setTimer(effect.id, effect.ms)
      case 'cancel':
        clearTimeout(this.#timers.get(effect.id))
        this.#timers.delete(effect.id)
        return
      case 'verdict':
        return this.#tell(effect)
      case 'refuse':
        return effect.caller === null ? undefined : this.#control.refuse(effect.caller, effect.refusal)
      case 'forget':
        this.#specs.delete(effect.generation)
        return
      case 'probe':
        return this.#prober?.start(effect.worker, effect.mode)
      case 'unprobe':
        return this.#prober?.stop(effect.worker)
      case 'log':
        return this.#log(effect.level, effect.event, effect.fields)
      case 'exit':
        void this.#end(effect.code, effect.callers)
        return
      default:
        return effect satisfies never
    }
  }

  #resolve(run: number, generation: number): void {
    this.#counters.set(run, readNetworkCounters())
    const old = this.#specs.get(this.#state.run?.from ?? 0)
    try {
      const spec = resolveCommand(this.#options.command, this.#directory, this.#options.envFiles)
      this.#specs.set(generation, spec)
      this.#tellShadowed(spec)
      this.#outcome({ type: 'resolved', run, error: null, changes: old === undefined ? [] : changesBetween(old, spec) })
    } catch (error) {
      this.#outcome({ type: 'resolved', run, error: describe(error), changes: [] })
    }
  }

  #tellShadowed({ shadowed }: Spec): void {
    if (shadowed.length > 0)
      this.#log('warn', 'env-file.shadowed', {
        variables: shadowed,
        text: "the launcher's own environment has them with other values, and those count",
      })
  }

  /** There may be hundreds: each takes as long as an exec, and those that are there already wait for answers. */
  #spawn(effect: Extract<Effect, { do: 'spawn' }>): void {
    this.#starts.add(effect.worker, () => this.#spawnNow(effect))
  }

  /** One that is to end before it was started. */
  #neverStarts(worker: number): boolean {
    if (!this.#starts.drop(worker)) return false
    this.#outcome({ type: 'exited', worker, code: null, signal: null, stderr: [] })
    return true
  }

  #spawnNow({ worker, slot, generation, expendable }: Extract<Effect, { do: 'spawn' }>): void {
    const spec = this.#specs.get(generation) as Spec
    try {
      const paths = this.#sockets.paths()
      const handed = this.#foreign?.handed(worker, slot, generation)
      const pid = this.#processes.spawn(worker, spec, { expendable, paths, handed })
      this.#post({ type: 'spawned', worker, pid })
      this.#agents.spawned(worker, pid)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      this.#agents.lastWords(worker)
      this.#post({
        type: 'spawn-failed',
        worker,
        exitCode: code === 'ENOENT' ? 127 : code === 'EACCES' || code === 'ENOEXEC' ? 126 : 1,
        message: `${spec.file}: ${describe(error)}`,
      })
    }
  }

  #open({ worker, claim, listener, slot, address, backlog, listen }: Extract<Effect, { do: 'open' }>): void {
    const name = { listener, slot }
    try {
      const isNew = !this.#sockets.has(name)
      this.#sockets.open(name, address)
      try {
        if (listen) this.#sockets.listen(name, backlog)
      } catch (error) {
        if (isNew) this.#sockets.close(name)
        throw error
      }
      this.#outcome({ type: 'opened', worker, claim, listener, slot, listening: listen })
    } catch (error) {
      const { errno, code } = errnoOf(error)
      this.#outcome({ type: 'open-failed', worker, claim, listener, errno, code, message: describe(error) })
    }
  }

  #listen({ worker, listener, slot, backlog }: Extract<Effect, { do: 'listen' }>): void {
    try {
      this.#sockets.listen({ listener, slot }, backlog)
    } catch (error) {
      this.#outcome({
        type: 'listen-failed',
        worker,
        listener,
        message: `cannot listen on ${listener}: ${describe(error)}`,
      })
    }
  }

  #steer({ socket, weights, canary }: Extract<Effect, { do: 'steer' }>): void {
    try {
      const { balance } = this.#options
      this.#sockets.steer(socket, weights, balance === 'hash' ? 'random' : balance, canary)
    } catch (error) {
      this.#outcome({ type: 'steer-failed', listener: socket.listener, reason: describe(error) })
    }
  }

  #look({ slot, sockets }: Extract<Effect, { do: 'look' }>): void {
    const inodes = sockets.map((socket) => this.#sockets.inode(socket))
    const queued = sockets.reduce((sum, socket) => sum + (this.#sockets.queue(socket) ?? 0), 0)
    try {
      const holders = holdersOf(inodes).filter((pid) => pid !== process.pid)
      this.#outcome({ type: 'looked', slot, queued, holders, isShared: this.#isShared(), error: null })
    } catch (error) {
      // No descriptor is left to look with (EMFILE): whoever was not seen may have one.
      this.#outcome({ type: 'looked', slot, queued, holders: [], isShared: false, error: describe(error) })
    }
  }

  /** Others are in one of our groups. */
  #isShared(): boolean {
    return strangersBeside(this.#sockets.inodes()).some(({ isMember }) => isMember)
  }

  #terminate(worker: number): void {
    if (this.#neverStarts(worker)) return
    const signal = (): void => this.#processes.get(worker)?.terminate(this.#options.stopSignal)
    if (this.#options.compat !== 'pm2') return signal()
    this.#agents.shutdown(worker, (heard) => {
      if (!heard) signal()
    })
  }

  /** The end of a process may be known before what it said last is read. */
  #withLastWords(event: WorkerEvent): WorkerEvent {
    if (event.type !== 'exited' && event.type !== 'gone') return event
    return { ...event, held: this.#agents.lastWords(event.worker) }
  }

  #setTimer(id: TimerId, ms: number): void {
    clearTimeout(this.#timers.get(id))
    const timer = setTimeout(() => {
      // What has happened in time is known first: a worker that died in the bake may still wait to be read. It may cancel this.
      setImmediate(() => {
        if (this.#timers.get(id) !== timer) return
        this.#timers.delete(id)
        this.#post({ type: 'timer', id })
      })
    }, ms)
    this.#timers.set(id, timer)
  }

  #tell({ callers, run, verdict }: Extract<Effect, { do: 'verdict' }>): void {
    const before = this.#counters.get(run)
    const after = readNetworkCounters()
    const change = (key: keyof NetworkCounters): number =>
      before == null || after === null ? 0 : after[key] - before[key]
    const full: Verdict = {
      ...verdict,
      // Whether others use this namespace too cannot be known from inside it.
      kernel: {
        shared: true,
        OutRsts: change('OutRsts'),
        ListenDrops: change('ListenDrops'),
        ListenOverflows: change('ListenOverflows'),
      },
    }
    // An older one that has only now come to its end does not take the place of a newer one's.
    if (full.id >= (this.#lastReload?.id ?? 0)) this.#lastReload = full
    this.#control.verdict(callers, full)
    if (verdict.draining === 0) this.#counters.delete(run)
  }

  #standing(worker: number): Standing | null {
    const record = this.#state.workers[worker]
    if (record === undefined) return null
    return {
      generation: record.generation,
      slot: record.slot,
      term: this.#state.term,
      working: this.#state.working ?? record.generation,
    }
  }

  async #end(code: number, callers: readonly number[]): Promise<void> {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    this.#starts.clear()
    this.#prober?.close()
    this.#notify?.close()
    this.#agents.close()
    this.#processes.close()
    this.#sockets.closeAll()
    this.#control.close()
    this.#runtime.release()
    // Not before: who hears that it has stopped may start the next one under this name.
    await this.#control.sayGoodbye(callers)
    this.#resolveEnded(code)
  }
}

function describe(error: unknown): string {
  if (error instanceof ReuseportError)
    return error.next === undefined ? error.message : `${error.message}. ${error.next}`
  return (error as Error).message
}

/** The errno the program must see: the one at the bottom of our error. */
function errnoOf(error: unknown): { errno: number; code: string } {
  const { errno, code } = (error instanceof ReuseportError ? error.cause : error) as NodeJS.ErrnoException
  return { errno: errno ?? -22, code: code ?? 'EINVAL' }
}
