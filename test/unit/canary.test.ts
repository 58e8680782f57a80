import { describe, expect, test } from 'vitest'
import type { CanaryPlan } from '../../src/control-protocol.js'
import type { LogFields } from '../../src/launcher/brain/events.js'
import { bucketOfTime, TIME_BUCKETS, timeOfBucket } from '../../src/protocol.js'
import { World } from '../support/world.js'

const PLAN: CanaryPlan = { share: 0.1, by: 'client', forMs: 60_000, max5xx: null, maxLatency: null }
const reload = (plan: Partial<CanaryPlan> = {}, caller = 7) =>
  ({ type: 'reload', caller, wait: 'baked', canary: { ...PLAN, ...plan } }) as const

function logged(world: World, event: string): LogFields[] {
  return world.effects.flatMap((effect) => (effect.do === 'log' && effect.event === event ? [effect.fields] : []))
}

const canaryOf = (world: World): number =>
  Object.values(world.state.workers).find(({ role }) => role === 'canary')?.id ?? expect.fail('there is no canary')

/** Up to the moment in which the canary is watched. */
function watched(plan: Partial<CanaryPlan> = {}, world = new World()): World {
  world.start()
  world.tell(reload(plan))
  world.settle()
  expect(world.state.run?.step).toBe('canary')
  return world
}

function rest(world: World): void {
  world.settle()
  while (world.ring()) world.settle()
}

/** So many answers, all of which took `ms`. */
function answered(worker: number, responses: number, ms: number, errors = 0) {
  const times = Array.from({ length: bucketOfTime(ms) + 1 }, (_, bucket) =>
    bucket === bucketOfTime(ms) ? responses : 0,
  )
  return { type: 'answered', worker, connections: responses, responses, errors, times } as const
}

describe('the share', () => {
  test('the program is there before the socket, and the canary in it when it accepts', () => {
    const world = new World().start()
    world.tell(reload())
    expect([world.program, world.group]).toEqual([
      [1, 1],
      [0, 1],
    ])
    while (world.group.length === 2) world.happen(0)
    expect([world.program, world.canary, world.group]).toEqual([[1, 1, 0], null, [0, 1, 2]])
    world.settle()
    expect([world.program, world.canary]).toEqual([[1, 1, 0], { index: 2, share: 0.1, by: 'client' }])
    expect(logged(world, 'canary.serving')).toEqual([
      { id: 1, slot: 2, pid: 1_003, share: 0.1, by: 'client', ms: 60_000 },
    ])
  })

  test('it stays what it is when the others change, who see to each other', () => {
    const world = watched({}, new World({ slots: 3 }))
    world.crash(2)
    world.happen(0)
    expect([world.program, world.canary]).toEqual([[1, 0, 1, 0], { index: 3, share: 0.1, by: 'client' }])
    expect(world.acceptors.get(3)).toEqual(new Set([canaryOf(world)]))
    expect(world.acceptors.get(1)?.has(canaryOf(world))).toBe(false)
    world.settle()
    expect([world.program, world.canary?.share]).toEqual([[1, 1, 1, 0], 0.1])
    expect(world.state.run?.step).toBe('canary')
  })

  test('the only worker dies: the canary gets no more than before', () => {
    const world = watched({}, new World({ slots: 1 }))
    world.crash(1)
    world.happen(0)
    expect([world.program, world.canary?.index]).toEqual([[1, 0], 1])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([])
    world.settle()
    expect(world.serving(1)).toEqual([0])
  })

  test('no parked socket is closed meanwhile, and none is taken', () => {
    const world = new World({ slots: 3 }).start()
    world.tell({ type: 'scale', caller: 1, workers: 2, isRelative: false })
    world.settle()
    watchedAfter(world)
    expect(world.state.run?.canary?.slot).toBe(3)
    for (let ring = 0; ring < 20; ring++) {
      world.ring()
      world.settle()
    }
    expect(world.did('close')).toEqual([])
    expect(world.canary?.index).toBe(3)
    rest(world)
    expect(world.group.length).toBe(2)
    expect(world.fault).toBeNull()
  })
})

function watchedAfter(world: World): void {
  world.tell(reload())
  world.settle()
  expect(world.state.run?.step).toBe('canary')
}

describe('the end', () => {
  test('its time passes: all slots follow, and it serves until they have baked', () => {
    const world = watched({}, new World({ bakeMs: 5_000 }))
    const canary = canaryOf(world)
    expect(world.verdicts).toEqual([])
    while (world.state.run?.canary?.promoted === null) world.ring()
    expect(logged(world, 'canary.promoted')).toMatchObject([{ id: 1, by: 'time', ms: 60_000 }])
    world.settle()
    expect(world.state.run?.step).toBe('bake')
    expect(world.serving(2).sort()).toEqual([0, 1, 2])
    expect(world.canary?.index).toBe(2)
    rest(world)
    expect(world.serving(2).sort()).toEqual([0, 1])
    expect([world.canary, world.program, world.group]).toEqual([null, null, [0, 1]])
    expect(world.state.workers[canary]).toBeUndefined()
    expect(world.verdicts.map(({ callers }) => callers)).toContainEqual([7])
    const [verdict] = world.verdicts.filter(({ callers }) => callers.length > 0)
    expect(verdict?.verdict).toMatchObject({
      result: 'done',
      canary: { slot: 2, pid: 1_003, share: 0.1, by: 'client', ms: 60_000, promoted: 'time' },
      notes: ['the canary gave no HTTP answer that could be judged'],
    })
    expect(world.fault).toBeNull()
  })

  test.each(['promote', 'abort'] as const)('--%s: what it alone listened on ends with it', (type) => {
    const world = watched()
    const address = { kind: 'tcp', host: null, port: 4_000, ipv6Only: false } as const
    world.tell({ type: 'claim', worker: canaryOf(world), claim: '1:2', address, backlog: 511 })
    world.settle()
    expect(world.state.listeners['tcp *:4000']?.sockets).toEqual({ 2: 'listening' })
    world.tell({ type, caller: 8, wait: 'baked' })
    rest(world)
    expect(Object.keys(world.state.listeners)).toEqual(['tcp *:3000'])
    expect([...world.sockets.keys()].sort()).toEqual(['0 tcp *:3000', '1 tcp *:3000'])
  })

  test.each(['all', 'rolling'] as const)('--promote, and the next one has another slot (%s)', (strategy) => {
    const world = watched({}, new World({ strategy }))
    world.tell({ type: 'promote', caller: 8, wait: 'retired' })
    world.tell(reload({ by: 'random' }, 9))
    world.settle()
    expect(world.verdicts.flatMap(({ callers }) => callers)).toEqual([7, 8])
    expect(world.state.run).toMatchObject({ id: 2, canary: { slot: 3 } })
    expect(world.canary?.by).toBe('random')
    rest(world)
    expect(world.state.working).toBe(3)
    expect(world.group.length).toBe(2)
    expect(world.fault).toBeNull()
  })

  test('--abort: nobody had paused, its queue and its idle connections are the others’', () => {
    const world = watched()
    const { term } = world.state
    world.tell({ type: 'abort', caller: 8, wait: 'baked' })
    expect([world.canary, world.program]).toEqual([null, [1, 1, 0]])
    expect(world.lanes).toMatchObject([{ from: canaryOf(world), to: 1 }])
    expect(world.state.parked).toHaveProperty('2')
    expect(world.acceptors.get(2)?.size).toBe(1)
    expect(world.verdicts).toMatchObject([
      {
        callers: [7, 8],
        verdict: { result: 'undone', step: 'canary', undo: { ms: 0 }, draining: 1, canary: { ms: 0 } },
      },
    ])
    expect(world.did('order').filter((effect) => effect.do === 'order' && effect.order.type === 'pause')).toEqual([])
    expect(world.state.term).toBe(term)
    rest(world)
    expect(world.serving(1)).toEqual([0, 1])
    expect(world.group).toEqual([0, 1])
    expect(world.fault).toBeNull()
  })

  test('--abort of a reload without a canary undoes it in the bake, and gives it up before', () => {
    const world = new World({ bakeMs: 5_000 }).start()
    world.tell({ type: 'reload', caller: 7, wait: 'admitted' })
    world.settle()
    world.tell({ type: 'abort', caller: 8, wait: 'baked' })
    world.settle()
    world.tell({ type: 'reload', caller: 9, wait: 'baked' })
    world.tell({ type: 'abort', caller: 10, wait: 'baked' })
    expect(world.verdicts.filter(({ callers }) => callers.length > 0)).toMatchObject([
      { callers: [7], verdict: { result: 'done' } },
      { callers: [8], verdict: { result: 'undone', step: 'bake' } },
      { callers: [9, 10], verdict: { result: 'aborted', step: 'start' } },
    ])
    expect(world.serving(1)).toEqual([0, 1])
  })

  test.each(['exits', 'never-listens', 'never-admits', 'dies-admitted'] as const)(
    'one that %s is given up',
    (conduct) => {
      const world = new World({}, (generation) => (generation === 1 ? 'good' : conduct)).start()
      world.tell(reload())
      rest(world)
      expect(world.verdicts).toMatchObject([{ verdict: { result: 'aborted', canary: { ms: null } } }])
      expect([world.serving(1), world.group, world.program]).toEqual([[0, 1], [0, 1], null])
      expect(world.fault).toBeNull()
    },
  )

  test('whoever asks for nothing gets nothing, and is told what goes on', () => {
    const world = new World().start()
    world.tell({ type: 'promote', caller: 1, wait: 'baked' })
    world.tell({ type: 'abort', caller: 2, wait: 'baked' })
    expect(world.refusals.map(({ caller, refusal }) => [caller, refusal.reason])).toEqual([
      [1, 'there is no canary that is watched'],
      [2, 'no reload runs'],
    ])
  })
})

describe('judgement', () => {
  const outcome = (world: World): unknown => world.verdicts.map(({ verdict }) => verdict.reason)

  test('5xx: as many as asked for, or as in the bake; of the canary alone', () => {
    const world = watched({ max5xx: 0.02 })
    world.tell(answered(1, 200, 3, 200))
    world.tell(answered(canaryOf(world), 200, 3, 4))
    expect(outcome(world)).toEqual([])
    world.tell(answered(canaryOf(world), 201, 3, 5))
    expect(outcome(world)).toEqual(["of the canary's 5 of 201 answers were errors (5xx); at most 2 % may be"])
    const other = watched({}, new World({ bakeMax5xx: 0.01 }))
    other.tell(answered(canaryOf(other), 50, 3, 1))
    expect(outcome(other)).toEqual([])
    other.tell(answered(canaryOf(other), 50, 3, 2))
    expect(outcome(other)).toEqual(["of the canary's 2 of 50 answers were errors (5xx); at most 1 % may be"])
  })

  test('latency: against the others, both with enough answers, and only if that was asked for', () => {
    const world = watched({ maxLatency: 2 })
    world.tell(answered(1, 300, 10))
    world.tell(answered(canaryOf(world), 499, 100))
    world.tell(answered(2, 300, 10))
    expect(outcome(world)).toEqual([])
    world.tell(answered(canaryOf(world), 500, 100))
    expect(outcome(world)).toMatchObject([
      /^the canary is slow: 95 % of its answers took up to 110 ms, those of the others 11 ms/,
    ])
    const patient = watched({})
    patient.tell(answered(1, 600, 1))
    patient.tell(answered(canaryOf(patient), 600, 1_000))
    expect(outcome(patient)).toEqual([])
    // Twice as long as next to nothing.
    const quick = watched({ maxLatency: 2 })
    quick.tell(answered(1, 600, 1))
    quick.tell(answered(canaryOf(quick), 600, 9))
    expect(outcome(quick)).toEqual([])
  })

  test('everybody counts while it is watched, also who comes later, and nobody after', () => {
    const world = watched()
    const counting = (): number[] =>
      Object.values(world.state.workers).flatMap(({ id, isCounted }) => (isCounted ? [id] : []))
    expect(counting()).toEqual([1, 2, 3])
    world.crash(1)
    world.settle()
    expect(counting()).toEqual([2, 3, 4])
    world.tell({ type: 'promote', caller: 8, wait: 'baked' })
    expect(counting()).toEqual([])
    const orders = world.effects.flatMap((effect) =>
      effect.do === 'order' && effect.order.type === 'count' ? [[effect.worker, effect.order.everyMs]] : [],
    )
    expect(orders.map(String).sort()).toEqual(['1,200', '2,0', '2,200', '3,0', '3,200', '4,0', '4,200'])
  })

  test('what is answered is in the verdict: of the canary, and of the others together', () => {
    const world = watched()
    world.tell(answered(1, 10, 1, 1))
    world.tell(answered(2, 30, 8, 2))
    world.tell(answered(canaryOf(world), 5, 4))
    world.tell({ type: 'promote', caller: 8, wait: 'baked' })
    rest(world)
    expect(world.verdicts[0]?.verdict).toMatchObject({
      notes: [],
      canary: {
        promoted: 'order',
        canary: { connections: 5, responses: 5, errors: 0, p50Ms: 4, p95Ms: 4 },
        others: { connections: 40, responses: 40, errors: 3, p50Ms: 8, p95Ms: 8 },
      },
    })
  })
})

describe('where it cannot be', () => {
  test('without steering, or with strangers in the group, it is refused', () => {
    const without = new World({ steers: false }).start()
    without.tell(reload())
    const shared = new World().start()
    shared.tell({ ...reload(), isShared: true })
    for (const world of [without, shared]) {
      expect(world.refusals).toMatchObject([{ caller: 7, refusal: { next: expect.any(String) } }])
      expect(world.state.run).toBeNull()
      expect(logged(world, 'canary.refused')).toHaveLength(1)
    }
  })

  test('a kernel that refuses the first program: it is undone, and parked for good', () => {
    const world = new World().start()
    world.refusesProgram = true
    world.tell(reload())
    rest(world)
    expect(world.verdicts).toMatchObject([{ verdict: { result: 'aborted' } }])
    expect(world.serving(1)).toEqual([0, 1])
    expect(world.fault).toBeNull()
  })

  test('of callers that wait together the last one that asks for a canary says what it is like', () => {
    const world = new World({ bakeMs: 5_000 }).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.tell(reload({ share: 0.2 }, 2))
    world.tell(reload({ share: 0.3 }, 3))
    world.tell({ type: 'reload', caller: 4, wait: 'baked' })
    rest(world)
    const last = world.verdicts.filter(({ callers }) => callers.length > 0).at(-1)
    expect(last).toMatchObject({ callers: [2, 3, 4], verdict: { id: 2, canary: { share: 0.3 } } })
  })
})

test('the buckets of times grow by 19 %, and hold everything', () => {
  for (let bucket = 0; bucket < TIME_BUCKETS - 1; bucket++) {
    expect(bucketOfTime(timeOfBucket(bucket) * 0.999)).toBe(bucket)
    expect(bucketOfTime(timeOfBucket(bucket) * 1.001)).toBe(bucket + 1)
  }
  expect([bucketOfTime(0), bucketOfTime(1e9)]).toEqual([0, TIME_BUCKETS - 1])
  expect([timeOfBucket(8), timeOfBucket(48)]).toEqual([1, 1_024])
})
