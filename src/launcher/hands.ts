import type { Refusal } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { Log } from '../log.js'
import type { LauncherOptions } from '../options.js'
import { isDatagram, type SocketName } from '../protocol.js'
import type { Agents } from './agents.js'
import type { Effect } from './brain/events.js'
import type { ControlSocket } from './control-socket.js'
import type { EventQueue, NewEvent } from './event-queue.js'
import type { Foreign } from './foreign.js'
import { instanceVariables } from './instance.js'
import { OneByOne } from './one-by-one.js'
import { holdersOf } from './port-holder.js'
import type { Prober } from './probe/prober.js'
import type { Processes } from './processes.js'
import type { Renewals } from './renewals.js'
import { type Check, fieldsOf, isFlag, isText, isWhole, listOf, oneOf } from './shape.js'
import type { Sockets } from './sockets.js'
import type { Specs } from './specs.js'
import { strangersBeside } from './strangers.js'
import type { Timers } from './timers.js'
import type { Verdicts } from './verdicts.js'
import type { WarmUps } from './warm-ups.js'

type SpawnEffect = Extract<Effect, { do: 'spawn' }>

type LookEffect = Extract<Effect, { do: 'look' }>

/** What is under way: workers that are still to be started, sockets that the service manager is to let go of before they are looked at. */
export interface SavedHands {
  readonly starts: readonly SpawnEffect[]
  readonly looks: readonly LookEffect[]
}
export const SAVED_HANDS: Check = fieldsOf({
  starts: listOf(
    fieldsOf({ do: oneOf('spawn'), worker: isWhole, slot: isWhole, generation: isWhole, expendable: isFlag }),
  ),
  looks: listOf(
    fieldsOf({ do: oneOf('look'), slot: isWhole, sockets: listOf(fieldsOf({ listener: isText, slot: isWhole })) }),
  ),
})

/** What the effects act on. */
interface Parts {
  readonly options: LauncherOptions
  readonly log: Log
  readonly queue: EventQueue
  readonly timers: Timers
  readonly sockets: Sockets
  readonly processes: Processes
  readonly agents: Agents
  /** In their place, with `--listen`. */
  readonly foreign: Foreign | undefined
  readonly specs: Specs
  readonly renewals: Renewals
  readonly verdicts: Verdicts
  readonly prober: Prober | undefined
  readonly warmUps: WarmUps | undefined
  readonly control: ControlSocket
  readonly upgrade: () => void
  readonly end: (code: number, callers: readonly number[]) => void
}

/** Do what the brain wants done, and tell it what came of it. They decide nothing. */
export class Hands {
  readonly #options: LauncherOptions
  readonly #log: Log
  readonly #queue: EventQueue
  readonly #timers: Timers
  readonly #sockets: Sockets
  readonly #processes: Processes
  readonly #agents: Agents
  readonly #foreign: Foreign | undefined
  readonly #specs: Specs
  readonly #renewals: Renewals
  readonly #verdicts: Verdicts
  readonly #prober: Prober | undefined
  readonly #warmUps: WarmUps | undefined
  readonly #control: ControlSocket
  readonly #upgrade: Parts['upgrade']
  readonly #end: Parts['end']
  readonly #looks = new Set<LookEffect>()
  readonly #starts = new OneByOne<number, SpawnEffect>((effect) => this.#spawnNow(effect))

  constructor(parts: Parts) {
    this.#options = parts.options
    this.#log = parts.log
    this.#queue = parts.queue
    this.#timers = parts.timers
    this.#sockets = parts.sockets
    this.#processes = parts.processes
    this.#agents = parts.agents
    this.#foreign = parts.foreign
    this.#specs = parts.specs
    this.#renewals = parts.renewals
    this.#verdicts = parts.verdicts
    this.#prober = parts.prober
    this.#warmUps = parts.warmUps
    this.#control = parts.control
    this.#upgrade = parts.upgrade
    this.#end = parts.end
  }

  perform(effect: Effect): void {
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
      case 'join':
        return this.#agents.join(effect.offer, effect.worker)
      case 'lane':
        return this.#agents.layLane(effect.listener, effect.from, effect.to)
      case 'close':
        // At a stop they may be wanted again: the service manager, if it keeps them, knows whether this is a restart.
        for (const socket of effect.sockets) this.#sockets.close(socket, this.#queue.state.phase === 'running')
        return
      case 'steer':
        return this.#steer(effect)
      case 'look':
        return this.#look(effect)
      case 'upgrade':
        return this.#upgrade()
      case 'upgraded':
        return this.#control.answer(effect.callers, effect.verdict)
      case 'scaled':
        return this.#control.answer(effect.callers, effect.verdict)
      case 'protect':
        return this.#processes.get(effect.worker)?.adjustOomScore(0)
      case 'terminate':
        return this.terminate(effect.worker)
      case 'kill':
        if (!this.#neverStarts(effect.worker)) this.#processes.get(effect.worker)?.kill()
        return
      case 'timer':
        return this.#timers.set(effect.id, effect.ms)
      case 'cancel':
        return this.#timers.cancel(effect.id)
      case 'verdict':
        return this.#control.answer(effect.callers, this.#verdicts.complete(effect.run, effect.verdict))
      case 'refuse':
        return effect.caller === null ? undefined : this.#control.refuse(effect.caller, effect.refusal)
      case 'forget':
        return this.#specs.forget(effect.generation)
      case 'probe':
        return this.#prober?.start(effect.worker, effect.mode)
      case 'unprobe':
        this.#prober?.stop(effect.worker)
        return this.#warmUps?.stop(effect.worker)
      case 'warm-up':
        return this.#warmUps?.start(effect.worker)
      case 'log':
        return this.#log(effect.level, effect.event, effect.fields)
      case 'exit':
        return this.#end(effect.code, effect.callers)
      default:
        return effect satisfies never
    }
  }

  #resolve(run: number, generation: number): void {
    this.#verdicts.begin(run)
    try {
      this.#specs.resolve(generation)
      this.#specs.tellShadowed(generation)
      const changes = this.#specs.changes(this.#queue.state.run?.from ?? 0, generation)
      const refusal = this.#memoryRefusal()
      this.#queue.outcome({ type: 'resolved', run, error: null, changes, ...(refusal === null ? {} : { refusal }) })
    } catch (error) {
      this.#queue.outcome({ type: 'resolved', run, error: describe(error), changes: [] })
    }
  }

  /** Loaded only when it is asked for. */
  #memoryRefusal(): Refusal | null {
    if (!this.#renewals.options.memoryCheck) return null
    const { memoryRefusal } = require('./memory-check.js') as typeof import('./memory-check.js')
    return memoryRefusal(this.#queue.state)
  }

  /** There may be hundreds: each takes as long as an exec, and those that are there already wait for answers. */
  #spawn(effect: SpawnEffect): void {
    this.#starts.add(effect.worker, effect)
  }

  /** One that is to end before it was started. */
  #neverStarts(worker: number): boolean {
    if (!this.#starts.drop(worker)) return false
    this.#queue.outcome({ type: 'exited', worker, code: null, signal: null, stderr: [] })
    return true
  }

  #spawnNow({ worker, slot, generation, expendable }: SpawnEffect): void {
    const spec = this.#specs.get(generation)
    const { user } = this.#options
    try {
      const paths = this.#sockets.paths()
      const handed = this.#foreign?.handed(worker, slot, generation)
      const variables = instanceVariables(this.#options, slot)
      const pid = this.#processes.spawn(worker, spec, { expendable, paths, variables, handed })
      this.#queue.post({ type: 'spawned', worker, pid })
      this.#agents.spawned(worker, pid)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      this.#agents.lastWords(worker)
      this.#queue.post({
        type: 'spawn-failed',
        worker,
        exitCode: code === 'ENOENT' ? 127 : code === 'EACCES' || code === 'ENOEXEC' ? 126 : 1,
        message: `${spec.file}: ${describe(error)}${user === undefined ? '' : ` (as ${user.label})`}`,
      })
    }
  }

  #open({ worker, claim, listener, slot, address, backlog, listen }: Extract<Effect, { do: 'open' }>): void {
    const name = { listener, slot }
    try {
      const isNew = !this.#sockets.has(name)
      this.#sockets.open(name, address)
      try {
        // One of UDP is in its group from the bind on.
        if (listen || isDatagram(listener)) this.#sockets.listen(name, backlog)
      } catch (error) {
        if (isNew) this.#sockets.close(name, true)
        throw error
      }
      this.#queue.outcome({ type: 'opened', worker, claim, listener, slot, listening: listen })
    } catch (error) {
      const { errno, code } = errnoOf(error)
      this.#queue.outcome({ type: 'open-failed', worker, claim, listener, errno, code, message: describe(error) })
    }
  }

  #listen({ worker, listener, slot, backlog }: Extract<Effect, { do: 'listen' }>): void {
    try {
      this.#sockets.listen({ listener, slot }, backlog)
    } catch (error) {
      this.#queue.outcome({
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
      this.#queue.outcome({ type: 'steer-failed', listener: socket.listener, reason: describe(error) })
    }
  }

  #look(effect: LookEffect): void {
    const { slot, sockets } = effect
    const released = this.#sockets.release(sockets)
    if (released === undefined) return this.#queue.outcome(this.#seen(slot, sockets))
    this.#looks.add(effect)
    void released.then((isDone) => {
      this.#looks.delete(effect)
      const error = isDone ? null : 'the service manager has copies, and does not answer'
      // They may have been closed meanwhile, with their listener.
      const there = sockets.filter((socket) => this.#sockets.has(socket))
      this.#queue.post({ ...this.#seen(slot, there), ...(error === null ? {} : { error }) })
    })
  }

  #seen(slot: number, sockets: readonly SocketName[]): Extract<NewEvent, { type: 'looked' }> {
    const inodes = sockets.map((socket) => this.#sockets.inode(socket))
    const queued = sockets.reduce((sum, socket) => sum + (this.#sockets.queue(socket) ?? 0), 0)
    try {
      const holders = holdersOf(inodes).filter((pid) => pid !== process.pid)
      return { type: 'looked', slot, queued, holders, isShared: isShared(this.#sockets), error: null }
    } catch (error) {
      // No descriptor is left to look with (EMFILE): whoever was not seen may have one.
      return { type: 'looked', slot, queued, holders: [], isShared: false, error: describe(error) }
    }
  }

  terminate(worker: number): void {
    if (this.#neverStarts(worker)) return
    const generation = this.#queue.state.workers[worker]?.generation
    const signal = (): void => {
      // Whoever is not known to the brain any more has gone.
      if (generation !== undefined) this.#processes.get(worker)?.terminate(this.#specs.get(generation).stopSignal)
    }
    if (this.#options.compat !== 'pm2') return signal()
    this.#agents.shutdown(worker, (heard) => {
      if (!heard) signal()
    })
  }

  /** What has not begun yet will not. */
  close(): void {
    this.#starts.clear()
  }

  save(): SavedHands {
    return { starts: this.#starts.waiting, looks: [...this.#looks] }
  }

  /** What another image of this process has not come to. */
  resume({ starts, looks }: SavedHands): void {
    for (const effect of starts) this.#spawn(effect)
    for (const effect of looks) this.#look(effect)
  }
}

/** Others are in one of our groups. */
export function isShared(sockets: Sockets): boolean {
  return strangersBeside(sockets.inodes()).some(({ isMember }) => isMember)
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
