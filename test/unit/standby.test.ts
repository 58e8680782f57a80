import { describe, expect, test } from 'vitest'
import { NO_SLOT, type Worker } from '../../src/launcher/brain/state.js'
import { World } from '../support/world.js'

const spares = ({ state }: World): Worker[] => Object.values(state.workers).filter(({ slot }) => slot === NO_SLOT)

describe('a warm spare', () => {
  test('is started when every slot serves, is held and proven, and accepts nothing', () => {
    const world = new World({ standby: 1, probes: true }).start()
    expect(spares(world)).toMatchObject([{ generation: 1, state: 'ready', proof: 'proven' }])
    expect([...world.acceptors.values()].flatMap((set) => [...set]).sort()).toEqual([1, 2])
  })

  test('takes the slot of a worker that dies with two orders, and another one is started', () => {
    const world = new World({ slots: 1, standby: 1 }).start()
    const [spare] = spares(world)
    world.crash(1)
    const from = world.effects.length
    world.happen(0)
    const orders = world.effects.slice(from).flatMap((effect) => (effect.do === 'order' ? [effect] : []))
    expect(orders.map(({ worker, order }) => [worker, order.type])).toEqual([
      [spare?.id, 'seat'],
      [spare?.id, 'admit'],
    ])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([spare?.id])
    world.settle()
    expect(world.state.workers[spare?.id ?? 0]).toMatchObject({ slot: 0, state: 'serving' })
    expect(spares(world)).toMatchObject([{ state: 'ready' }])
  })

  test('any slot: it gets the sockets of that one', () => {
    const world = new World({ slots: 3, standby: 1 }).start()
    const [spare] = spares(world)
    world.crash(3)
    world.settle()
    expect([...(world.acceptors.get(2) ?? [])]).toEqual([spare?.id])
    expect(world.copies.get(spare?.id ?? 0)).toContain('own 2')
    expect(world.copies.get(spare?.id ?? 0)).not.toContain('own 0')
  })

  test('that cannot have the sockets of its slot leaves, and the slot is started anew', () => {
    const world = new World({ slots: 2, standby: 1 }).start()
    const [spare] = spares(world)
    world.refuses = (_worker, type) => type === 'seat'
    world.crash(2)
    world.happen(0)
    world.settle()
    expect(world.state.workers[spare?.id ?? 0]).toBeUndefined()
    expect(world.serving(1).sort()).toEqual([0, 1])
    const reasons = world.effects.flatMap((effect) =>
      effect.do === 'log' && effect.event === 'worker.exited' ? [effect.fields['reason']] : [],
    )
    expect(reasons).toContain('it could not take the slot: too many open files')
  })

  test('takes over from the only worker when that hangs', () => {
    const world = new World({ slots: 1, standby: 1 }).start()
    const [spare] = spares(world)
    world.freeze(1, true)
    world.happen(0)
    world.settle()
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([spare?.id])
  })

  test('of the old version is kept in the bake, for an undo, and ended after it', () => {
    const world = new World({ standby: 1, bakeMs: 5_000 }).start()
    const [old] = spares(world)
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    expect(world.state.run?.step).toBe('bake')
    expect(spares(world).map(({ id }) => id)).toEqual([old?.id])
    world.ring()
    world.settle()
    expect(spares(world)).toMatchObject([{ generation: 2, state: 'ready' }])
  })

  test('that cannot start is tried again later each time', () => {
    const world = new World({ standby: 1 }, (_generation, slot) => (slot === NO_SLOT ? 'exits' : 'good')).start()
    expect(world.state.standby.pausing).toBe(true)
    expect(world.timers.get(`respawn:${NO_SLOT}`)).toBe(1_000)
    world.ring()
    world.settle()
    expect(world.timers.get(`respawn:${NO_SLOT}`)).toBe(3_000)
    expect(world.serving(1).sort()).toEqual([0, 1])
  })
})
