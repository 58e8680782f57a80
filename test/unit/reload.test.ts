import { describe, expect, it } from 'vitest'
import { World } from '../support/world.js'

const KEY = 'tcp *:3000'
const inSlot = (world: World, generation: number, slot: number): number =>
  Object.values(world.state.workers).find((worker) => worker.generation === generation && worker.slot === slot)?.id ??
  -1

describe('a reload', () => {
  it('moves every slot to the new generation on the same sockets', () => {
    const world = new World().start()
    const before = [...world.sockets.keys()]
    world.tell({ type: 'reload', caller: 7, wait: 'retired' })
    world.settle()
    expect(world.state.working).toBe(2)
    expect(world.state.term).toBe(2)
    expect(world.serving(2)).toEqual([0, 1])
    expect([...world.sockets.keys()]).toEqual(before)
    expect(world.did('close')).toEqual([])
    const last = world.verdicts.at(-1)
    expect(last?.callers).toEqual([7])
    expect(last?.verdict).toMatchObject({ result: 'done', step: 'retire', from: 1, to: 2, draining: 0 })
    expect(last?.verdict.workers.map(({ oldPid, newPid, closed }) => [oldPid, newPid, closed])).toEqual([
      [1001, 1003, 1],
      [1002, 1004, 1],
    ])
  })

  it.each([
    ['says so', { type: 'drained', outcome: { ended: 2, closed: 0, cut: 3, early: true } }, 3],
    ['is killed', null, 4],
  ] as const)('counts and names what a program cuts that ends while it drains, and %s', (_, report, cut) => {
    const world = new World({}, (generation) => (generation === 1 ? 'never-drains' : 'good')).start()
    world.tell({ type: 'reload', caller: 7, wait: 'retired' })
    world.settle()
    const [one, other] = [inSlot(world, 1, 0), inSlot(world, 1, 1)]
    if (report !== null) world.tell({ ...report, worker: one })
    const held = report === null ? { http: { open: 4, oldestMs: null } } : {}
    world.tell({ type: 'exited', worker: one, code: 0, signal: null, stderr: [], held })
    world.tell({ type: 'closed-early', worker: other, call: 'server.close()', cut: 1, open: 2 })
    world.tell({ type: 'drained', worker: other, outcome: { ended: 2, closed: 0, cut: 1 } })
    world.tell({ type: 'exited', worker: other, code: 0, signal: null, stderr: [] })
    const warnings = world.effects.flatMap((effect) =>
      effect.do === 'log' && effect.level === 'warn' ? effect.event : [],
    )
    expect(warnings).toEqual(['worker.ended-early', 'worker.closed-early'])
    const { workers, notes } = world.verdicts.at(-1)?.verdict ?? {}
    expect(workers?.map((worker) => worker.cut)).toEqual([cut, 1])
    expect(notes).toEqual([
      `slot 0 (pid 1001): the program ended before its drain was over: ${cut} connections cut`,
      'slot 1 (pid 1002): the program called server.close() before its drain was over: 1 connections cut, 2 left open',
    ])
  })

  it('counts what is cut with the oldest of too many generations', () => {
    const world = new World({}, () => 'never-drains').start()
    for (let round = 0; round < 3; round++) {
      world.settle()
      world.tell({ type: 'reload', caller: round, wait: 'retired' })
    }
    const old = Object.values(world.state.workers).filter(({ generation }) => generation === 1)
    expect(old.map(({ state }) => state)).toEqual(['stopping', 'stopping'])
    world.pending = []
    for (const { id } of old)
      world.tell({
        type: 'exited',
        worker: id,
        code: null,
        signal: 'SIGTERM',
        stderr: [],
        held: { tcp: { open: 2, oldestMs: null } },
      })
    expect(world.verdicts.at(-1)?.verdict.workers.map((worker) => worker.kinds)).toEqual(
      Array(2).fill({ tcp: { moved: 0, closed: 0, cut: 2 } }),
    )
  })

  it('lets no old worker pause before every new one serves', () => {
    const world = new World({ slots: 3 }).start()
    world.tell({ type: 'reload', caller: null, wait: 'baked' })
    while (world.pending.length > 0) {
      const pausing = world.did('order').some((effect) => effect.do === 'order' && effect.order.type === 'pause')
      if (pausing) expect(world.serving(2)).toEqual([0, 1, 2])
      world.happen(0)
    }
    expect(world.serving(2)).toEqual([0, 1, 2])
  })

  it.each([
    ['exits', 'ready'],
    ['dies-admitted', 'admit'],
  ] as const)('is aborted when a candidate %s', (conduct, stepName) => {
    const world = new World({}, (generation) => (generation === 2 ? conduct : 'good')).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    expect(world.verdicts[0]?.verdict).toMatchObject({
      result: 'aborted',
      step: stepName === 'ready' ? 'start' : stepName,
      from: 1,
    })
    expect(world.state.working).toBe(1)
    expect(world.serving(1)).toEqual([0, 1])
    expect(Object.values(world.state.workers).filter((worker) => worker.generation === 2)).toEqual([])
  })

  it('gives a candidate up that never listens, and says within which time', () => {
    const world = new World({ readyTimeoutMs: 500 }, (generation) =>
      generation === 2 ? 'never-listens' : 'good',
    ).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    expect(world.verdicts).toEqual([])
    while (world.verdicts.length === 0 && world.ring()) world.settle()
    expect(world.now).toBe(500)
    expect(world.verdicts[0]?.verdict.reason).toContain(`it did not listen on ${KEY} within 500 ms`)
    expect(world.serving(1)).toEqual([0, 1])
  })

  it('names the step in which candidates failed, though all of them were given up before the first has ended', () => {
    const world = new World({ readyTimeoutMs: 500 }).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    // Not a word from them.
    world.pending = []
    expect([world.ring(), world.ring()]).toEqual([true, true])
    expect(world.did('kill')).toHaveLength(2)
    world.settle()
    expect(world.verdicts[0]?.verdict).toMatchObject({ result: 'aborted', step: 'start' })
  })

  it('resumes old workers that were told to pause when a candidate dies in the handover (A-06)', () => {
    const world = new World().start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    while (world.state.run?.step !== 'handover') world.happen(0)
    expect(world.state.run.committed).toBe(false)
    world.crash(inSlot(world, 2, 0))
    // The candidate's end is noticed before the old workers have answered.
    world.happen(world.pending.length - 1)
    world.settle()
    expect(world.verdicts[0]?.verdict).toMatchObject({ result: 'aborted', step: 'handover' })
    expect(world.state.working).toBe(1)
    expect(world.serving(1)).toEqual([0, 1])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([1])
  })

  it('takes the late answer of an old worker that was told to resume', () => {
    const world = new World({ slots: 1 }).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    while (world.state.run?.step !== 'handover') world.happen(0)
    world.crash(inSlot(world, 2, 0))
    world.happen(world.pending.length - 1)
    // Old workers are busy: the deadlines of all orders pass before they look at the channel.
    while (world.timers.size > 0) world.ring()
    world.settle()
    expect(world.serving(1)).toEqual([0])
    expect(world.did('spawn')).toHaveLength(2)
  })

  it('keeps an old worker whole that answers the order to resume and not the pause before it', () => {
    const world = new World({}, (generation) => (generation === 1 ? 'never-pauses' : 'good')).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    while (world.state.run?.step !== 'handover') world.happen(0)
    world.crash(inSlot(world, 2, 0))
    world.settle()
    // The pause is of the past with the answer to what came after it: its deadline must not take the worker for paused.
    while (world.ring()) world.settle()
    expect(world.verdicts[0]?.verdict).toMatchObject({ result: 'aborted', step: 'handover' })
    expect(world.serving(1)).toEqual([0, 1])
    expect(Object.keys(world.state.workers)).toEqual(['1', '2'])
    expect([0, 1].map((slot) => [...(world.acceptors.get(slot) ?? [])])).toEqual([[1], [2]])
    expect(world.now).toBe(0)
  })

  it('takes a silent old worker for paused, and never kills it for being slow', () => {
    const world = new World({}, (generation) => (generation === 1 ? 'never-pauses' : 'good')).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    expect(world.verdicts).toEqual([])
    while (world.verdicts.length === 0 && world.ring()) world.settle()
    expect(world.verdicts[0]?.verdict.result).toBe('done')
    expect(world.did('kill')).toEqual([])
  })

  it('answers a hundred callers with two runs', () => {
    const world = new World().start()
    for (let caller = 1; caller <= 100; caller++) world.tell({ type: 'reload', caller, wait: 'baked' })
    world.settle()
    expect(world.state.next.generation).toBe(4)
    expect(world.verdicts.flatMap((effect) => effect.callers).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    )
  })

  it('cuts the oldest drain short when a fourth generation comes', () => {
    const world = new World({}, (generation) => (generation < 3 ? 'never-drains' : 'good')).start()
    for (let round = 0; round < 2; round++) {
      world.tell({ type: 'reload', caller: null, wait: 'baked' })
      world.settle()
    }
    expect(new Set(Object.values(world.state.workers).map((worker) => worker.generation))).toEqual(new Set([1, 2, 3]))
    world.tell({ type: 'reload', caller: null, wait: 'baked' })
    world.settle()
    expect(new Set(Object.values(world.state.workers).map((worker) => worker.generation))).toEqual(new Set([2, 4]))
  })
})

describe('a crash', () => {
  it('has its sockets adopted until the respawn serves', () => {
    const world = new World().start()
    world.crash(1)
    world.happen(world.pending.length - 1)
    expect(world.state.listeners[KEY]?.adoptedBy).toEqual({ 0: 2 })
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([2])
    world.settle()
    expect(world.state.listeners[KEY]?.adoptedBy).toEqual({})
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([3])
    expect(world.did('close')).toEqual([])
  })

  it('whose respawn may serve already in the moment of a handover, though it has not said so, costs no connection of that one', () => {
    const world = new World({ slots: 1 }).start()
    const next = (worker: number): void =>
      world.happen(world.pending.findIndex((one) => one.worker === worker && one.event !== 'crash'))
    world.tell({ type: 'reload', caller: null, wait: 'retired' })
    const [candidate] = Object.values(world.state.workers).filter(({ role }) => role === 'candidate')
    world.crash(1)
    next(1)
    const [respawn] = Object.values(world.state.workers).filter(({ role }) => role === 'respawn')
    while (world.acceptors.get(0)?.has(respawn?.id as number) !== true) next(respawn?.id as number)
    while (world.state.run?.step !== 'handover') next(candidate?.id as number)
    expect(world.state.workers[respawn?.id as number]?.state).toBe('ready')
    world.settle()
    expect(world.did('kill')).toEqual([])
    expect(world.verdicts.at(-1)).toMatchObject({ verdict: { result: 'done' } })
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([candidate?.id])
  })

  it('leaves the queue waiting when there is no sibling', () => {
    const world = new World({ slots: 1 }).start()
    world.crash(1)
    world.settle()
    expect(world.did('close')).toEqual([])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([2])
  })

  it('is followed by growing pauses when it comes again and again', () => {
    const world = new World().start()
    const pauses: number[] = []
    for (let round = 0; round < 9; round++) {
      world.now += 10
      world.crash(inSlot(world, 1, 0))
      world.settle()
      const ring = world.timers.get('respawn:0')
      if (ring !== undefined) {
        pauses.push(ring - world.now)
        world.ring()
        world.settle()
      }
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000])
  })

  it('of a first start ends the launcher with the program’s own code', () => {
    const world = new World({ slots: 1 }, () => 'exits').start()
    expect(world.exitCode).toBe(1)
    expect(world.did('log').some((effect) => effect.do === 'log' && effect.event === 'start.failed')).toBe(true)
  })
})

describe('a listener', () => {
  it('is dropped everywhere once the last worker of the working generation has released it', () => {
    const world = new World().start()
    world.tell({ type: 'released', worker: 1, claim: '1:1' })
    expect(world.did('close')).toEqual([])
    expect(world.state.listeners[KEY]?.adoptedBy).toEqual({ 0: 2 })
    world.tell({ type: 'released', worker: 2, claim: '1:1' })
    expect(world.sockets.size).toBe(0)
    expect(world.state.listeners).toEqual({})
  })

  describe('that was opened late', () => {
    const address = { kind: 'tcp', host: null, port: 4000, ipv6Only: false } as const
    const LATE = 'tcp *:4000'

    /** Worker 1 opens it after its generation is the working one; then a reload, to its very end. */
    function reloaded(): World {
      const world = new World({ slots: 1, readyTimeoutMs: 500 }).start()
      world.tell({ type: 'claim', worker: 1, claim: '1:2', address, backlog: 511 })
      world.settle()
      world.tell({ type: 'reload', caller: null, wait: 'retired' })
      world.settle()
      expect([world.state.working, Object.keys(world.state.generations)]).toEqual([2, ['2']])
      return world
    }

    it('waits for the new generation to open it late again', () => {
      const world = reloaded()
      expect(world.sockets.get(`0 ${LATE}`)).toBe(true)
      world.tell({ type: 'claim', worker: 2, claim: '2:2', address, backlog: 511 })
      expect(world.did('answer').at(-1)).toMatchObject({ worker: 2, answer: { mode: 'go', listener: LATE } })
      while (world.ring()) world.settle()
      expect(world.did('close')).toEqual([])
      // From now on it is its own: the end of its claim is the end of the listener.
      world.tell({ type: 'released', worker: 2, claim: '2:2' })
      expect([...world.sockets.keys()]).toEqual([`0 ${KEY}`])
    })

    it('waits on through further reloads, and is dropped when the last one has not opened it in time', () => {
      const world = reloaded()
      world.now += 400
      world.tell({ type: 'reload', caller: null, wait: 'retired' })
      world.settle()
      const since = world.now
      while (world.sockets.has(`0 ${LATE}`) && world.ring()) world.settle()
      expect(world.now - since).toBe(500)
      expect([...world.sockets.keys()]).toEqual([`0 ${KEY}`])
      expect(world.did('log')).toContainEqual(
        expect.objectContaining({ event: 'listener.unclaimed', fields: { address: LATE, generation: 3 } }),
      )
    })
  })

  it('is refused to a worker that has it already', () => {
    const world = new World().start()
    world.tell({
      type: 'claim',
      worker: 1,
      claim: '1:2',
      address: { kind: 'tcp', host: null, port: 3000, ipv6Only: false },
      backlog: 0,
    })
    expect(world.did('answer').at(-1)).toMatchObject({ answer: { mode: 'failed', code: 'EADDRINUSE' } })
  })
})

describe('slot by slot', () => {
  it('the new worker accepts what the old one had adopted while it takes over', () => {
    const world = new World({ strategy: 'rolling' }).start()
    world.conduct = (generation, slot) => (generation === 1 && slot === 1 ? 'never-listens' : 'good')
    world.crash(2)
    world.settle()
    const acceptors = (): unknown => [...(world.acceptors.get(1) ?? [])]
    expect(acceptors()).toEqual([1])
    world.tell({ type: 'reload', caller: null, wait: 'baked' })
    while (world.state.run?.step !== 'handover') world.happen(0)
    expect(acceptors()).toEqual([inSlot(world, 2, 0)])
  })

  it('and gives it back to whoever is started for it, though it is not complete', () => {
    const world = new World({ strategy: 'rolling' }).start()
    world.crash(2)
    world.happen(0)
    const other = inSlot(world, 1, 1)
    const next = (isOther: boolean): void =>
      world.happen(world.pending.findIndex(({ worker }) => (worker === other) === isOther))
    world.tell({ type: 'reload', caller: null, wait: 'baked' })
    while (world.state.run?.step !== 'handover') next(false)
    expect([...(world.acceptors.get(1) ?? [])]).toEqual([inSlot(world, 2, 0)])
    while (!world.serving(1).includes(1)) next(true)
    expect(world.state.run).toMatchObject({ step: 'handover', committed: false })
    expect([...(world.acceptors.get(1) ?? [])]).toEqual([other])
  })
})

describe('a stop', () => {
  it('ends with every worker drained and every socket closed', () => {
    const world = new World().start()
    world.tell({ type: 'stop', caller: 3, pressure: 'drain', exitCode: 0 })
    world.settle()
    expect(world.exitCode).toBe(0)
    expect(world.sockets.size).toBe(0)
    expect(world.timers.size).toBe(0)
  })

  it('wins over a reload', () => {
    const world = new World().start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.tell({ type: 'reload', caller: 2, wait: 'baked' })
    world.happen(0)
    world.tell({ type: 'stop', caller: null, pressure: 'drain', exitCode: 0 })
    world.settle()
    expect(world.verdicts.map(({ callers, verdict }) => [callers, verdict.result])).toEqual([
      [[1], 'stopped'],
      [[2], 'stopped'],
    ])
    expect(world.exitCode).toBe(0)
  })
})
