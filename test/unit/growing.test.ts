import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Growing } from '../../src/launcher/metrics/growing'

test('whatever comes, goes and begins anew: a sum is all that was counted, and never falls', () => {
  const source = fc.constantFrom('1/0', '2/0', '3/0')
  const step = fc.oneof(
    fc.record({ do: fc.constant('count' as const), source, more: fc.nat(9) }),
    fc.record({ do: fc.constant('restart' as const), source }),
    fc.record({ do: fc.constant('gone' as const), source }),
    fc.record({ do: fc.constant('next launcher' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let growing = new Growing()
      const counts = new Map<string, number>()
      let all = 0
      for (const one of steps) {
        if (one.do === 'count') {
          // From 1 on: a source that has begun anew and stands where it stood cannot be told from one that waits.
          const now = (counts.get(one.source) ?? 0) + one.more + 1
          all += one.more + 1
          counts.set(one.source, now)
          growing.take(one.source, 'hits', now)
        } else if (one.do === 'restart') {
          if (counts.has(one.source)) growing.take(one.source, 'hits', 0)
          counts.set(one.source, 0)
        } else if (one.do === 'gone') {
          counts.delete(one.source)
          growing.keep((there) => counts.has(there))
        } else growing = new Growing(JSON.parse(JSON.stringify(growing.save())))
        expect(growing.sums().get('hits') ?? 0).toBe(all)
      }
    }),
  )
})

test('series are apart, and so are sources', () => {
  const growing = new Growing()
  growing.take('1', 'a', 3)
  growing.take('1', 'b', 1)
  growing.take('2', 'a', 4)
  growing.keep((source) => source === '2')
  growing.take('2', 'a', 5)
  expect([...growing.sums()]).toEqual([
    ['a', 8],
    ['b', 1],
  ])
})
