import { expect, test } from 'vitest'
import { World } from '../support/world.js'

/** Workers that are being asked, after all that was done. */
function asked(world: World): number[] {
  const watched = new Set<number>()
  for (const effect of world.effects) {
    if (effect.do === 'probe') watched.add(effect.worker)
    if (effect.do === 'unprobe') watched.delete(effect.worker)
  }
  return [...watched].sort((a, b) => a - b)
}

test('--liveness asks whoever serves, and nobody who drains', () => {
  const world = new World({ probes: true, liveness: true, bakeMs: 0 })
  world.start()
  const workers = (): number[] => Object.keys(world.state.workers).map(Number)
  const old = workers()
  expect(asked(world)).toEqual(old)
  world.tell({ type: 'reload', caller: null, wait: 'retired' })
  world.settle()
  const young = workers()
  expect(young.filter((worker) => old.includes(worker))).toEqual([])
  expect(asked(world)).toEqual(young)
})
