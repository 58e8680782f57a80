import fc from 'fast-check'
import { expect } from 'vitest'
import type { CanaryPlan } from '../../src/control-protocol.js'
import type { Settings, Worker } from '../../src/launcher/brain/state.js'
import { type Conduct, type Step, type Unstamped, World } from './world.js'

/*
 * Any schedule. Things that wait may happen in any order (but each worker's own in the order it did them: its channel is a queue), timers
 * may ring at any moment, versions lie, and the operator does as he likes. After every single step the invariants must hold
 * (reliability.md §3.3, §3.4); when everything has come to rest the service must be whole.
 */

const SLOTS = 3

interface Move {
  readonly do:
    | 'happen'
    | 'ring'
    | 'reload'
    | 'canary'
    | 'promote'
    | 'abort'
    | 'crash'
    | 'hang'
    | 'scale'
    | 'die'
    | 'upgrade'
    | 'wear'
  readonly pick: number
}

/** How versions behave, for `versions[generation % length]`, and how the launcher was started. */
export interface Schedule {
  readonly moves: readonly Move[]
  readonly versions: readonly Conduct[]
  readonly settings: Partial<Settings>
  readonly order: 'up' | 'down'
  readonly refusesProgram: boolean
  /** Every third reload finds no memory. */
  readonly lacksMemory: boolean
}

/** Never admitted, whatever the settings. */
const REFUSED: readonly Conduct[] = ['exits', 'never-listens', 'never-admits', 'dies-admitted', 'never-says-itself']
const FAULTY: readonly Conduct[] = ['dies-baking', 'fails-watch', 'stands-still', 'errs']

const settings: fc.Arbitrary<Partial<Settings>> = fc.record({
  ready: fc.constantFrom('listening' as const, 'message' as const),
  probes: fc.boolean(),
  warms: fc.constantFrom(false, false, true),
  strategy: fc.constantFrom('all' as const, 'all' as const, 'rolling' as const),
  surge: fc.constantFrom(null, 1, 2),
  bakeMs: fc.constantFrom(0, 5_000, 5_000),
  bakeMax5xx: fc.constantFrom(null, 0.01),
  migrate: fc.constantFrom(true, true, true, false),
  bakeMigrate: fc.constantFrom(false, false, true),
  standby: fc.constantFrom(0, 0, 1),
  alwaysSteers: fc.constantFrom(false, false, true),
  steers: fc.constantFrom(true, true, false),
})

/** `faults`: workers are killed from outside as well, and some are too slow to resume. */
export function schedules(faults: boolean): fc.Arbitrary<Schedule> {
  const move = fc.record({
    do: fc.oneof(
      { weight: 40, arbitrary: fc.constant('happen' as const) },
      { weight: 3, arbitrary: fc.constant('ring' as const) },
      { weight: 3, arbitrary: fc.constant('reload' as const) },
      { weight: 2, arbitrary: fc.constant('canary' as const) },
      { weight: 1, arbitrary: fc.constant('promote' as const) },
      { weight: 1, arbitrary: fc.constant('abort' as const) },
      { weight: 2, arbitrary: fc.constant('scale' as const) },
      { weight: 1, arbitrary: fc.constant('die' as const) },
      { weight: 1, arbitrary: fc.constant('upgrade' as const) },
      { weight: 3, arbitrary: fc.constant('wear' as const) },
      { weight: faults ? 3 : 0, arbitrary: fc.constant('crash' as const) },
      { weight: faults ? 4 : 0, arbitrary: fc.constant('hang' as const) },
    ),
    pick: fc.nat(1_000),
  })
  const good: readonly Conduct[] = ['good', 'says-itself', 'never-drains']
  const bad: readonly Conduct[] = [...REFUSED, ...FAULTY, 'never-says', 'fails-proof']
  // A version whose every worker is deaf to `pause` cannot be gone back to: only one that is killed as well can tell.
  const slow: readonly Conduct[] = faults ? ['never-pauses', 'never-resumes'] : []
  return fc.record({
    moves: fc.array(move, { minLength: 1, maxLength: 100, size: 'max' }),
    versions: fc.array(fc.constantFrom(...good, ...bad, ...slow), { minLength: 1, maxLength: 6 }),
    settings,
    order: fc.constantFrom('up' as const, 'down' as const),
    refusesProgram: fc.constantFrom(false, false, false, true),
    lacksMemory: fc.constantFrom(false, false, false, true),
  })
}

/** Of a program without our agent: nobody holds it, and there is less that it can do wrong. */
export function foreignSchedules(faults: boolean): fc.Arbitrary<Schedule> {
  const foreign = fc.record({
    agent: fc.constant(false),
    ready: fc.constant('alive' as const),
    migrate: fc.constant(false),
    strategy: fc.constantFrom('all' as const, 'rolling' as const),
    surge: fc.constantFrom(null, 1, 2),
    bakeMs: fc.constantFrom(0, 5_000),
    alwaysSteers: fc.boolean(),
    steers: fc.constantFrom(true, true, false),
  })
  const versions = fc.constantFrom<Conduct[]>('good', 'good', 'never-drains', 'exits', 'never-says', 'dies-baking')
  return fc.record({
    moves: schedules(faults).map(({ moves }) => moves.filter((move) => move.do !== 'hang' && move.do !== 'die')),
    versions: fc.array(versions, { minLength: 1, maxLength: 6 }),
    settings: foreign,
    order: fc.constantFrom('up' as const, 'down' as const),
    refusesProgram: fc.constantFrom(false, false, false, true),
    lacksMemory: fc.constantFrom(false, false, false, true),
  })
}

/** Runs it to the end of all things. Throws at the first step after which something is not as promised. */
export function run(
  { moves, versions, settings: chosen, order, refusesProgram, lacksMemory }: Schedule,
  faults: boolean,
  brain?: Step,
): World {
  const conduct = (generation: number, slot: number): Conduct => {
    if (generation === 1) return 'good'
    const version = versions[generation % versions.length] ?? 'good'
    // With nobody left who resumes there would be no service to judge; slot 0 is never scaled away.
    return version === 'never-resumes' && slot !== 1 ? 'good' : version
  }
  const refuses = (version: Conduct): boolean =>
    REFUSED.includes(version) ||
    (version === 'never-says' && chosen.ready !== 'listening') ||
    (version === 'fails-proof' && chosen.probes === true)
  const world = new World({ slots: SLOTS, ...chosen }, conduct, brain)
  // Without agents nobody adopts: the queue of a version that dies when the old one has gone waits for its next start.
  const isBare = chosen.agent === false && (chosen.strategy === 'rolling' || chosen.bakeMs === 0)
  world.refusesProgram = refusesProgram
  world.lacksMemory = (id) => lacksMemory && id % 3 === 0
  world.start(order)
  let caller = 0
  let scalers = 0
  let slots = SLOTS
  let upgraders = 0
  const resting = new Set<number>()
  let term = world.state.term
  let before = world.state.slots.map((slot) => slot.working)
  const check = (): void => {
    const { state } = world
    const workers = Object.values(state.workers)
    // I1. Every socket of the service is held by the launcher, whatever happens.
    state.slots.forEach(({ isJoining }, slot) => {
      if (!isJoining) must(world.sockets.has(`${slot} tcp *:3000`), 'a socket was let go')
    })
    // I2. Bad versions alone never leave a slot without somebody who accepts, but for the moment until their fault is noticed.
    for (let slot = 0; slot < state.slots.length && !faults && !isBare; slot++)
      if (state.slots[slot]?.isJoining === false && !isUnnoticed(world, slot))
        must((world.acceptors.get(slot)?.size ?? 0) > 0, `nobody accepts in slot ${slot}`)
    // I3. What has not proven itself accepts nothing, and is never the working generation.
    for (const slot of state.slots) must(!refuses(conduct(slot.working as number, 0)), 'a refused version is working')
    for (const id of [...world.acceptors.values()].flatMap((accepting) => [...accepting])) {
      const worker = state.workers[id]
      const version = worker && conduct(worker.generation, worker.slot)
      if (version !== undefined && refuses(version) && version !== 'dies-admitted' && chosen.agent !== false)
        must(false, `a version that ${version} accepts`)
    }
    // While a version bakes, whoever has paused for it can still be gone back to.
    const { run: running } = state
    if (running === null || running.undo !== null) resting.clear()
    else
      for (const old of workers) {
        if (old.generation !== running.from || !running.batch.includes(old.slot)) continue
        if (old.state === 'paused' && running.step === 'handover') resting.add(old.id)
        if (running.step === 'bake' && resting.has(old.id))
          must(old.state === 'paused' || old.state === 'stopping', `an old worker is ${old.state} in the bake`)
      }
    // Idle connections go to who serves and cannot be undone, and the way is there before they have to leave. Nobody kills the last one.
    must(world.fault === null, String(world.fault))
    // Nobody is sent to the sockets of a slot that is gone, and the order in which the kernel counts them is the one that the launcher knows.
    must(world.faultOfProgram() === null, String(world.faultOfProgram()))
    must(world.faultOfCanary() === null, String(world.faultOfCanary()))
    must(
      !state.steers || String(Object.values(state.listeners)[0]?.order) === String(world.group),
      'the order of the group is not known',
    )
    // A worn worker is relieved by one other, one at a time, and never in a reload.
    must(faultOfReliefs(state) === null, String(faultOfReliefs(state)))
    // No reload begins while a launcher is replaced: whoever takes over finds none that has only just begun.
    must(state.upgrade === null || state.run === null, 'a reload runs while the launcher is replaced')
    // Terms only grow, so that who comes after us knows the last word; at most three generations live.
    const now = state.slots.map((slot) => slot.working)
    must(
      now.every(
        (generation, slot) =>
          before[slot] === undefined || generation === before[slot] || (state.slots[slot]?.term ?? 0) > term,
      ),
      'no new term',
    )
    before = now
    term = state.term
    const alive = workers.filter((worker) => worker.state !== 'stopping' && worker.role !== 'latecomer')
    must(new Set(alive.map((worker) => worker.generation)).size <= 3, 'more than three generations')
  }
  for (const move of moves) {
    const anyone = (): number => [...world.alive][move.pick % Math.max(1, world.alive.size)] ?? -1
    if (move.do === 'happen' && world.pending.length > 0) {
      const heads = world.pending
        .map(({ worker }, index) => ({ worker, index }))
        .filter(({ worker }, index, all) => all.findIndex((other) => other.worker === worker) === index)
      world.happen(heads[move.pick % heads.length]?.index ?? 0)
    } else if (move.do === 'ring' && !hasDiedBaking(world)) world.ring()
    else if (move.do === 'reload')
      world.tell({
        type: 'reload',
        caller: ++caller,
        wait: (['admitted', 'baked', 'retired'] as const)[move.pick % 3] ?? 'baked',
      })
    else if (move.do === 'canary')
      world.tell({ type: 'reload', caller: ++caller, wait: 'baked', canary: canaryPlan(move.pick) })
    else if (move.do === 'promote' || move.do === 'abort')
      world.tell({ type: move.do, caller: ++caller, wait: 'baked' })
    else if (move.do === 'crash') world.crash(anyone())
    else if (move.do === 'scale') world.tell(scaleOrder(++scalers, move.pick))
    else if (move.do === 'die') {
      const was = { working: world.state.working, isResting: world.state.run === null, slots: world.state.slots.length }
      if (!world.die(chosen)) continue
      // Whoever waited for an answer has lost the one who would give it.
      caller = 0
      scalers = 0
      upgraders = 0
      resting.clear()
      term = world.state.term
      must(term >= world.lastWord, 'a term that was told is forgotten')
      before = []
      slots = was.slots
      if (was.isResting) must(world.state.working === was.working, 'another generation is working after an adoption')
    } else if (move.do === 'upgrade') world.tell({ type: 'upgrade', caller: ++upgraders, reload: move.pick % 2 === 0 })
    else if (move.do === 'wear') world.tell(wornEvent(anyone(), move.pick))
    else if (move.do === 'hang') world.freeze(anyone(), move.pick % 2 === 0)
    check()
  }
  for (let n = 0; n < 1_000; n++) {
    for (let rest = 5_000; world.pending.length > 0; rest--) {
      must(rest > 0, 'it does not come to rest')
      world.happen(0)
      check()
    }
    if (!world.ring()) break
    check()
  }
  expectAnswers(world, caller)
  expectScaled(world, scalers, slots)
  expectUpgraded(world, upgraders)
  expectWhole(world)
  return world
}

/** Its end is read before a deadline that came after it is told (Launcher#setTimer). */
function hasDiedBaking({ pending, state }: World): boolean {
  const { run: running } = state
  return (
    running?.step === 'bake' &&
    pending.some(
      ({ worker, event }) =>
        state.workers[worker]?.generation === running.to && typeof event === 'object' && event.type === 'exited',
    )
  )
}

function must(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise)
}

/** Who should accept in this slot is dead or stands still, and the launcher cannot know it yet. */
function isUnnoticed({ pending, state, scaled }: World, slot: number): boolean {
  // A version of which every worker stands still is noticed, and there is nobody else.
  const serving = Object.values(state.workers).filter(
    (one) => one.generation === state.slots[one.slot]?.working && one.state === 'serving',
  )
  // Nor is there when those that a scale has left die of what their bake did not show.
  if (serving.length === 0 && scaled.length > 0) return true
  if (serving.length > 0 && serving.every((worker) => worker.stuck)) return true
  const adopters = Object.values(state.listeners).map(({ adoptedBy }) => adoptedBy[slot])
  return pending.some(
    ({ worker, event }) =>
      (state.workers[worker]?.slot === slot || adopters.includes(worker)) &&
      typeof event === 'object' &&
      (event.type === 'exited' || event.type === 'heartbeat-lost'),
  )
}

/** Every caller heard exactly once, and nobody was told that a version is good which was found faulty. */
function expectAnswers({ verdicts, refusals, state }: World, callers: number): void {
  const refused = refusals.flatMap((effect) => effect.caller ?? [])
  expect([...verdicts.flatMap((effect) => effect.callers), ...refused].sort((a, b) => a - b)).toEqual(
    Array.from({ length: callers }, (_, i) => i + 1),
  )
  for (const { verdict } of verdicts) {
    expect(verdict.reason === null, verdict.result).toBe(verdict.result === 'done')
    expect(verdict.undo === null, verdict.result).toBe(verdict.result !== 'undone')
    // A canary that has served is undone, not given up; and nothing follows one before its watch has ended well.
    if (verdict.result === 'aborted') expect(verdict.canary?.ms ?? null).toBeNull()
    if (verdict.result === 'done' && verdict.canary !== null) expect(verdict.canary.promoted).not.toBeNull()
  }
  // The final report of an older reload may come after a newer one's verdict.
  const newest = Math.max(...verdicts.map(({ verdict }) => verdict.id))
  const last = verdicts.filter(({ verdict }) => verdict.id === newest).at(-1)?.verdict
  if (last !== undefined) expect(state.working).toBe(last.result === 'done' ? last.to : last.from)
}

function faultOfReliefs({ workers, slots, run }: World['state']): string | null {
  const isThere = ({ state, role }: Worker): boolean =>
    state !== 'draining' && state !== 'stopping' && state !== 'exited' && role !== 'latecomer'
  const members = Object.values(workers).filter(
    (worker) => isThere(worker) && slots[worker.slot]?.working === worker.generation,
  )
  const doubled = slots.filter((_, slot) => members.filter((worker) => worker.slot === slot).length > 1).length
  if (doubled > 1) return 'two workers are relieved at once'
  return doubled > 0 && run !== null ? 'a worker is relieved in a reload' : null
}

/** Its reliefs are for its age, or as it was too big from the start. */
function wornEvent(worker: number, pick: number): Extract<Unstamped, { type: 'worn' }> {
  return { type: 'worn', worker, why: pick % 3 === 0 ? 'memory' : 'age', is: 2, limit: 1, everyMs: 10_000 }
}

function canaryPlan(pick: number): CanaryPlan {
  const forMs = [1, 3_000, 60_000][pick % 3] as number
  return {
    share: 0.1,
    by: pick % 2 === 0 ? 'random' : 'client',
    forMs,
    max5xx: pick % 5 === 0 ? 0.01 : null,
    maxLatency: null,
  }
}

/** 1 to 5 workers, or one more or less. */
function scaleOrder(caller: number, pick: number): Extract<Unstamped, { type: 'scale' }> {
  const isRelative = pick % 3 === 0
  return { type: 'scale', caller, isRelative, workers: isRelative ? (pick % 2 === 0 ? 1 : -1) : 1 + (pick % 5) }
}

function expectScaled({ scaled, state }: World, callers: number, slots: number): void {
  expect(scaled.flatMap((effect) => effect.callers).sort((a, b) => a - b)).toEqual(
    Array.from({ length: callers }, (_, i) => i + 1),
  )
  const last = scaled.filter(({ verdict }) => verdict.result !== 'refused').at(-1)?.verdict
  expect(state.slots).toHaveLength(last?.to ?? slots)
  for (const { verdict } of scaled) expect(verdict.reason === null, verdict.result).toBe(verdict.result === 'done')
}

function expectUpgraded({ upgraded, state }: World, callers: number): void {
  expect(upgraded.flatMap((effect) => effect.callers).sort((a, b) => a - b)).toEqual(
    Array.from({ length: callers }, (_, i) => i + 1),
  )
  expect([state.upgrade, state.upgradeWaiting]).toEqual([null, null])
  for (const { verdict } of upgraded) expect(verdict.reason === null, verdict.result).toBe(verdict.result === 'done')
}

/** What must be true when nothing is left to happen. */
function expectWhole(world: World): void {
  const { state } = world
  expect(state.run).toBeNull()
  expect(state.waiting).toBeNull()
  expect(state.retiring).toEqual([])
  expect(Object.keys(state.generations)).toEqual([String(state.working)])
  const count = state.slots.length
  expect(state.scale).toBeNull()
  expect(state.slots.map((slot) => slot.working)).toEqual(Array(count).fill(state.working))
  expect(world.serving(state.working as number).sort()).toEqual(Array.from({ length: count }, (_, slot) => slot))
  expect([...world.timers.keys()]).toEqual([])
  expect(Object.keys(state.workers)).toHaveLength(count + state.settings.standby)
  // Without steering what is parked stays so, and a sibling accepts from it.
  const parked = Object.keys(state.parked).map(Number)
  if (state.steers) expect(parked).toEqual([])
  const [listener] = Object.values(state.listeners)
  expect(Object.keys(listener?.adoptedBy ?? {}).map(Number)).toEqual(parked)
  for (const slot of listener?.order ?? []) expect([...(world.acceptors.get(slot) ?? [])]).toHaveLength(1)
  expect([...(listener?.order ?? [])].sort()).toEqual([...state.slots.keys(), ...parked])
  const isSteered = state.settings.alwaysSteers && state.steers
  expect(world.program).toEqual(isSteered ? Array(count).fill(1) : null)
}
