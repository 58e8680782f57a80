import { describe, expect, test } from 'vitest'
import type { ScaleVerdict } from '../../src/control-protocol.js'
import type { LogFields } from '../../src/launcher/brain/events.js'
import { World } from '../support/world.js'

const to = (workers: number, caller = 1) => ({ type: 'scale', caller, workers, isRelative: false }) as const

function verdicts({ scaled }: World): ScaleVerdict[] {
  return scaled.map(({ verdict }) => verdict)
}

function logged(world: World, event: string): LogFields[] {
  return world.effects.flatMap((effect) => (effect.do === 'log' && effect.event === event ? [effect.fields] : []))
}

/** Until everything has happened, and every timer has rung. */
function rest(world: World): void {
  world.settle()
  while (world.ring()) world.settle()
}

describe('more', () => {
  test('a new worker is held and proven before its socket joins the group', () => {
    const world = new World({ probes: true }).start()
    world.tell(to(3))
    expect(world.scaled).toEqual([])
    while (world.pending.length > 1) world.happen(0)
    expect(world.group).toEqual([0, 1])
    world.settle()
    expect(world.group).toEqual([0, 1, 2])
    expect(verdicts(world)).toEqual([{ result: 'done', from: 2, to: 3, reason: null, draining: 0, parked: [] }])
    expect(world.serving(1).sort()).toEqual([0, 1, 2])
  })

  test('a reload waits for it, and replaces the new ones too', () => {
    const world = new World().start()
    world.tell(to(3))
    world.tell({ type: 'reload', caller: 7, wait: 'baked' })
    expect(world.state.run).toBeNull()
    world.settle()
    expect(world.serving(2).sort()).toEqual([0, 1, 2])
  })
})

describe('fewer', () => {
  test('a socket is closed when nobody is sent there, nobody has a copy, and its time has passed', () => {
    const world = new World({ slots: 4 }).start()
    world.tell(to(3))
    expect(world.program).toEqual([1, 1, 1, 0])
    world.settle()
    expect(verdicts(world)).toEqual([{ result: 'done', from: 4, to: 3, reason: null, draining: 1, parked: [3] }])
    expect(world.did('close')).toEqual([])
    expect(world.acceptors.get(3)?.size).toBe(1)
    expect(world.timers.get('park:3')).toBe(5_000)
    rest(world)
    expect(world.did('close')).toHaveLength(1)
    expect(world.group).toEqual([0, 1, 2])
    expect(world.program).toBeNull()
    expect(world.fault).toBeNull()
  })

  test('whoever cannot answer is waited for, and a worker that comes in the meantime gets no copy', () => {
    const world = new World({ slots: 3 }).start()
    world.tell(to(2))
    world.settle()
    // Its orders lie in its channel.
    world.freeze(1, false)
    world.happen(0)
    world.now += 5_000
    world.timers.delete('park:2')
    world.tell({ type: 'timer', id: 'park:2' })
    while (world.pending.length > 1)
      world.happen(world.pending.findIndex(({ event }) => typeof event !== 'object' || event.type !== 'heartbeat-back'))
    expect(world.did('close')).toEqual([])
    world.crash(2)
    rest(world)
    expect(world.did('close')).toHaveLength(1)
    expect(world.fault).toBeNull()
  })

  test('a process that is not ours keeps it parked, and is named (J-04)', () => {
    const world = new World({ slots: 2 }).start()
    world.copies.set(76, new Set(['spare 1']))
    world.tell(to(1))
    world.settle()
    for (let ring = 0; ring < 5; ring++) {
      world.ring()
      world.settle()
    }
    expect(world.state.parked[1]).toMatchObject({ step: 'parked', holders: [1_076] })
    expect(logged(world, 'socket.held')).toEqual([{ slot: 1, holders: ['1076'], shared: false }])
    expect(world.acceptors.get(1)?.size).toBe(1)
    world.copies.delete(76)
    rest(world)
    expect(world.group).toEqual([0])
  })

  test.each(['queued', 'isShared', 'unseen'] as const)('it stays parked as long as there is %s (N-16)', (what) => {
    const world = new World({ slots: 2 }).start()
    if (what === 'queued') world.queued = 1
    else if (what === 'isShared') world.isShared = true
    else world.unseen = 'EMFILE'
    world.tell(to(1))
    world.settle()
    for (let ring = 0; ring < 5; ring++) {
      world.ring()
      world.settle()
    }
    expect(world.did('close')).toEqual([])
    expect(world.acceptors.get(1)?.size).toBe(1)
    world.queued = 0
    world.isShared = false
    world.unseen = null
    expect(logged(world, 'socket.unseen')).toHaveLength(what === 'unseen' ? 1 : 0)
    rest(world)
    expect(world.group).toEqual([0])
  })

  test('without steering it stays parked, and comes back with its slot', () => {
    const world = new World({ slots: 2, steers: false }).start()
    world.tell(to(1))
    rest(world)
    expect(world.did('close')).toEqual([])
    expect(world.acceptors.get(1)?.size).toBe(1)
    world.tell(to(2))
    rest(world)
    expect(world.state.parked).toEqual({})
    expect(world.serving(1).sort()).toEqual([0, 1])
    expect([...(world.acceptors.get(1) ?? [])]).toEqual([3])
  })

  test('a kernel that refuses the first program is believed', () => {
    const world = new World({ slots: 2 }).start()
    world.refusesProgram = true
    world.tell(to(1))
    rest(world)
    expect(logged(world, 'steering.refused')).toHaveLength(1)
    expect(world.did('close')).toEqual([])
    expect(world.state.parked[1]).toMatchObject({ step: 'parked' })
  })

  test('waits while no worker that is to stay is well; a reload does not wait for that', () => {
    const world = new World({ slots: 2 }).start()
    world.freeze(1, false)
    world.happen(0)
    world.tell(to(1))
    expect(world.state.slots).toHaveLength(2)
    world.tell({ type: 'reload', caller: 7, wait: 'baked' })
    expect(world.state.run).not.toBeNull()
    rest(world)
    expect(world.serving(2)).toEqual([0])
    expect(verdicts(world)).toMatchObject([{ result: 'done', from: 2, to: 1 }])
  })
})

test('what is told comes after what was done: who hears of it may rely on it', () => {
  const started = new World({ slots: 2, alwaysSteers: true }).start()
  const place = (world: World, fits: (effect: World['effects'][number]) => boolean): number =>
    world.effects.findIndex(fits)
  const serving = place(started, (effect) => effect.do === 'log' && effect.event === 'launcher.serving')
  expect(serving).toBeGreaterThan(place(started, ({ do: what }) => what === 'steer'))
  const world = new World({ slots: 2 }).start()
  world.tell(to(1))
  expect(place(world, ({ do: what }) => what === 'scaled')).toBeGreaterThan(
    place(world, ({ do: what }) => what === 'steer'),
  )
  expect(place(world, ({ do: what }) => what === 'steer')).not.toBe(-1)
})

describe('listeners that not every worker has', () => {
  const late = { kind: 'tcp', host: null, port: 4000, ipv6Only: false } as const
  const claimed = (world: World, worker: number): void =>
    world.tell({ type: 'claim', worker, claim: '1:2', address: late, backlog: 511 })

  test('what only the workers that go listened on ends with them, and says nothing of the others', () => {
    const world = new World({ slots: 2 }).start()
    claimed(world, 2)
    world.settle()
    world.tell(to(1))
    expect(logged(world, 'listener.dropped')).toEqual([{ address: 'tcp *:4000' }])
    rest(world)
    const programs = world.effects.flatMap((effect) => (effect.do === 'steer' ? [effect.weights] : []))
    expect(programs.filter((weights) => weights !== null && !weights.includes(1))).toEqual([])
    expect([...world.sockets.keys()]).toEqual(['0 tcp *:3000'])
    expect(world.state.parked).toEqual({})
    expect(Object.keys(world.state.listeners)).toEqual(['tcp *:3000'])
  })

  test('who drains for good leaves no socket of a slot that is gone', () => {
    const world = new World({ slots: 2 }, () => 'never-drains').start()
    claimed(world, 1)
    world.tell(to(1))
    world.settle()
    while (world.state.parked[1] !== undefined && world.ring()) world.settle()
    expect(world.state.workers[2]?.state).toBe('draining')
    claimed(world, 2)
    rest(world)
    expect([...world.sockets.keys()].sort()).toEqual(['0 tcp *:3000', '0 tcp *:4000'])
  })

  test('a socket that could not listen has no index in its group', () => {
    const world = new World({ slots: 2 }).start()
    world.tell(to(4))
    while (world.group.length < 3) world.happen(0)
    world.tell({ type: 'listen-failed', worker: 3, listener: 'tcp *:3000', message: 'cannot listen on tcp *:3000' })
    expect(Object.values(world.state.listeners)[0]?.order).not.toContain(2)
    expect(Object.values(world.state.listeners)[0]?.sockets[2]).toBe('bound')
  })
})

test('--balance: a program of ours chooses from the start, among those that are whole', () => {
  const world = new World({ slots: 3, alwaysSteers: true }).start()
  expect(world.program).toEqual([1, 1, 1])
  world.crash(2)
  world.happen(0)
  expect(world.program).toEqual([1, 0, 1])
  world.settle()
  world.tell(to(2))
  rest(world)
  expect(world.program).toEqual([1, 1])
  expect(world.fault).toBeNull()
})

test('the sockets of a slot without a worker get no new connection while others have one', () => {
  const world = new World({ slots: 3 }).start()
  world.crash(2)
  world.happen(0)
  expect(world.program).toEqual([1, 0, 1])
  world.settle()
  expect(world.program).toBeNull()
})

test('a number that cannot be is refused, and changes nothing', () => {
  const world = new World().start()
  for (const workers of [0, -1, 1_025]) world.tell(to(workers))
  world.tell({ type: 'scale', caller: 2, workers: -2, isRelative: true })
  expect(verdicts(world).map(({ result }) => result)).toEqual(Array(4).fill('refused'))
  expect(world.state.scale).toBeNull()
})

test('the last request counts, and everybody who asked is told', () => {
  const world = new World().start()
  world.tell(to(4, 1))
  world.tell({ type: 'scale', caller: 2, workers: 1, isRelative: true })
  world.tell(to(3, 3))
  rest(world)
  expect(world.scaled.map(({ callers }) => callers)).toEqual([[1, 2, 3]])
  expect(verdicts(world)).toMatchObject([{ result: 'done', from: 2, to: 3 }])
  expect(world.state.slots).toHaveLength(3)
})
