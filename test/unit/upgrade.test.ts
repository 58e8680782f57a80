import { expect, test } from 'vitest'
import { World } from '../support/world.js'

const results = ({ upgraded }: World): string[] =>
  upgraded.map(({ callers, verdict }) => `${callers} ${verdict.result}`)

test('it waits for the reload that runs, and goes before one that waits', () => {
  const world = new World({ bakeMs: 5_000 }).start()
  world.tell({ type: 'reload', caller: 1, wait: 'baked' })
  world.tell({ type: 'upgrade', caller: 7, reload: false })
  world.tell({ type: 'reload', caller: 2, wait: 'baked' })
  world.settle()
  expect(world.did('upgrade')).toEqual([])
  // The bake passes: nothing of the second reload before the upgrade has ended.
  while (world.did('upgrade').length === 0) world.ring()
  expect([world.state.run, world.state.waiting?.length]).toEqual([null, 1])
  world.settle()
  expect(results(world)).toEqual(['7 done'])
  expect(world.state.run?.callers).toMatchObject([{ id: 2 }])
})

test('what is asked for while it goes on is one more, whoever asks; a reload comes in between (C-09)', () => {
  const world = new World().start()
  world.tell({ type: 'upgrade', caller: 1, reload: true })
  world.tell({ type: 'upgrade', caller: 2, reload: false })
  world.tell({ type: 'upgrade', caller: null, reload: true })
  world.tell({ type: 'upgrade', caller: 3, reload: false })
  world.settle()
  while (world.ring()) world.settle()
  expect(results(world)).toEqual(['1 done', '2,3 done'])
  const began = world.effects.flatMap((effect) =>
    effect.do === 'log' && /^(upgrade|reload)\.(started|done)$/.test(effect.event) ? effect.event : [],
  )
  expect(began).toEqual([
    ...['upgrade.started', 'upgrade.done', 'reload.started', 'reload.done'],
    ...['upgrade.started', 'upgrade.done', 'reload.started', 'reload.done'],
  ])
})

test('refused: nothing follows; whoever waits is told', () => {
  const world = new World().start()
  for (const caller of [1, 2, 3]) {
    world.tell({ type: 'upgrade', caller, reload: caller === 3 })
    world.settle()
  }
  expect(results(world)).toEqual(['1 done', '2 done', '3 refused'])
  expect([world.state.run, world.state.waiting, world.state.upgrade]).toEqual([null, null, null])
})

test('stop wins', () => {
  const world = new World().start()
  world.tell({ type: 'upgrade', caller: 1, reload: true })
  world.tell({ type: 'upgrade', caller: 2, reload: false })
  world.tell({ type: 'stop', caller: null, pressure: 'drain', exitCode: 0 })
  world.tell({ type: 'upgrade', caller: 3, reload: false })
  world.settle()
  while (world.exitCode === null && world.ring()) world.settle()
  expect(results(world)).toEqual(['1 stopped', '2 stopped', '3 stopped'])
  expect(world.exitCode).toBe(0)
})

test('before the first start is over it waits', () => {
  const world = new World()
  world.tell({ type: 'start' })
  world.tell({ type: 'upgrade', caller: 1, reload: false })
  expect(world.did('upgrade')).toEqual([])
  world.settle()
  expect(results(world)).toEqual(['1 done'])
})
