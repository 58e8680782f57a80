import { describe, expect, it } from 'vitest'
import { type Conduct, World } from '../support/world.js'

const FOREIGN = { agent: false, ready: 'alive', migrate: false } as const

function start(settings: object = {}, conduct: (generation: number) => Conduct = () => 'good'): World {
  return new World({ ...FOREIGN, ...settings }, conduct).start()
}

const ordersTo = (world: World, worker: number): string[] =>
  world.effects.flatMap((effect) => (effect.do === 'order' && effect.worker === worker ? [effect.order.type] : []))

describe('a program without our agent', () => {
  it('is given listening sockets at once, and serves when it is ready', () => {
    const world = start()
    expect([...world.sockets.values()]).toEqual([true, true])
    expect(world.did('listen')).toEqual([])
    expect(world.serving(1)).toEqual([0, 1])
    expect(world.state.phase).toBe('running')
  })

  it('is told to stop when the new version has baked, and not before', () => {
    const world = start({ bakeMs: 5_000 })
    const [old] = Object.values(world.state.workers)
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    expect(world.state.run?.step).toBe('bake')
    expect(ordersTo(world, old?.id as number)).not.toContain('drain')
    // Both accept: the old one cannot be told not to.
    expect(world.acceptors.get(0)?.size).toBe(2)
    world.ring()
    expect(ordersTo(world, old?.id as number).at(-1)).toBe('drain')
    world.settle()
    expect(world.verdicts.at(-1)?.verdict.result).toBe('done')
    expect(world.acceptors.get(0)?.size).toBe(1)
  })

  it('goes on while a version that ends in the bake is given up', () => {
    const world = start({ bakeMs: 5_000 }, (generation) => (generation === 2 ? 'dies-baking' : 'good'))
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    expect(world.verdicts.at(-1)?.verdict).toMatchObject({ result: 'undone', from: 1 })
    expect(world.serving(1)).toEqual([0, 1])
    // What is left of the new one may have connections in hand.
    expect(world.did('kill')).toEqual([])
  })

  it('that is not ready in time may finish what it has accepted all the same', () => {
    const world = start({ bakeMs: 5_000 }, (generation) => (generation === 2 ? 'never-says' : 'good'))
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    world.settle()
    const young = Object.values(world.state.workers).filter(({ generation }) => generation === 2)
    world.ring()
    world.settle()
    for (const { id } of young) expect(ordersTo(world, id).at(-1)).toBe('drain')
    expect(world.did('kill')).toEqual([])
    expect(world.verdicts.at(-1)?.verdict).toMatchObject({
      result: 'aborted',
      reason: expect.stringContaining('it did not say that it is ready within 60000 ms'),
    })
  })

  it('leaves its queue to its successor when it dies, and new connections go elsewhere until then', () => {
    const world = start()
    world.crash(2)
    world.happen(0)
    expect(world.program).toEqual([1, 0])
    expect(world.did('close')).toEqual([])
    world.settle()
    expect(world.program).toBeNull()
    expect(world.serving(1)).toEqual([0, 1])
    const orders = world.effects.flatMap((effect) => (effect.do === 'order' ? [effect.order.type] : []))
    for (const type of ['adopt', 'spares', 'seat']) expect(orders).not.toContain(type)
  })

  it('has as many workers as at its start', () => {
    const world = start()
    world.tell({ type: 'scale', caller: 7, workers: 3, isRelative: false })
    expect(world.scaled.at(-1)?.verdict).toMatchObject({
      result: 'refused',
      reason: expect.stringContaining('--listen'),
    })
    expect(world.state.slots).toHaveLength(2)
  })

  it('is told to stop at the end', () => {
    const world = start()
    world.tell({ type: 'stop', caller: null, pressure: 'drain', exitCode: 0 })
    world.settle()
    expect(world.exitCode).toBe(0)
    expect(world.did('kill')).toEqual([])
  })
})

describe('a socket that was given to the launcher', () => {
  it('is one for all slots: neither adopted nor steered', () => {
    const world = new World({ given: ['tcp *:3000'] }).start()
    expect([...world.sockets.keys()]).toEqual(['0 tcp *:3000'])
    world.crash(2)
    world.settle()
    expect(world.serving(1)).toEqual([0, 1])
    expect(world.did('steer')).toEqual([])
    const orders = world.effects.flatMap((effect) => (effect.do === 'order' ? [effect.order.type] : []))
    expect(orders).not.toContain('adopt')
    world.tell({ type: 'scale', caller: 1, workers: 1, isRelative: false })
    world.settle()
    expect(world.scaled.at(-1)?.verdict).toMatchObject({ result: 'done', parked: [] })
    expect(world.did('close')).toEqual([])
  })
})
