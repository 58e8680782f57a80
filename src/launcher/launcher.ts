import type { CanaryPlan, ReloadWait, Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { Log } from '../log.js'
import { native } from '../native.js'
import type { LauncherOptions } from '../options.js'
import { removePidFile, writePidFile } from '../pid-file.js'
import { heldRuntimeDir, notUsable, takeRuntimeDir } from '../runtime-dir.js'
import { VERSION } from '../version.js'
import { adopt } from './adoption.js'
import type { Event } from './brain/events.js'
import type { State } from './brain/state.js'
import type { Channels } from './channels.js'
import { now } from './clock.js'
import { logicalDirectory } from './command.js'
import type { Orders } from './control.js'
import type { NewEvent } from './event-queue.js'
import type { EventStream } from './event-stream.js'
import { isShared } from './hands.js'
import { takeListenFds } from './listen-fds.js'
import { type Notes, readNotes } from './notebook.js'
import { awaitedOf, endHalfStarted, type Left, leftOf } from './orphans.js'
import { type Given, Parts, PRELOAD, type Told } from './parts.js'
import { isAtRest } from './rest.js'
import { type ServiceEnvironment, takeServiceEnvironment } from './service/environment.js'
import type { SavedService, ServiceManager } from './service/service-manager.js'
import { Specs } from './specs.js'
import { statusOf } from './status.js'
import { tellActivation, tellSurroundings, warnings } from './surroundings.js'
import { type Image, optionsOf } from './upgrade/image.js'
import { save } from './upgrade/save.js'
import { upgrade } from './upgrade/upgrader.js'

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

/** From its beginning to its end, and the orders that it takes. */
export class Launcher {
  readonly #parts: Parts
  readonly #ended: Promise<number>
  #resolveEnded: (code: number) => void = () => {}

  /** `before`: what another image of this process has left. */
  private constructor(options: LauncherOptions, given: Given, before?: Image) {
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    const whole = {
      orders: this.#orders(given.events),
      stepped: (event: Event, last: State) => this.#stepped(event, last),
      upgrade: () => void this.#upgrade(),
      end: (code: number, callers: readonly number[]) => void this.#end(code, callers),
    }
    this.#parts = new Parts(options, given, whole, before)
  }

  #orders(events: EventStream): Orders {
    return {
      status: (watchMs) => this.status(watchMs),
      reload: (caller, wait, canary) => this.reload(caller, wait, canary),
      promote: (caller, wait) => this.#post({ type: 'promote', caller, wait }),
      abort: (caller) => this.#post({ type: 'abort', caller, wait: 'baked' }),
      scale: (caller, workers, isRelative) => this.scale({ caller, workers, isRelative }),
      upgrade: (caller) => this.upgrade({ caller }),
      stop: (caller) => this.stop({ caller }),
      events,
    }
  }

  /**
   * Takes the name, opens the control socket and begins the first generation. Throws before anything is started: ERR_COMMAND_NOT_FOUND,
   * ERR_COMMAND_NOT_EXECUTABLE, ERR_USER, ERR_NAME_TAKEN, ERR_RUNTIME_DIR, ERR_ADDON_NOT_FOUND.
   */
  static async start(options: LauncherOptions, told: Told): Promise<Launcher> {
    // Before anything looks at the environment.
    const activation = takeListenFds()
    const service = meetServiceManager(takeServiceEnvironment(), told.log)
    try {
      return await Launcher.#start(options, { ...told, activation, service })
    } catch (error) {
      service?.failed(error)
      service?.close()
      throw error
    }
  }

  static async #start(options: LauncherOptions, given: Omit<Given, 'runtime' | 'specs' | 'notes'>): Promise<Launcher> {
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
      launcher.#openListens()
      launcher.#writePidFile()
      await launcher.#parts.http?.servers.open(log)
      const begin =
        notes === null || awaited.length === 0 ? launcher.#begin(left) : await launcher.#adopt(notes, awaited)
      launcher.#parts.control.listen(runtime.controlSocket)
      log('info', 'launcher.started', {
        name: options.name,
        pid: process.pid,
        workers: options.workers,
        directory,
        control: runtime.controlSocket,
      })
      tellActivation(launcher.#parts)
      launcher.#post(begin)
      return launcher
    } catch (error) {
      if (launcher !== undefined) {
        launcher.#parts.close()
        launcher.#removePidFile()
      }
      runtime.release('notes')
      throw error instanceof ReuseportError ? error : notUsable(runtime.directory, error)
    }
  }

  /** A first start. What another launcher was about to start is of no use to anybody. */
  #begin(left: readonly Left[]): NewEvent {
    for (const one of left) endHalfStarted(one)
    this.#parts.specs.tellShadowed(1)
    return { type: 'start' }
  }

  async #adopt(notes: Notes, awaited: readonly number[]): Promise<NewEvent> {
    const { specs, channels, sockets, log } = this.#parts
    specs.adopt(notes.specs)
    const { offers } = channels as Channels
    return await adopt({ notes, awaited, offers, sockets, workers: this.#options.workers, log })
  }

  /** Goes on with what another image of this process has left. */
  static resume(asked: LauncherOptions, told: Told, before: Image): Launcher {
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
    const { control, hands, http, prober, warmUps } = launcher.#parts
    control.resume(before.control)
    http?.servers.resume(before.http)
    const to = { version: VERSION, node: process.version }
    launcher.#post({ type: 'upgraded', from: before.by, to, gapMs: now() - before.at })
    hands.resume(before.hands)
    prober?.resume(before.prober)
    warmUps?.resume(before.warmUps)
    if (before.sockets.stored.length > 0 && before.state.phase === 'running') launcher.#dropStoredSoon()
    return launcher
  }

  #upgrade(): Promise<void> {
    const parts = this.#parts
    const { queue, prober, warmUps, agents, control, http, processes, renewals } = parts
    return upgrade({
      log: parts.log,
      directory: parts.specs.directory,
      save: () => save(parts),
      isWanted: () => queue.state.upgrade !== null,
      suspend: () => {
        prober?.suspend()
        warmUps?.suspend()
      },
      goOn: () => {
        prober?.resume()
        warmUps?.resume()
      },
      isBusy: () =>
        renewals.isBusy ||
        agents.asks ||
        control.isSending ||
        http?.servers.isBusy === true ||
        parts.service?.isSending === true,
      giveUpWaiting: () => agents.giveUpAsking(),
      own: (pid) => processes.own(pid),
      post: (event) => this.#post(event),
    })
  }

  get #options(): LauncherOptions {
    return this.#parts.renewals.options
  }

  #post(event: NewEvent): void {
    this.#parts.queue.post(event)
  }

  /** The exit code, once every worker has gone and every file is removed. */
  get ended(): Promise<number> {
    return this.#ended
  }

  /** `watchMs`: workers are to count their HTTP answers from now on, until nobody has asked so for this long. */
  async status(watchMs?: number): Promise<Status> {
    const { agents, queue, verdicts, sockets, processes, startedAt, upgradedAt } = this.#parts
    const loads = await agents.loads(watchMs)
    return statusOf(queue.state, {
      name: this.#options.name,
      version: VERSION,
      startedAt,
      upgradedAt,
      sockets,
      processes,
      lastReload: verdicts.last,
      lastReloadAt: verdicts.lastAt,
      held: (worker) => agents.held(worker),
      loads,
      warnings: warnings(this.#parts),
      now: now(),
    })
  }

  /** Resolves when it is ordered, or was refused. */
  async reload(caller: number | null = null, wait: ReloadWait = 'baked', canary?: CanaryPlan): Promise<void> {
    const { renewals, sockets } = this.#parts
    await renewals.renew()
    if (canary === undefined) this.#post({ type: 'reload', caller, wait })
    else this.#post({ type: 'reload', caller, wait, canary, isShared: isShared(sockets) })
  }

  /** Another number of workers; `isRelative`: so many more than were asked for last. */
  scale({ caller = null, ...order }: { caller?: number | null; workers: number; isRelative: boolean }): void {
    this.#post({ type: 'scale', caller, ...order })
  }

  /** A new launcher in the place of this one, in the same process; `reload`: and then new workers. */
  upgrade({ caller = null, reload = false }: { caller?: number | null; reload?: boolean }): void {
    this.#post({ type: 'upgrade', caller, reload })
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
    const { queue, service, verdicts, http, prober, warmUps } = this.#parts
    if (before.phase === 'starting' && queue.state.phase === 'running') this.#isUp()
    if (isAtRest(queue.state) && !isAtRest(before)) setImmediate(() => native().reclaim())
    if (event.type === 'settings' || event.type === 'upgraded') this.#parts.watchLimits()
    service?.stepped(queue.state, verdicts.last)
    http?.stepped(event, before, queue.state)
    // Nothing that was decided before its end was known may outlast it: nobody else would stop its timers.
    if (event.type !== 'exited') return
    prober?.stop(event.worker)
    warmUps?.stop(event.worker)
  }

  #isUp(): void {
    const { activation, queue } = this.#parts
    this.#parts.watchLimits()
    tellSurroundings(this.#parts)
    if (activation.stored.length === 0) return
    const { workers } = this.#options
    if (queue.state.slots.length > workers) this.scale({ workers, isRelative: false })
    this.#dropStoredSoon()
  }

  /** What nobody has claimed by then nobody wants any more. */
  #dropStoredSoon(): void {
    const parts = this.#parts
    setTimeout(() => parts.tellDropped(parts.sockets.dropStored()), this.#options.readyTimeoutMs).unref()
  }

  /** Bound and listening from here on: whoever comes early waits for the first worker. Throws what `Sockets` does. */
  #openListens(): void {
    for (let slot = 0; slot < this.#options.workers; slot++) this.#parts.foreign?.open(slot)
  }

  async #end(code: number, callers: readonly number[]): Promise<void> {
    const { control, runtime, service } = this.#parts
    this.#parts.close()
    this.#removePidFile()
    runtime.release()
    // Not before: who hears that it has stopped may start the next one under this name.
    await control.sayGoodbye(callers)
    service?.close()
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
