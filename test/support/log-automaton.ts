/*
 * The protocol of docs/log.md: what may follow what in the log of one launcher, up to the end of its process (an upgrade goes on in it). Each
 * prefix of a log is a log, so nothing is wrong with one that was killed. Of events that are not named here nothing is demanded.
 */

export interface Logged {
  readonly msg: string
  readonly [field: string]: unknown
}

/** From state to state by an event; what is not there may not come. */
type Machine<State extends string> = Readonly<Record<State, Readonly<Record<string, State>>>>

/** One start. 'serving': of a first start, or taken over. */
const LAUNCHER = {
  none: { 'launcher.started': 'starting', 'adoption.started': 'adopting' },
  starting: {
    'launcher.serving': 'serving',
    'start.failed': 'failing',
    'launcher.stopping': 'stopping',
  },
  adopting: { 'adoption.collected': 'collected' },
  collected: { 'launcher.started': 'taking-over' },
  'taking-over': {
    'launcher.adopted': 'serving',
    // There was nobody who serves.
    'launcher.serving': 'serving',
    'start.failed': 'failing',
    'launcher.stopping': 'stopping',
  },
  serving: { 'launcher.stopping': 'stopping' },
  failing: { 'launcher.stopping': 'stopping' },
  stopping: { 'start.failed': 'stopping', 'launcher.stopping-now': 'stopping', 'launcher.stopped': 'stopped' },
  stopped: {},
} as const satisfies Machine<string>

/** One worker. 'leaving': it accepts nothing any more, and never will. */
const WORKER = {
  spawned: {
    'worker.serving': 'serving',
    'worker.drained': 'leaving',
    'worker.ended-early': 'leaving',
    'worker.drain-late': 'leaving',
    'worker.killed': 'leaving',
    'worker.exited': 'exited',
  },
  serving: {
    'worker.resumed': 'serving',
    'worker.replaced': 'leaving',
    'worker.relieved': 'leaving',
    'worker.drained': 'leaving',
    'worker.ended-early': 'leaving',
    'worker.drain-late': 'leaving',
    'worker.hung': 'leaving',
    'worker.killed': 'leaving',
    'worker.exited': 'exited',
  },
  leaving: {
    'worker.drained': 'leaving',
    'worker.ended-early': 'leaving',
    'worker.drain-late': 'leaving',
    'worker.killed': 'leaving',
    'worker.exited': 'exited',
  },
  exited: {},
} as const satisfies Machine<string>

/** What is said of a worker once at most. */
const ONCE = ['worker.drain-late', 'worker.killed', 'worker.relieved', 'worker.replaced']

/** One reload. With 'rolling' each batch bakes; the last one is 'admitted' before. */
const RELOAD = {
  started: {
    'canary.serving': 'canary',
    'reload.baking': 'baking',
    'reload.admitted': 'admitted',
    'reload.aborted': 'given-up',
    'reload.refused': 'given-up',
    'reload.undoing': 'undoing',
    'reload.kept': 'started',
    'reload.deferred': 'deferred',
  },
  canary: { 'canary.promoted': 'promoted', 'reload.undoing': 'undoing' },
  promoted: {
    'reload.baking': 'baking',
    'reload.admitted': 'admitted',
    'reload.undoing': 'undoing',
    'reload.kept': 'promoted',
    'reload.deferred': 'deferred',
  },
  baking: {
    'reload.baking': 'baking',
    'reload.admitted': 'admitted',
    'reload.undoing': 'undoing',
    'reload.kept': 'baking',
    'reload.deferred': 'deferred',
  },
  admitted: {
    'reload.baking': 'admitted',
    'reload.done': 'done',
    'reload.undoing': 'undoing',
    'reload.kept': 'admitted',
    'reload.deferred': 'deferred',
  },
  deferred: { 'reload.undoing': 'undoing', 'reload.kept': 'deferred', 'reload.admitted': 'admitted' },
  undoing: { 'reload.undone': 'done' },
  done: { 'reload.retired': 'retired' },
  retired: {},
  'given-up': {},
} as const satisfies Machine<string>

/** What runs from one event to another, at most one at a time. */
const UPGRADE = {
  none: { 'upgrade.started': 'running' },
  running: { 'upgrade.done': 'none', 'upgrade.refused': 'none', 'upgrade.unshielded': 'running' },
} as const satisfies Machine<string>

/** Another number may be asked for while one is under way. */
const SCALE = {
  none: { 'scale.started': 'running' },
  running: { 'scale.started': 'running', 'scale.failed': 'running', 'scale.done': 'none' },
} as const satisfies Machine<string>

/** Of a slot that is gone. It may come back without a word. */
const PARKED = {
  none: { 'socket.parked': 'parked' },
  parked: {
    'socket.parked': 'parked',
    'socket.held': 'parked',
    'socket.unseen': 'parked',
    'socket.closed': 'none',
  },
} as const satisfies Machine<string>

/** Not after a stop was ordered: it wins. */
const NEVER_IN_A_STOP =
  /^(reload\.(?!retired$)|canary\.(serving|promoted)|scale\.(started|done)|upgrade\.(started|done|refused)|slot\.|standby\.|socket\.|launcher\.(serving|adopted))/

const STATES_OF_ADOPTED: Readonly<Record<string, keyof typeof WORKER>> = {
  claimed: 'spawned',
  serving: 'serving',
  paused: 'serving',
  draining: 'leaving',
}

interface Worker {
  state: keyof typeof WORKER
  slot: unknown
  readonly generation: unknown
  /** That of the process that listens, as far as anything has been said of it since its start. */
  isKnown: boolean
  wasSilent: boolean
  readonly said: Set<string>
}

class Automaton {
  #launcher: keyof typeof LAUNCHER = 'none'
  #upgrade: keyof typeof UPGRADE = 'none'
  #scale: keyof typeof SCALE = 'none'
  readonly #parked = new Map<unknown, keyof typeof PARKED>()
  readonly #workers = new Map<unknown, Worker>()
  readonly #reloads = new Map<unknown, keyof typeof RELOAD>()
  #running: unknown
  #isAdopting = false
  #lastReload = 0
  /** The newest generation that was begun. */
  #generation = 0

  take(event: Logged): void {
    const { msg } = event
    if (this.#isStopping && NEVER_IN_A_STOP.test(msg)) throw new Error('the launcher stops')
    if (this.#launcher === 'stopped' && /^(worker|reload)\./.test(msg)) throw new Error('the launcher has stopped')
    if (isOf(LAUNCHER, msg)) this.#ofLauncher(event)
    else if (isOf(RELOAD, msg) || msg === 'reload.started') this.#ofReload(event)
    else if (isOf(UPGRADE, msg)) this.#upgrade = next(UPGRADE, this.#upgrade, msg)
    else if (isOf(SCALE, msg)) this.#scale = next(SCALE, this.#scale, msg)
    else if (isOf(PARKED, msg))
      this.#parked.set(event['slot'], next(PARKED, this.#parked.get(event['slot']) ?? 'none', msg))
    else if (/^(worker\.(?!(warning|status|unknown-message)$)|standby\.)/.test(msg)) this.#ofWorker(event)
  }

  get #isStopping(): boolean {
    return this.#launcher === 'stopping' || this.#launcher === 'stopped'
  }

  #ofLauncher({ msg, generation }: Logged): void {
    this.#launcher = next(LAUNCHER, this.#launcher, msg)
    if (msg === 'adoption.started') {
      // What the launcher before has begun may end here.
      this.#isAdopting = true
      this.#scale = 'running'
    }
    if (msg === 'launcher.adopted') this.#generation = Math.max(this.#generation, Number(generation))
    const alive = [...this.#workers].filter(([, { state }]) => state !== 'exited').map(([pid]) => pid)
    if (msg === 'launcher.stopped' && alive.length > 0) throw new Error(`workers have not exited: ${alive.join(', ')}`)
  }

  #ofReload({ msg, id, to }: Logged): void {
    if (msg === 'reload.started') {
      if (this.#running !== undefined) throw new Error(`reload ${this.#running} runs`)
      if (Number(id) <= this.#lastReload) throw new Error(`reload ${this.#lastReload} was begun before`)
      if (Number(to) <= this.#generation) throw new Error(`generation ${this.#generation} was begun before`)
      this.#generation = Number(to)
      this.#lastReload = Number(id)
      this.#reloads.set(id, 'started')
      this.#running = id
      return
    }
    const state = this.#reloads.get(id) ?? this.#adopted(id)
    this.#reloads.set(id, next(RELOAD, state, msg))
    const isOver = ['done', 'given-up'].includes(this.#reloads.get(id) as string)
    if (isOver) this.#running = undefined
  }

  /** One that the launcher before has begun. */
  #adopted(id: unknown): keyof typeof RELOAD {
    if (!this.#isAdopting) throw new Error('this reload was not started')
    if (this.#running !== undefined) throw new Error(`reload ${this.#running} runs`)
    this.#lastReload = Number(id)
    this.#running = id
    return 'started'
  }

  #ofWorker(event: Logged): void {
    const { msg, workerPid: pid, slot, generation } = event
    if (msg === 'worker.spawned' || msg === 'worker.adopted') return this.#arrives(event)
    // It could not be started.
    if (msg === 'worker.exited' && pid === undefined) return
    if (msg === 'worker.exited' && pid === null) return
    const worker = this.#find(event)
    if (slot !== null && worker.slot !== null && worker.slot !== slot) throw new Error(`its slot is ${worker.slot}`)
    if (worker.generation !== generation) throw new Error(`its generation is ${worker.generation}`)
    if (slot !== null) worker.slot = slot
    if (worker.state === 'exited') throw new Error('it has exited')
    if (ONCE.includes(msg) && worker.said.has(msg)) throw new Error('said before')
    worker.said.add(msg)
    if (msg === 'worker.stuck' || msg === 'worker.silent') worker.wasSilent = true
    if (msg === 'worker.back' && !worker.wasSilent) throw new Error('it was there')
    if (isOf(WORKER, msg)) worker.state = next(WORKER, worker.state, msg)
  }

  #arrives({ msg, workerPid: pid, slot, generation, state }: Logged): void {
    const known = this.#workers.get(pid)
    if (known !== undefined && known.state !== 'exited') throw new Error('it is there')
    if (msg === 'worker.spawned') this.#begins(Number(generation))
    else this.#generation = Math.max(this.#generation, Number(generation))
    const is = msg === 'worker.spawned' ? 'spawned' : STATES_OF_ADOPTED[String(state)]
    if (is === undefined) throw new Error('no state of a worker')
    const isKnown = msg === 'worker.adopted'
    this.#workers.set(pid, { state: is, slot, generation, isKnown, wasSilent: false, said: new Set() })
  }

  /** A generation is begun by the first start, or by a reload. */
  #begins(generation: number): void {
    if (generation <= this.#generation) return
    const isStarting = this.#launcher === 'starting' || this.#launcher === 'taking-over'
    if (!isStarting || this.#generation > 0) throw new Error('nobody has begun this generation')
    this.#generation = generation
  }

  /** Behind a wrapper the process that listens is another one than was started. */
  #find({ msg, workerPid: pid, slot, generation }: Logged): Worker {
    const known = this.#workers.get(pid)
    if (known !== undefined && (known.state !== 'exited' || known.isKnown)) {
      known.isKnown = true
      return known
    }
    const isIt = (worker: Worker): boolean =>
      !worker.isKnown && worker.state !== 'exited' && worker.generation === generation && fits(worker.slot, slot)
    const [started, worker] = [...this.#workers].find(([, other]) => isIt(other)) ?? []
    if (worker === undefined) throw new Error(`${msg} of a worker that was not started`)
    this.#workers.delete(started)
    this.#workers.set(pid, worker)
    worker.isKnown = true
    return worker
  }
}

/** A warm spare has no slot, until it has one. */
function fits(has: unknown, is: unknown): boolean {
  return has === is || has === null
}

function isOf(machine: Machine<string>, msg: string): boolean {
  return Object.values(machine).some((row) => msg in row)
}

function next<State extends string>(machine: Machine<State>, state: State, msg: string): State {
  const to = machine[state][msg]
  if (to === undefined) throw new Error(`it is ${state}`)
  return to
}

/** The first event that may not come where it comes, and why; null: there is none. */
export function violation(events: readonly Logged[]): { readonly at: number; readonly why: string } | null {
  const automaton = new Automaton()
  for (const [at, event] of events.entries()) {
    try {
      automaton.take(event)
    } catch (error) {
      return { at, why: `${event.msg}: ${(error as Error).message}` }
    }
  }
  return null
}
