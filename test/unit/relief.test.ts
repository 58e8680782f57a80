import { describe, expect, test } from 'vitest'
import type { Worker } from '../../src/launcher/brain/state.js'
import { World } from '../support/world.js'

const MINUTE = 60_000

const inSlot = ({ state }: World, slot: number): Worker[] =>
  Object.values(state.workers).filter((worker) => worker.slot === slot)
const logged = (world: World, name: string) =>
  world.effects.flatMap((effect) => (effect.do === 'log' && effect.event === name ? [effect.fields] : []))

/** The worker that serves in this slot is above a limit. */
function wear(world: World, slot: number, why: 'memory' | 'age' = 'age'): Worker {
  const worker = inSlot(world, slot).find(({ state }) => state === 'serving') as Worker
  world.tell({ type: 'worn', worker: worker.id, why, is: 300, limit: 200, everyMs: 10_000 })
  return worker
}

describe('a worn worker', () => {
  test('serves on until another one of its generation, held and proven, serves in its slot; then it drains, and its connections move', () => {
    const world = new World({ probes: true }).start()
    const old = wear(world, 1)
    const fresh = inSlot(world, 1).find(({ id }) => id !== old.id) as Worker
    expect(fresh).toMatchObject({ generation: 1, role: 'respawn', state: 'spawned' })
    while (world.state.workers[fresh.id]?.state !== 'serving') {
      expect(world.state.workers[old.id]?.state).toBe('serving')
      expect(world.acceptors.get(1)).toContain(old.id)
      world.happen(0)
    }
    expect(world.state.workers[old.id]?.state).toBe('draining')
    expect(world.lanes).toMatchObject([{ from: old.id, to: fresh.id }])
    world.settle()
    expect(inSlot(world, 1)).toMatchObject([{ id: fresh.id, state: 'serving' }])
    expect([...(world.acceptors.get(1) ?? [])]).toEqual([fresh.id])
    expect(world.state.relief).toBeUndefined()
    expect(logged(world, 'worker.worn')).toMatchObject([{ slot: 1, why: 'age', is: 300, limit: 200 }])
    expect(logged(world, 'worker.relieved')).toMatchObject([{ slot: 1, why: 'age' }])
    expect(world.state.slots[1]?.tally.exits).toEqual([])
  })

  test('waits for the one before it, until that has gone', () => {
    const world = new World({}, () => 'never-drains').start()
    wear(world, 0)
    wear(world, 1)
    expect(inSlot(world, 1)).toHaveLength(1)
    world.settle()
    wear(world, 1)
    expect(inSlot(world, 1)).toHaveLength(1)
    while (world.state.relief !== undefined) {
      world.ring()
      world.settle()
    }
    wear(world, 1)
    expect(inSlot(world, 1)).toHaveLength(2)
  })

  test('waits while a reload runs or waits, another number of workers is made, the launcher is replaced, or a slot is empty', () => {
    const orders: ((world: World) => void)[] = [
      (world) => world.tell({ type: 'reload', caller: 1, wait: 'baked' }),
      (world) => world.tell({ type: 'scale', caller: 1, workers: 3, isRelative: false }),
      (world) => world.tell({ type: 'upgrade', caller: 1, reload: false }),
      (world) => {
        world.crash(1)
        world.happen(0)
      },
    ]
    for (const order of orders) {
      const world = new World().start()
      order(world)
      wear(world, 1)
      expect(world.state.relief).toBeUndefined()
      world.settle()
      wear(world, 1)
      expect(world.state.relief).toBeDefined()
    }
  })

  test('waits until it has done what an undo asked of it: it is about to pause, and to serve again', () => {
    const world = new World({ slots: 1 }).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    while (world.state.run?.step !== 'handover') world.happen(0)
    world.tell({ type: 'abort', caller: 2, wait: 'baked' })
    const worn = wear(world, 0)
    expect(inSlot(world, 0).filter(({ generation }) => generation === worn.generation)).toHaveLength(1)
    world.settle()
    expect(inSlot(world, 0)).toMatchObject([{ id: worn.id, state: 'serving' }])
    wear(world, 0)
    expect(inSlot(world, 0)).toHaveLength(2)
  })

  test('a reload that comes meanwhile is more important: the relief is given up', () => {
    const world = new World().start()
    const old = wear(world, 0)
    const fresh = inSlot(world, 0).find(({ id }) => id !== old.id) as Worker
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    expect(world.state.run).not.toBeNull()
    expect(world.alive.has(fresh.id)).toBe(false)
    world.settle()
    expect(world.serving(2).sort()).toEqual([0, 1])
    expect(logged(world, 'worker.not-relieved')).toEqual([])
  })

  test('a reload that comes when the relief has been told to serve waits for that, and no longer', () => {
    const world = new World().start()
    const old = wear(world, 0)
    const fresh = inSlot(world, 0).find(({ id }) => id !== old.id) as Worker
    while (!Object.values(world.state.workers[fresh.id]?.orders ?? {}).includes('admit')) world.happen(0)
    const { pid } = world.state.workers[fresh.id] as Worker
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    expect(world.state.run).toBeNull()
    world.settle()
    expect(logged(world, 'worker.relieved')).toHaveLength(1)
    const { verdict } = world.verdicts.find(({ callers }) => callers.includes(1)) ?? expect.fail('no verdict')
    expect(verdict.result).toBe('done')
    // From the one that served, not from the one that drained beside it.
    expect(verdict.workers[0]?.oldPid).toBe(pid)
  })

  test('that ends by itself meanwhile has its respawn there already', () => {
    const world = new World().start()
    const old = wear(world, 0)
    world.crash(old.id)
    world.settle()
    expect(inSlot(world, 0)).toMatchObject([{ state: 'serving' }])
    expect(world.did('spawn')).toHaveLength(3)
    expect(logged(world, 'worker.relieved')).toEqual([])
  })

  test('whose relief fails serves on, and the next one is tried later each time', () => {
    let isGood = true
    const world = new World({}, () => (isGood ? 'good' : 'exits')).start()
    isGood = false
    const pauses = [1, 2, 4].map((minutes) => {
      const old = wear(world, 0)
      world.settle()
      expect(inSlot(world, 0)).toMatchObject([{ id: old.id, state: 'serving' }])
      world.now += minutes * MINUTE - 1
      wear(world, 0)
      expect(world.state.relief).toBeUndefined()
      world.now += 1
      return logged(world, 'worker.not-relieved').at(-1)?.['ms']
    })
    expect(pauses).toEqual([MINUTE, 2 * MINUTE, 4 * MINUTE])
    isGood = true
    wear(world, 0)
    world.settle()
    expect(world.state.slots[0]?.wear?.failed).toBe(0)
  })

  test('that is too big from the start is told of once, and relieved later each time', () => {
    const world = new World().start()
    for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
      const { id } = wear(world, 0, 'memory')
      if (minutes === 1) wear(world, 1, 'memory')
      expect(world.state.relief).toBeUndefined()
      world.now += minutes * MINUTE - 1
      wear(world, 0, 'memory')
      expect(world.state.relief).toBeUndefined()
      world.now += 1
      wear(world, 0, 'memory')
      expect(world.state.relief).toMatchObject({ old: id })
      world.settle()
    }
    expect(logged(world, 'worker.too-big')).toHaveLength(1)
    // A new version is told of again.
    world.tell({ type: 'reload', caller: null, wait: 'baked' })
    world.settle()
    wear(world, 1, 'memory')
    expect(logged(world, 'worker.too-big')).toHaveLength(2)
  })

  test('that grows is relieved at once', () => {
    const world = new World().start()
    world.now += MINUTE
    wear(world, 0, 'memory')
    world.settle()
    expect(logged(world, 'worker.relieved')).toMatchObject([{ slot: 0, why: 'memory' }])
    expect(logged(world, 'worker.too-big')).toEqual([])
  })
})
