import { describe, expect, test } from 'vitest'
import { type Conduct, type Unstamped, World } from '../support/world.js'

/*
 * Nobody who accepts is sent away before another one accepts, or has been told to.
 */

const acceptors = (world: World, slot: number): number[] => [...(world.acceptors.get(slot) ?? [])]

function drained(world: World): number[] {
  return world.effects.flatMap((effect) =>
    effect.do === 'order' && effect.order.type === 'drain' ? effect.worker : [],
  )
}

/** Lets everything happen up to the first thing of that kind that a worker is about to do. */
function upTo(world: World, worker: number, is: (event: Unstamped) => boolean): void {
  const isNext = (): boolean =>
    world.pending.some((one) => one.worker === worker && typeof one.event === 'object' && is(one.event))
  for (let n = 0; !isNext(); n++) {
    expect(n).toBeLessThan(1_000)
    if (world.pending.length > 0) world.happen(0)
    else expect(world.ring()).toBe(true)
  }
}

function rest(world: World): void {
  world.settle()
  while (world.ring()) world.settle()
}

describe('an undo', () => {
  /** Slot by slot: the second new worker dies in its bake, and the only old one that is left has not said yet that it accepts again. */
  function lastOldOneIsTold(): World {
    const conduct = (generation: number, slot: number): Conduct =>
      generation === 2 && slot === 1 ? 'dies-baking' : 'good'
    const world = new World({ strategy: 'rolling', bakeMs: 5_000 }, conduct).start()
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    upTo(world, 2, ({ type }) => type === 'acked' && world.state.run?.undo != null)
    expect(Object.values(world.state.workers).map(({ id, generation, slot }) => ({ id, generation, slot }))).toEqual([
      { id: 2, generation: 1, slot: 1 },
      { id: 3, generation: 2, slot: 0 },
    ])
    return world
  }

  test('of which the last old worker dies: the last new one accepts, from every socket, until an old one is there again', () => {
    const world = lastOldOneIsTold()
    world.crash(2)
    world.happen(world.pending.findIndex(({ worker }) => worker === 2))
    expect(drained(world)).not.toContain(3)
    expect([acceptors(world, 0), acceptors(world, 1)]).toEqual([[3], [3]])
    expect(world.verdicts.at(-1)?.verdict.result).toBe('undone')
    rest(world)
    expect(world.serving(1).sort()).toEqual([0, 1])
    expect(world.serving(2)).toEqual([])
    expect(world.alive.size).toBe(2)
    expect(world.state.retiring).toEqual([])
    expect(world.fault).toBe(null)
  })

  test('or which is as it should be: the new one leaves at once', () => {
    const world = lastOldOneIsTold()
    world.happen(world.pending.findIndex(({ worker }) => worker === 2))
    expect(drained(world)).toContain(3)
  })

  test('a stop, and a newer version, end what has stayed', () => {
    for (const end of ['stop', 'reload'] as const) {
      const world = lastOldOneIsTold()
      world.crash(2)
      world.happen(world.pending.findIndex(({ worker }) => worker === 2))
      world.conduct = () => 'good'
      if (end === 'stop') world.tell({ type: 'stop', pressure: 'drain', caller: null, exitCode: 0 })
      else world.tell({ type: 'reload', caller: 2, wait: 'baked' })
      rest(world)
      expect(world.alive.size).toBe(end === 'stop' ? 0 : 2)
      expect(world.serving(3).sort()).toEqual(end === 'stop' ? [] : [0, 1])
      expect(world.fault).toBe(null)
    }
  })

  test('a launcher that takes over in the middle of that does the same', () => {
    const world = lastOldOneIsTold()
    world.crash(2)
    expect(world.die({})).toBe(true)
    expect([acceptors(world, 0).length, acceptors(world, 1).length]).toEqual([1, 1])
    expect(drained(world)).toEqual([1])
    rest(world)
    expect(world.serving(1).sort()).toEqual([0, 1])
    expect(world.alive.size).toBe(2)
  })
})

test('who has not resumed in time is sent away when a sibling has been told to accept in place of it, not before', () => {
  const conduct = (generation: number, slot: number): Conduct =>
    generation === 2 ? 'dies-baking' : slot === 1 ? 'never-resumes' : 'good'
  const world = new World({ bakeMs: 5_000 }, conduct).start()
  world.tell({ type: 'reload', caller: 1, wait: 'baked' })
  rest(world)
  const orders = world.effects.flatMap((effect) =>
    effect.do === 'order' ? [{ worker: effect.worker, type: effect.order.type }] : [],
  )
  const adopted = orders.findIndex(({ worker, type }) => worker === 1 && type === 'adopt')
  expect(adopted).toBeGreaterThan(-1)
  expect(orders.slice(adopted)).toContainEqual({ worker: 2, type: 'drain' })
  expect(world.fault).toBe(null)
})
