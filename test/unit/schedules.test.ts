import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Conduct, World } from '../support/world.js'

/*
 * Any schedule. Things that wait may happen in any order (but each worker's own in the order it did them: its channel is a queue), timers
 * may ring at any moment, and the operator does as he likes. After every single step the invariants must hold; when everything has come to
 * rest the service must be whole.
 */

const SLOTS = 3
type Move = { readonly do: 'happen' | 'ring' | 'reload' | 'crash' | 'stop'; readonly pick: number }

const moves = (crashes: boolean): fc.Arbitrary<Move[]> =>
  fc.array(
    fc.record({
      do: fc.oneof(
        { weight: 40, arbitrary: fc.constant('happen' as const) },
        { weight: 3, arbitrary: fc.constant('ring' as const) },
        { weight: 3, arbitrary: fc.constant('reload' as const) },
        { weight: crashes ? 3 : 0, arbitrary: fc.constant('crash' as const) },
      ),
      pick: fc.nat(1_000),
    }),
    { minLength: 1, maxLength: 150 },
  )

const conducts: readonly Conduct[] = [
  'good',
  'good',
  'exits',
  'never-listens',
  'never-admits',
  'dies-admitted',
  'never-pauses',
  'never-drains',
]
/** Those that must never become the working generation. */
const BAD: readonly Conduct[] = ['exits', 'never-listens', 'never-admits', 'dies-admitted']

function run(schedule: readonly Move[], kinds: readonly number[], crashes: boolean): World {
  const conduct = (generation: number): Conduct =>
    generation === 1 ? 'good' : (conducts[(kinds[generation % kinds.length] ?? 0) % conducts.length] as Conduct)
  const world = new World({ slots: SLOTS }, conduct).start()
  let caller = 0
  let term = world.state.term
  const check = (): void => {
    // Every socket of the service is held by the launcher, whatever happens.
    expect(world.sockets.size).toBe(SLOTS)
    if (!crashes)
      for (let slot = 0; slot < SLOTS; slot++)
        expect(world.acceptors.get(slot)?.size, `acceptors of slot ${slot}`).toBeGreaterThan(0)
    expect(BAD).not.toContain(conduct(world.state.working as number))
    expect(world.state.term).toBeGreaterThanOrEqual(term)
    term = world.state.term
  }
  for (const move of schedule) {
    if (move.do === 'happen' && world.pending.length > 0) {
      const heads = world.pending
        .map(({ worker }, index) => ({ worker, index }))
        .filter(({ worker }, index, all) => all.findIndex((other) => other.worker === worker) === index)
      world.happen(heads[move.pick % heads.length]?.index ?? 0)
    } else if (move.do === 'ring') world.ring()
    else if (move.do === 'reload')
      world.tell({ type: 'reload', caller: ++caller, wait: move.pick % 2 === 0 ? 'baked' : 'retired' })
    else if (move.do === 'crash') world.crash([...world.alive][move.pick % Math.max(1, world.alive.size)] ?? -1)
    check()
  }
  for (let n = 0; n < 1_000; n++) {
    world.settle()
    check()
    if (!world.ring()) break
  }
  expect(world.verdicts.flatMap((effect) => effect.callers).sort((a, b) => a - b)).toEqual(
    Array.from({ length: caller }, (_, i) => i + 1),
  )
  return world
}

/** What must be true when nothing is left to happen. */
function expectWhole(world: World): void {
  const { state } = world
  expect(state.run).toBeNull()
  expect(state.waiting).toBeNull()
  expect(state.retiring).toEqual([])
  expect(Object.keys(state.generations)).toEqual([String(state.working)])
  expect(world.serving(state.working as number)).toHaveLength(SLOTS)
  expect([...world.timers.keys()]).toEqual([])
  expect(Object.values(state.listeners).map((listener) => listener.adoptedBy)).toEqual([{}])
  for (let slot = 0; slot < SLOTS; slot++) expect([...(world.acceptors.get(slot) ?? [])]).toHaveLength(1)
}

describe('any schedule', () => {
  it('with bad versions alone: every slot has an acceptor after every step, and at rest the service is whole', () => {
    fc.assert(
      fc.property(moves(false), fc.array(fc.nat(7), { minLength: 1, maxLength: 6 }), (schedule, kinds) =>
        expectWhole(run(schedule, kinds, false)),
      ),
      { numRuns: 1_500 },
    )
  }, 120_000)

  it('with crashes too: no socket is ever lost, every caller is answered once, and at rest the service is whole', () => {
    fc.assert(
      fc.property(
        moves(true),
        fc.array(fc.constantFrom(0, 0, 2, 3, 5, 6), { minLength: 1, maxLength: 6 }),
        (schedule, kinds) => expectWhole(run(schedule, kinds, true)),
      ),
      { numRuns: 1_500 },
    )
  }, 120_000)
})
