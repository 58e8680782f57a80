import { describe, expect, test } from 'vitest'
import type { LogFields } from '../../src/launcher/brain/events.js'
import { World } from '../support/world.js'

function logged(world: World, event: string): LogFields[] {
  return world.effects.flatMap((effect) => (effect.do === 'log' && effect.event === event ? [effect.fields] : []))
}

/** Lets the world know of the first thing that waits: the silence, or its end. */
const next = (world: World): void => world.happen(0)

describe('a worker whose event loop stands still', () => {
  test('is not killed: a sibling accepts for it until it turns again', () => {
    const world = new World().start()
    world.freeze(1, false)
    next(world)
    expect(logged(world, 'worker.stuck')).toMatchObject([{ slot: 0, ms: 2_000, doing: 'it is stopped (SIGSTOP)' }])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([2])
    world.settle()
    expect(logged(world, 'worker.back')).toMatchObject([{ slot: 0 }])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([1])
    expect(world.did('kill')).toEqual([])
  })

  test('is killed and started again when it hangs for long', () => {
    const world = new World().start()
    world.freeze(1, true)
    next(world)
    world.settle()
    expect(logged(world, 'worker.hung')).toMatchObject([
      { slot: 0, reason: 'its event loop has not turned for 30000 ms: it is stopped (SIGSTOP)' },
    ])
    expect(logged(world, 'worker.exited')).toMatchObject([{ slot: 0, reason: /not turned for 30000 ms/ }])
    expect(world.serving(1).sort()).toEqual([0, 1])
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([3])
  })

  test('a sibling that cannot adopt is passed over for a while, and nobody is taken for one who has', () => {
    const world = new World({ slots: 3 }).start()
    world.refuses = (worker, type) => type === 'adopt' && worker !== 3
    world.crash(2)
    next(world)
    world.happen(world.pending.findIndex(({ event }) => typeof event === 'object' && event.type === 'refused'))
    expect([...(world.acceptors.get(1) ?? [])]).toEqual([3])
    expect(Object.values(world.state.listeners)[0]?.adoptedBy).toEqual({ 1: 3 })
    world.settle()
    expect(world.serving(1).sort()).toEqual([0, 1, 2])
    while (world.ring()) world.settle()
    expect(Object.values(world.state.workers).map(({ isFull }) => isFull)).toEqual([false, false, false])
  })

  test('if nobody else is there, it is asked again', () => {
    const world = new World().start()
    let isFull = true
    world.refuses = (_worker, type) => type === 'adopt' && isFull
    world.freeze(1, false)
    next(world)
    const back = world.pending.splice(0, 1)
    world.settle()
    expect(world.acceptors.get(0)?.size).toBe(0)
    expect(Object.values(world.state.listeners)[0]?.adoptedBy).toEqual({})
    isFull = false
    world.ring()
    world.settle()
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([2])
    world.pending.push(...back)
    world.settle()
    expect([...(world.acceptors.get(0) ?? [])]).toEqual([1])
  })

  test('the last one that is left is waited for, and killed once another is well', () => {
    const world = new World().start()
    world.freeze(1, true)
    world.freeze(2, true)
    const isOf = (worker: number, type: string) => (one: World['pending'][number]) =>
      one.worker === worker && typeof one.event === 'object' && one.event.type === type
    const tell = (worker: number, type: string): void => world.happen(world.pending.findIndex(isOf(worker, type)))
    for (const type of ['heartbeat-lost', 'hung']) for (const worker of [1, 2]) tell(worker, type)
    expect(world.did('kill')).toEqual([])
    tell(2, 'heartbeat-back')
    expect(world.did('kill')).toEqual([{ do: 'kill', worker: 1 }])
  })
})
