import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Latencies } from '../../src/verify/load/latency'

test('percentiles are right to a little more than 1 %, the maximum is exact', () => {
  const samples = fc.array(fc.double({ min: 0.02, max: 20_000, noNaN: true }), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(samples, (values) => {
      const latencies = new Latencies()
      for (const value of values) latencies.add(value)
      const sorted = [...values].sort((a, b) => a - b)
      const at = (q: number): number => sorted[Math.ceil(sorted.length * q) - 1] as number
      const summary = latencies.summary()
      // Half a bucket of 2 %, and the rounding to a hundredth of a millisecond.
      const near = (value: number, exact: number): boolean => Math.abs(value - exact) <= exact * 0.011 + 0.006
      expect(near(summary?.p50 as number, at(0.5))).toBe(true)
      expect(near(summary?.p99 as number, at(0.99))).toBe(true)
      expect(summary?.max).toBe(Math.round((sorted.at(-1) as number) * 100) / 100)
    }),
  )
})

test('nothing measured is nothing', () => {
  expect(new Latencies().summary()).toBe(null)
})

test('a time too short to measure is no trouble', () => {
  const latencies = new Latencies()
  latencies.add(0)
  expect(latencies.summary()).toEqual({ p50: 0, p99: 0, max: 0 })
})
