import type { Refusal, WarmupReport } from '../../src/control-protocol.js'
import { orderOf } from '../../src/launcher/adoption.js'
import type { BrainOrder, Effect, Event } from '../../src/launcher/brain/events.js'
import { initialState, NO_SLOT, type Settings, type State, type Worker } from '../../src/launcher/brain/state.js'
import { step } from '../../src/launcher/brain/step.js'
import { Remembered } from './remembered.js'

/** The brain under test; a mutant of it takes its place. */
export type Step = typeof step

export type Unstamped = Event extends infer E ? (E extends unknown ? Omit<E, 'at'> : never) : never
type Answer = Extract<Effect, { do: 'answer' }>

/** How a simulated worker behaves, by generation. */
export type Conduct =
  | 'good'
  | 'exits'
  | 'never-listens'
  | 'never-admits'
  | 'dies-admitted'
  | 'never-pauses'
  | 'never-drains'
  /** Listens, and does not say that it is ready. */
  | 'never-says'
  /** Listens by the library, and calls listener.ready(); or says it in every other way. */
  | 'says-itself'
  | 'never-says-itself'
  | 'fails-proof'
  /** The rest serve well until the service is theirs. */
  | 'dies-baking'
  | 'fails-watch'
  | 'stands-still'
  | 'errs'
  | 'never-resumes'

const NO_MEMORY: Refusal = { code: 'ERR_MEMORY', reason: 'no room', facts: { needed: 2, available: 1 }, next: 'less' }

/** Not of a worker. */
const NOBODY: number = Number.MIN_SAFE_INTEGER

const REPORT: WarmupReport = { requests: 9, answered: 9, bad: 0, firstMs: 8, lastMs: 0.2, ms: 40, trouble: null }

/**
 * The world around the brain, in memory: processes that behave as told, a clock that is moved by hand, and a kernel that knows which
 * sockets are open. What workers would do next waits in `pending`, for the test to let happen in any order.
 */
export class World {
  state: State
  now = 0
  readonly effects: Effect[] = []
  readonly timers = new Map<string, number>()
  readonly alive = new Set<number>()
  /** Sockets that the launcher holds, as "slot listener"; true = listens. */
  readonly sockets = new Map<string, boolean>()
  /** Workers that accept, by slot of the socket: what the kernel would see. */
  readonly acceptors = new Map<number, Set<number>>()
  pending: { worker: number; event: Unstamped | 'crash' | 'freeze' | 'comes' | 'replace' }[] = []
  readonly upgraded: Extract<Effect, { do: 'upgraded' }>[] = []
  /** Workers that are warm. */
  readonly warm = new Set<number>()
  /** What each living worker is asked by the prober. */
  readonly probes = new Map<number, 'prove' | 'watch'>()
  readonly verdicts: Extract<Effect, { do: 'verdict' }>[] = []
  readonly scaled: Extract<Effect, { do: 'scaled' }>[] = []
  /** Slots of the sockets in the reuseport group, by index (kernel.md §3), and the shares by index of its program. */
  readonly group: number[] = []
  program: readonly number[] | null = null
  /** What it gives the canary before that. */
  canary: Extract<Effect, { do: 'steer' }>['canary'] = null
  readonly refusals: Extract<Effect, { do: 'refuse' }>[] = []
  /** The kernel takes no program, though it took one when that was tried. */
  refusesProgram = false
  /** Connections that wait in a socket that is looked at; whether others are in its group. */
  queued = 0
  isShared = false
  /** There is no room for the new workers of this reload. */
  lacksMemory: (run: number) => boolean = () => false
  /** Why nobody can say who holds it. */
  unseen: string | null = null
  /** Copies that living workers have: "own", "spare" or "adopted", and the slot. */
  readonly copies = new Map<number, Set<string>>()
  /** When a connection may have come to the socket of a slot last. */
  readonly #sentTo = new Map<number, number>()
  readonly lanes: Extract<Effect, { do: 'lane' }>[] = []
  /** The first thing that should not have been done, as seen in the moment in which it was done. */
  fault: string | null = null
  exitCode: number | null = null
  /** Orders that a worker cannot do. */
  refuses: (worker: number, type: BrainOrder['type']) => boolean = () => false
  conduct: (generation: number, slot: number) => Conduct
  /** Workers whose event loop stands still: from which sockets they accept once it turns again, and what lies in their channel. */
  readonly #frozen = new Map<number, { slots: number[]; orders: Extract<Effect, { do: 'order' }>[] }>()

  /** The highest term that a launcher was told of when it took over. */
  lastWord = 0
  /** What each living worker would tell another launcher. */
  readonly #memory = new Map<number, Remembered>()
  #nextPid = 1_001
  #nextLeft = -1
  #replaced = 0
  readonly #step: Step

  constructor(
    settings: Partial<Settings> = {},
    conduct: (generation: number, slot: number) => Conduct = () => 'good',
    brain: Step = step,
  ) {
    this.conduct = conduct
    this.#step = brain
    this.state = initialState({
      slots: 2,
      agent: true,
      given: [],
      ports: undefined,
      readyTimeoutMs: 60_000,
      drainTimeoutMs: 30_000,
      killAfterMs: 5_000,
      websocket: 'close',
      drainSpreadMs: 5_000,
      ready: 'listening',
      probes: false,
      warms: false,
      liveness: false,
      strategy: 'all',
      surge: null,
      bakeMs: 0,
      bakeMax5xx: null,
      migrate: true,
      bakeMigrate: false,
      alwaysSteers: false,
      standby: 0,
      parkMs: 5_000,
      udpLingerMs: 0,
      steers: true,
      ...settings,
    })
  }

  /** Tells the brain one thing, and does what it says at once; results of effects are told before anything else. */
  tell(event: Unstamped): void {
    if (event.type === 'warmed') this.warm.add(event.worker)
    const { state, effects } = this.#step(this.state, { ...event, at: this.now } as Event)
    this.state = state
    this.effects.push(...effects)
    this.#note(faultOfOrder(effects))
    const outcomes: Unstamped[] = []
    for (const effect of effects) this.#perform(effect, outcomes)
    for (const outcome of outcomes) this.tell(outcome)
    this.#send()
  }

  /** Lets everything happen that waits, in order, until nothing does. */
  settle(limit = 10_000): void {
    for (let n = 0; this.pending.length > 0; n++) {
      if (n > limit) throw new Error('the world does not come to rest')
      this.happen(0)
    }
  }

  /** Lets one of the waiting things happen. */
  happen(index: number): void {
    const [next] = this.pending.splice(index, 1)
    if (next === undefined) return
    if (next.event === 'comes') return this.#comesLate(next.worker)
    if (next.event === 'replace') return this.#replace()
    if (next.event === 'crash' || next.event === 'freeze') this.#showVice(next.worker, next.event)
    else if (this.alive.has(next.worker) || next.event.type === 'exited') {
      if (next.event.type === 'heartbeat-back') this.#thaw(next.worker)
      this.tell(next.event)
    }
  }

  /** Kills a worker's process, as `kill -9` would. */
  crash(worker: number): void {
    this.#end(worker, 'SIGKILL', ['last words'])
  }

  /** Its event loop stands still for a while; `long`: so long that it is not waited for any more. */
  freeze(worker: number, long: boolean): void {
    if (!this.alive.has(worker) || this.#frozen.has(worker)) return
    const slots = [...this.acceptors].flatMap(([slot, workers]) => (workers.has(worker) ? [slot] : []))
    this.#frozen.set(worker, { slots, orders: [] })
    this.#stopAccepting(worker)
    // What it has said before lies in the channel.
    const doing = 'it is stopped (SIGSTOP)'
    this.pending.push({ worker, event: { type: 'heartbeat-lost', worker, ms: 2_000, doing } })
    if (long) this.pending.push({ worker, event: { type: 'hung', worker, ms: 30_000, doing } })
    this.pending.push({ worker, event: { type: 'heartbeat-back', worker } })
  }

  /**
   * The launcher is killed, and another one takes over at once. Whoever stands still comes when it turns again; what was only being started is
   * ended. False: nobody would be there to be taken over.
   */
  die(settings: Partial<Settings>): boolean {
    const comes = (worker: number): boolean =>
      !this.#frozen.has(worker) && this.#memory.get(worker)?.claim !== undefined
    const isThere = [...this.alive].some((worker) => comes(worker) && this.#memory.get(worker)?.state === 'serving')
    if (!isThere || this.state.phase !== 'running') return false
    const { slots, next, listeners } = this.state
    const noted = Object.values(listeners)[0]?.order ?? []
    this.timers.clear()
    this.probes.clear()
    this.warm.clear()
    for (const told of [this.lanes, this.verdicts, this.refusals, this.scaled, this.upgraded]) told.length = 0
    for (const worker of [...this.alive])
      if (this.#memory.get(worker)?.claim === undefined) this.#end(worker, 'SIGKILL')
    this.pending = this.pending.flatMap(({ worker, event }) =>
      this.alive.has(worker) && (event === 'crash' || event === 'freeze') ? [{ worker, event }] : [],
    )
    for (const worker of [...this.alive]) {
      if (this.#frozen.has(worker)) this.pending.push({ worker, event: 'comes' })
      this.#rename(worker, this.#nextLeft--)
    }
    // What only the launcher had is gone with it.
    for (const id of [...this.sockets.keys()]) {
      const slot = Number(id.split(' ')[0])
      if (this.#holdersOf(slot).length > 0) continue
      this.sockets.delete(id)
      this.#part(slot)
    }
    const sockets = [...this.sockets].map(
      ([id, listens]) => [id.split(' ')[0], listens ? 'listening' : 'bound'] as const,
    )
    const there = sockets.map(([slot]) => Number(slot))
    const listening = sockets.flatMap(([slot, is]) => (is === 'listening' ? Number(slot) : []))
    this.state = initialState({ ...this.state.settings, ...settings })
    const come = [...this.alive].filter(comes)
    this.lastWord = Math.max(...come.map((worker) => this.#memory.get(worker)?.term ?? 0))
    this.tell({
      type: 'adopt',
      workers: come.map((worker) => (this.#memory.get(worker) as Remembered).offer(worker, this.#slotsHeld(worker))),
      listeners: [
        {
          address: { kind: 'tcp', host: null, port: 3000, ipv6Only: false },
          shared: false,
          sockets: Object.fromEntries(sockets),
          order: orderOf(there, listening, noted),
        },
      ],
      slots: slots.length,
      asked: null,
      next: { generation: next.generation, run: next.run },
    })
    return true
  }

  /** Moves the clock to the next timer and rings it. False when no timer runs. */
  ring(): boolean {
    // The launcher's stand-in answers in its own turn: no answer of it is ever late.
    const rings = ([id]: [string, number]): boolean => this.state.settings.agent || !id.startsWith('order:')
    const [next] = [...this.timers].filter(rings).sort((a, b) => a[1] - b[1])
    if (next === undefined) return false
    this.timers.delete(next[0])
    this.now = Math.max(this.now, next[1])
    this.tell({ type: 'timer', id: next[0] as `ready:${number}` })
    return true
  }

  /** Start to serving, everything good. `order`: the first workers come up from the first slot to the last, or the other way. */
  start(order: 'up' | 'down' = 'up'): this {
    this.tell({ type: 'start' })
    while (order === 'down' && this.pending.length > 0) {
      const last = this.pending.at(-1)?.worker
      this.happen(this.pending.findIndex(({ worker }) => worker === last))
    }
    this.settle()
    return this
  }

  serving(generation: number): number[] {
    return Object.values(this.state.workers)
      .filter((worker) => worker.generation === generation && worker.state === 'serving')
      .map((worker) => worker.slot)
  }

  did(name: Effect['do']): Effect[] {
    return this.effects.filter((effect) => effect.do === name)
  }

  #perform(effect: Effect, outcomes: Unstamped[]): void {
    switch (effect.do) {
      case 'resolve':
        outcomes.push({
          type: 'resolved',
          run: effect.run,
          error: null,
          changes: [],
          ...(this.lacksMemory(effect.run) ? { refusal: NO_MEMORY } : {}),
        })
        return
      case 'spawn':
        this.alive.add(effect.worker)
        outcomes.push({ type: 'spawned', worker: effect.worker, pid: this.#begin(effect) })
        this.#boot(effect.worker, effect.generation, effect.slot)
        return
      case 'open': {
        const id = `${effect.slot} ${effect.listener}`
        this.sockets.set(id, (this.sockets.get(id) ?? false) || effect.listen)
        const { worker, claim, listener, slot, listen } = effect
        if (listen) this.#join(slot)
        outcomes.push({ type: 'opened', worker, claim, listener, slot, listening: listen })
        return
      }
      case 'listen':
        this.sockets.set(`${effect.slot} ${effect.listener}`, true)
        this.#join(effect.slot)
        return
      case 'close':
        for (const { slot, listener } of effect.sockets) {
          if (effect.sockets.length === 1) this.#note(this.#faultOfClose(slot))
          this.sockets.delete(`${slot} ${listener}`)
          this.#part(slot)
        }
        return
      case 'steer':
        if (!this.refusesProgram) {
          this.program = effect.weights
          this.canary = effect.canary
        } else outcomes.push({ type: 'steer-failed', listener: effect.socket.listener, reason: 'EPERM' })
        return
      case 'look':
        outcomes.push({
          type: 'looked',
          slot: effect.slot,
          queued: this.queued,
          holders: this.#holdersOf(effect.slot),
          isShared: this.isShared,
          error: this.unseen,
        })
        return
      case 'upgrade':
        this.pending.push({ worker: NOBODY, event: 'replace' })
        return
      case 'upgraded':
        this.upgraded.push(effect)
        return
      case 'scaled':
        this.scaled.push(effect)
        return
      case 'refuse':
        this.refusals.push(effect)
        return
      case 'answer':
        return this.#claimed(effect)
      case 'order':
        if (effect.order.type === 'drain' && !effect.order.last && this.state.settings.migrate)
          this.#note(this.#faultOfDrain(effect.worker))
        if (effect.order.type === 'admit' && this.state.settings.warms && !this.warm.has(effect.worker))
          this.#note('a cold worker is admitted')
        return this.#obey(effect)
      case 'join': {
        this.#rename(effect.offer, effect.worker)
        const memory = this.#memory.get(effect.worker)
        const outcome = { ended: 1, closed: 0, cut: 0, moved: 2 }
        if (memory?.hasDrained)
          this.pending.push({ worker: effect.worker, event: { type: 'drained', worker: effect.worker, outcome } })
        return
      }
      case 'lane':
        this.#note(this.#faultOfLane(effect))
        this.lanes.push(effect)
        return
      case 'probe':
        return this.#probe(effect.worker, effect.mode)
      case 'warm-up':
        this.pending.push({ worker: effect.worker, event: { type: 'warmed', worker: effect.worker, report: REPORT } })
        return
      case 'unprobe':
        this.probes.delete(effect.worker)
        this.pending = this.pending.filter(
          ({ worker, event }) =>
            worker !== effect.worker ||
            typeof event === 'string' ||
            (event.type !== 'probed' && event.type !== 'warmed'),
        )
        return
      case 'terminate':
        return this.#end(effect.worker, 'SIGTERM')
      case 'kill':
        this.#note(this.#faultOfKill(effect.worker))
        return this.#end(effect.worker, 'SIGKILL')
      case 'timer':
        this.timers.set(effect.id, this.now + effect.ms)
        return
      case 'cancel':
        this.timers.delete(effect.id)
        return
      case 'verdict':
        this.verdicts.push(effect)
        return
      case 'exit':
        if (this.exitCode !== null) throw new Error('it ended twice')
        this.exitCode = effect.code
        return
      default:
        return
    }
  }

  #join(slot: number): void {
    if (!this.group.includes(slot)) this.group.push(slot)
  }

  /** The last one moves into the hole. */
  #part(slot: number): void {
    const index = this.group.indexOf(slot)
    if (index === -1) return
    const last = this.group.pop() as number
    if (index < this.group.length) this.group[index] = last
    this.#send()
  }

  #holdersOf(slot: number): number[] {
    const kinds = ['own', 'spare', 'adopted'].map((kind) => `${kind} ${slot}`)
    return [...this.copies].flatMap(([worker, copies]) =>
      kinds.some((copy) => copies.has(copy)) ? [this.#pidOf(worker)] : [],
    )
  }

  /** The last close of a socket takes what is queued there, and handshakes: nobody may be sent there any more, and nobody have a copy. */
  #faultOfClose(slot: number): string | null {
    if (this.state.phase !== 'running' || !this.group.includes(slot)) return null
    if (slot < this.state.slots.length) return `the socket of slot ${slot} was closed`
    if (this.#holdersOf(slot).length > 0) return `the socket of slot ${slot} was closed while somebody held it`
    const since = this.now - (this.#sentTo.get(slot) ?? 0)
    return since < this.state.settings.parkMs
      ? `the socket of slot ${slot} was closed ${since} ms after connections came`
      : null
  }

  /** Notes where a connection may come that is made now. An index out of range leaves it to the hash (kernel.md §3). */
  #send(): void {
    const { program, group } = this
    const isHash = program === null || program.some((weight, index) => weight > 0 && index >= group.length)
    for (const [index, slot] of group.entries())
      if (isHash || (program[index] ?? 0) > 0 || this.canary?.index === index) this.#sentTo.set(slot, this.now)
  }

  /** Whether the program sends connections to a socket whose slot is gone. */
  faultOfProgram(): string | null {
    const { parked, steers } = this.state
    const wrong = this.group.filter((slot, index) => parked[slot] !== undefined && (this.program?.[index] ?? 1) > 0)
    const all = this.group.every((slot) => parked[slot] !== undefined)
    return steers && wrong.length > 0 && !all ? `connections are sent to slot ${wrong.join()}, which is gone` : null
  }

  /** A canary gets its share and nothing else, as long as it is watched, and nobody but it gets that. */
  faultOfCanary(): string | null {
    const { run, steers, parked } = this.state
    const slot = this.canary === null ? null : (this.group[this.canary.index] ?? -1)
    const canary = run?.undo === null && run.deferred === null ? run.canary : null
    if (slot !== null && slot !== canary?.slot) return `slot ${slot} gets the share of a canary`
    if (canary == null || !steers) return null
    const index = this.group.indexOf(canary.slot)
    if (index === -1) return null
    if (this.program === null || this.program[index] !== 0) return 'a canary gets more than its share'
    if (parked[canary.slot] !== undefined) return 'a canary is parked'
    const worker = Object.values(this.state.workers).find((one) => one.slot === canary.slot && one.state === 'serving')
    if (worker === undefined) return slot === null ? null : 'a canary gets its share before it serves'
    if (slot === null) return 'a canary that serves gets no share'
    const others = [...(this.acceptors.get(slot) ?? [])].filter((id) => id !== worker.id)
    return others.length > 0 ? 'somebody else accepts what is meant for a canary' : null
  }

  #copy(worker: number, kind: 'own' | 'spare' | 'adopted', slot: number): void {
    if (!this.alive.has(worker)) return
    const copies = this.copies.get(worker) ?? new Set()
    this.copies.set(worker, copies.add(`${kind} ${slot}`))
  }

  /** A worker that hangs is the last hope where no other is well. */
  #faultOfKill(id: number): string | null {
    const { workers, slots, stop } = this.state
    const killed = workers[id]
    const accepts = [...this.acceptors.values()].some((accepting) => accepting.has(id))
    if (accepts && killed !== undefined && killed.hung === null && killed.failure === null && stop === null)
      return `a worker that accepts was killed`
    if (killed?.hung == null || killed.failure !== killed.hung || killed.slot === NO_SLOT) return null
    const isWell = ({ generation, slot, state, proof, stuck }: Worker): boolean =>
      (state === 'serving' || (state === 'ready' && proof === 'proven')) &&
      !stuck &&
      // A spare is good for the slot that it will take.
      slots[slot === NO_SLOT ? killed.slot : slot]?.working === generation
    return Object.values(workers).some(isWell) ? null : 'a worker that hangs was killed, and no other is well'
  }

  #begin({ worker, generation, slot }: Extract<Effect, { do: 'spawn' }>): number {
    const pid = this.#nextPid++
    this.#memory.set(worker, new Remembered({ pid, generation, slot }))
    return pid
  }

  #pidOf(worker: number): number {
    return this.#memory.get(worker)?.pid ?? 1_000 + worker
  }

  /** Its place is that of its greeting; a later word of its slot comes as an order. */
  #remember(worker: number, answer: Answer['answer']): void {
    const memory = this.#memory.get(worker)
    if (memory === undefined) return
    const slot = this.state.slots[memory.slot]
    memory.term = slot?.term ?? 0
    memory.working = slot?.working ?? this.state.working ?? memory.generation
    memory.state = answer.mode === 'go' ? 'serving' : 'held'
    const conduct = this.#conductOf(worker)
    memory.claim = {
      says: conduct === 'says-itself' || conduct === 'never-says-itself',
      said: conduct === 'says-itself',
    }
  }

  #slotsHeld(worker: number): number[] {
    return [...new Set([...(this.copies.get(worker) ?? [])].map((copy) => Number(copy.split(' ')[1])))]
  }

  /** It turns again, does what it was told, and finds another launcher than the one that said so. */
  #comesLate(worker: number): void {
    const memory = this.#memory.get(worker)
    if (memory === undefined || !this.alive.has(worker)) return
    const orders = this.#frozen.get(worker)?.orders.splice(0) ?? []
    this.#thaw(worker)
    for (const { order } of orders) this.#change(worker, order, memory.slot)
    this.tell({ type: 'latecomer', offered: memory.offer(worker, this.#slotsHeld(worker)) })
  }

  /** A process goes by the name that the brain has for it. */
  #rename(from: number, to: number): void {
    const move = <T>(map: Map<number, T>): void => {
      const value = map.get(from)
      if (value === undefined) return
      map.delete(from)
      map.set(to, value)
    }
    if (this.alive.delete(from)) this.alive.add(to)
    move(this.copies)
    move(this.#frozen)
    move(this.#memory)
    for (const accepting of this.acceptors.values()) if (accepting.delete(from)) accepting.add(to)
    this.pending = this.pending.map(({ worker, event }) => ({ worker: worker === from ? to : worker, event }))
  }

  #note(fault: string | null): void {
    this.fault ??= fault
  }

  /** What a lane must never be. */
  #faultOfLane({ from, to, listener }: Extract<Effect, { do: 'lane' }>): string | null {
    const [sender, receiver] = [this.state.workers[from], this.state.workers[to]]
    const { run, settings } = this.state
    const bakes = settings.bakeMigrate && run?.step === 'bake' && run.undo === null && run.from === sender?.generation
    if (sender?.state !== 'draining' && !(bakes && sender?.state === 'paused'))
      return `a lane from a worker that is ${sender?.state}`
    if (receiver === undefined || !this.#takes(receiver, from, listener))
      return 'a lane to a worker that is not fit for it'
    return null
  }

  /** Whether idle connections may go to it: it serves, or will as soon as it reads the orders that it has been sent, and nothing can be undone. */
  #takes({ id, generation, slot, state, stuck, claims }: Worker, from: number, listener: string): boolean {
    const { run, slots, settings } = this.state
    const orders = Object.values(this.state.workers[id]?.orders ?? {})
    const serves =
      state === 'serving'
        ? !orders.includes('pause') || orders.lastIndexOf('resume') > orders.lastIndexOf('pause')
        : state === 'paused' && orders.lastIndexOf('resume') > orders.lastIndexOf('pause')
    const mayBeUndone =
      run?.to === generation &&
      run.undo === null &&
      !run.kept &&
      run.batch.includes(slot) &&
      run.step !== 'retire' &&
      !(settings.bakeMigrate && run.step === 'bake')
    const listens = Object.values(claims).some((claim) => claim.listener === listener && claim.listening)
    return id !== from && serves && !stuck && listens && slots[slot]?.working === generation && !mayBeUndone
  }

  /** One that drains while another could have its connections has been given a lane before. */
  #faultOfDrain(id: number): string | null {
    const worker = this.state.workers[id]
    for (const { listener, listening } of Object.values(worker?.claims ?? {})) {
      if (!listening || this.lanes.some(({ from, to }) => from === id && this.state.workers[to] !== undefined)) continue
      if (Object.values(this.state.workers).some((other) => this.#takes(other, id, listener)))
        return 'a worker drains that another could have taken over from'
    }
    return null
  }

  #boot(worker: number, generation: number, slot: number): void {
    const conduct = this.conduct(generation, slot)
    const post = (event: Unstamped): void => void this.pending.push({ worker, event })
    if (conduct === 'exits') {
      this.alive.delete(worker)
      return post({ type: 'exited', worker, code: 1, signal: null, stderr: ['SyntaxError'] })
    }
    post({ type: 'hello', worker, pid: this.#pidOf(worker) })
    if (conduct === 'never-listens') return
    post({
      type: 'claim',
      worker,
      claim: '1:1',
      address: { kind: 'tcp', host: null, port: 3000, ipv6Only: false },
      backlog: 511,
      says: conduct === 'says-itself' || conduct === 'never-says-itself',
    })
  }

  #claimed({ worker, claim, answer }: Answer): void {
    if (answer.mode !== 'hold' && answer.mode !== 'go') return
    this.#copy(worker, 'own', answer.slot)
    this.#remember(worker, answer)
    if (answer.mode === 'go') this.#accept(worker, answer.slot)
    this.pending.push({ worker, event: { type: 'listening', worker, claim } })
    const conduct = this.#conductOf(worker)
    if (this.state.settings.ready !== 'listening' && conduct !== 'never-says' && conduct !== 'says-itself')
      this.pending.push({ worker, event: { type: 'ready', worker } })
    if (conduct === 'says-itself') this.pending.push({ worker, event: { type: 'ready', worker, claim } })
  }

  #probe(worker: number, mode: 'prove' | 'watch'): void {
    this.probes.set(worker, mode)
    const conduct = this.#conductOf(worker)
    const post = (passed: boolean): void =>
      void this.pending.push({
        worker,
        event: { type: 'probed', worker, passed, reason: passed ? null : 'GET /health answered 500', attempts: 1 },
      })
    if (mode === 'watch') {
      if (conduct === 'fails-watch') post(false)
    } else post(conduct !== 'fails-proof')
  }

  #conductOf(worker: number): Conduct {
    const record = this.state.workers[worker]
    return record === undefined ? 'good' : this.conduct(record.generation, record.slot)
  }

  #obey(effect: Extract<Effect, { do: 'order' }>): void {
    const { worker, seq, order } = effect
    const record = this.state.workers[worker]
    if (record === undefined || !this.alive.has(worker)) return
    const conduct = this.conduct(record.generation, record.slot)
    if (!this.state.settings.agent) return this.#obeyForeign(effect, record, conduct)
    if (order.type === 'resume' && conduct === 'never-resumes') return
    const frozen = this.#frozen.get(worker)
    if (frozen !== undefined) return void frozen.orders.push(effect)
    if (this.refuses(worker, order.type)) {
      const event = { type: 'refused', worker, seq, code: 'EMFILE', message: 'too many open files' } as const
      return void this.pending.push({ worker, event })
    }
    if (order.type === 'admit' && conduct === 'never-admits') return
    if (order.type === 'pause' && conduct === 'never-pauses') return
    // What comes after it shows that it was done.
    if (order.type === 'resume' && conduct === 'never-pauses') this.#giveUp(worker)
    this.#change(worker, order, record.slot)
    if (order.type === 'admit' && conduct === 'dies-admitted') return this.crash(worker)
    this.pending.push({ worker, event: { type: 'acked', worker, seq } })
    if (order.type === 'term' && order.working === record.generation) this.#turnBad(worker, conduct)
    if (order.type === 'count' && record.role === 'canary') this.#turnBad(worker, conduct)
    if (order.type === 'count' && order.everyMs > 0 && conduct === 'errs')
      this.pending.push({ worker, event: { type: 'answered', worker, responses: 200, errors: 100 } })
    const memory = this.#memory.get(worker)
    if (order.type === 'drain' && memory !== undefined) memory.hasDrained = conduct !== 'never-drains'
    if (order.type === 'drain' && conduct !== 'never-drains')
      this.pending.push({
        worker,
        event: { type: 'drained', worker, outcome: { ended: 1, closed: 0, cut: 0, moved: 2 } },
      })
  }

  /** What an order makes of who does it. */
  #change(worker: number, order: BrainOrder, own: number): void {
    if (order.type === 'admit' || order.type === 'resume') this.#accept(worker, own)
    if (order.type === 'pause' || order.type === 'drain') this.#giveUp(worker)
    if (order.type === 'adopt') {
      this.#accept(worker, order.socket.slot)
      this.#copy(worker, 'adopted', order.socket.slot)
    }
    if (order.type === 'seat') {
      this.copies.get(worker)?.delete('own 0')
      this.#copy(worker, 'own', order.slot)
    }
    if (order.type === 'unadopt') this.#unadopt(worker, order.socket.slot)
    if (order.type === 'spares') this.#keep(worker, own, order)
    this.#memory.get(worker)?.did(order)
  }

  /** As the launcher's stand-in does: every order is answered, and none is done but the last. */
  #obeyForeign({ worker, seq, order }: Extract<Effect, { do: 'order' }>, record: Worker, conduct: Conduct): void {
    this.pending.push({ worker, event: { type: 'acked', worker, seq } })
    if (order.type === 'term' && order.working === record.generation) this.#turnBad(worker, conduct)
    if (order.type === 'drain' && conduct !== 'never-drains') this.#end(worker, 'SIGTERM')
  }

  /** It has the service, and will show what it is. */
  #turnBad(worker: number, conduct: Conduct): void {
    if (conduct === 'dies-baking') this.pending.push({ worker, event: 'crash' })
    if (conduct === 'stands-still') this.pending.push({ worker, event: 'freeze' })
  }

  /** These are faults of a new version, seen in its first moments or never. */
  /** Another image of the process goes on with what it can read; every third time it cannot take over. */
  #replace(): void {
    if (this.state.upgrade === null) return
    const from = { version: '1.0.0', node: 'v20.0.0' }
    if (++this.#replaced % 3 === 0)
      return this.tell({ type: 'upgrade-refused', reason: 'it has a syntax error', stderr: [], from, to: null })
    this.state = JSON.parse(JSON.stringify(this.state)) as State
    this.tell({ type: 'upgraded', from, to: from, gapMs: 50 })
  }

  #showVice(worker: number, vice: 'crash' | 'freeze'): void {
    const record = this.state.workers[worker]
    if (record === undefined || this.state.run?.to !== record.generation) return
    if (vice === 'crash') return this.crash(worker)
    this.freeze(worker, false)
  }

  #thaw(worker: number): void {
    const frozen = this.#frozen.get(worker)
    this.#frozen.delete(worker)
    for (const slot of frozen?.slots ?? []) this.#accept(worker, slot)
    for (const order of frozen?.orders ?? []) this.#obey(order)
  }

  #unadopt(worker: number, slot: number): void {
    this.acceptors.get(slot)?.delete(worker)
    this.copies.get(worker)?.delete(`adopted ${slot}`)
  }

  #keep(worker: number, own: number, { add, drop }: Extract<BrainOrder, { type: 'spares' }>): void {
    for (const { slot } of add) this.#copy(worker, 'spare', slot)
    for (const { slot } of drop) {
      this.copies.get(worker)?.delete(`spare ${slot}`)
      if (slot !== own) this.#unadopt(worker, slot)
      else if (this.state.workers[worker]?.state === 'draining') this.copies.get(worker)?.delete(`own ${slot}`)
    }
  }

  /** Whatever it was doing is over: another launcher may give its number to another worker. */
  #end(worker: number, signal: string, stderr: string[] = []): void {
    if (!this.alive.delete(worker)) return
    for (const map of [this.copies, this.#frozen, this.#memory]) map.delete(worker)
    this.#stopAccepting(worker)
    this.pending = this.pending.filter((next) => next.worker !== worker)
    this.pending.push({ worker, event: { type: 'exited', worker, code: null, signal, stderr } })
  }

  #accept(worker: number, slot: number): void {
    const set = this.acceptors.get(slot) ?? new Set()
    this.acceptors.set(slot, set.add(worker))
  }

  /** It pauses, and closes what it had adopted. */
  #giveUp(worker: number): void {
    this.#stopAccepting(worker)
    const copies = this.copies.get(worker)
    for (const copy of copies ?? []) if (copy.startsWith('adopted')) copies?.delete(copy)
  }

  #stopAccepting(worker: number): void {
    for (const set of this.acceptors.values()) set.delete(worker)
  }
}

/** The launcher may be killed between two effects: then there is somebody who was told to accept, and nobody was sent away yet. */
function faultOfOrder(effects: readonly Effect[]): string | null {
  const types = effects.flatMap((effect) => (effect.do === 'order' ? effect.order.type : []))
  const rest = types.slice(types.indexOf('drain'))
  if (!types.includes('drain') || !rest.some((type) => type === 'adopt' || type === 'resume' || type === 'admit'))
    return null
  return 'a worker is told to drain before another one is told to accept'
}
