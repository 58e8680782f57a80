import { describe, expect, it } from 'vitest'
import { World } from '../support/world.js'

/** Worker ids: the first generation has 1 and 2, each further one the next two. */
const pairs = (world: World): [number, number][] => world.lanes.map(({ from, to }) => [from, to])

function reload(world: World): void {
  world.tell({ type: 'reload', caller: null, wait: 'baked' })
  world.settle()
}

/** The bake is over: the only timer that is due then. */
function bake(world: World): void {
  const id = [...world.timers.keys()].find((name) => name.startsWith('bake:')) as `bake:${number}`
  world.timers.delete(id)
  world.tell({ type: 'timer', id })
  world.settle()
}

describe('lanes', () => {
  it('lead from each old worker to the new one of its slot, when the bake has passed, and the count of the drain is in the verdict', () => {
    const world = new World({ bakeMs: 5_000 }).start()
    reload(world)
    expect(pairs(world)).toEqual([])
    bake(world)
    expect(pairs(world)).toEqual([
      [1, 3],
      [2, 4],
    ])
    expect(world.fault).toBeNull()
    const { verdict } = world.verdicts.at(-1) ?? {}
    expect(verdict?.workers.map(({ moved }) => moved)).toEqual([2, 2])
  })

  it('lead to the new ones in the bake already, where that is asked for', () => {
    const world = new World({ bakeMs: 5_000, bakeMigrate: true }).start()
    reload(world)
    const laid = [
      [1, 3],
      [2, 4],
    ]
    expect(pairs(world)).toEqual(laid)
    bake(world)
    expect(pairs(world)).toEqual(laid)
    expect(world.fault).toBeNull()
  })

  it('are not laid when migration is switched off, nor at a stop', () => {
    const off = new World({ migrate: false }).start()
    reload(off)
    expect(pairs(off)).toEqual([])
    const stopped = new World().start()
    stopped.tell({ type: 'stop', caller: null, pressure: 'drain', exitCode: 0 })
    stopped.settle()
    expect([pairs(stopped), stopped.exitCode]).toEqual([[], 0])
  })

  it('lead back to the old ones when a bake is undone', () => {
    const world = new World({ bakeMs: 5_000 }, (generation, slot) =>
      generation === 2 && slot === 0 ? 'dies-baking' : 'good',
    ).start()
    reload(world)
    expect(world.serving(1)).toEqual([0, 1])
    // Of the two new ones the second lives.
    expect(pairs(world)).toEqual([[4, 2]])
    expect(world.fault).toBeNull()
  })

  it('lead to a sibling when the worker of the slot is dead, and to the next one when a receiver dies', () => {
    const world = new World({}, (generation) => (generation === 1 ? 'never-drains' : 'good')).start()
    reload(world)
    expect(pairs(world)).toEqual([
      [1, 3],
      [2, 4],
    ])
    world.crash(3)
    world.happen(0)
    expect(pairs(world).slice(2)).toEqual([[1, 4]])
    world.settle()
    expect(pairs(world)).toHaveLength(3)
    expect(world.fault).toBeNull()
  })

  it('lead to no version that may still be undone, however long a worker has to wait for one', () => {
    const world = new World({ bakeMs: 5_000 }, (generation) => (generation === 1 ? 'never-drains' : 'good')).start()
    reload(world)
    bake(world)
    expect(pairs(world)).toEqual([
      [1, 3],
      [2, 4],
    ])
    reload(world)
    // Paused for the bake, both receivers take on what comes.
    expect(pairs(world)).toHaveLength(2)
    for (const worker of [3, 4]) world.crash(worker)
    world.settle()
    expect(world.state.run?.step).toBe('bake')
    expect(pairs(world)).toHaveLength(2)
    bake(world)
    expect(pairs(world).slice(2)).toEqual([
      [1, 5],
      [2, 6],
    ])
    expect(world.fault).toBeNull()
  })

  it('are laid anew when the receiver has to leave itself', () => {
    const world = new World({}, () => 'never-drains').start()
    reload(world)
    reload(world)
    expect(pairs(world).sort()).toEqual([
      [1, 3],
      [1, 5],
      [2, 4],
      [2, 6],
      [3, 5],
      [4, 6],
    ])
    expect(world.fault).toBeNull()
  })
})
