import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Answer } from '../../src/launcher/probe/answer.js'
import { Prober } from '../../src/launcher/probe/prober.js'
import { HEALTH_DEFAULTS, type HealthOptions } from '../../src/options.js'

/** Attempts that answer what the test says next; time is the test's. */
class Scene {
  readonly told: (readonly [worker: number, passed: boolean, reason: string | null, attempts: number])[] = []
  readonly prober: Prober
  /** Times at which an attempt began, by worker. */
  readonly begun: [worker: number, at: number][] = []
  stopped = 0
  running = 0
  answers: (Answer | 'silence')[] = []

  constructor(health: Partial<HealthOptions> = {}) {
    this.prober = new Prober({
      healthOf: () => ({ ...HEALTH_DEFAULTS, kind: 'http', target: '/', intervalMs: 100, ...health }),
      bakeMs: () => 1_000,
      tryOn: (worker) => (done) => {
        this.begun.push([worker, performance.now()])
        this.running++
        const answer = this.answers.shift() ?? null
        const timer = setTimeout(() => {
          this.running--
          done(answer as Answer)
        }, 10)
        if (answer === 'silence') clearTimeout(timer)
        return {
          stop: () => {
            clearTimeout(timer)
            this.running--
            this.stopped++
          },
        }
      },
      post: ({ worker, passed, reason, attempts }) => this.told.push([worker, passed, reason, attempts]),
    })
  }

  times(worker: number): number[] {
    const mine = this.begun.filter(([one]) => one === worker).map(([, at]) => at)
    return mine.slice(1).map((at, index) => at - (mine[index] as number))
  }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

test('a candidate has proven itself after enough successes in a row, and every failure before is told (E-01)', async () => {
  const scene = new Scene({ successes: 3 })
  scene.answers = [null, null, 'ill', null, 'worse', null, null, null]
  scene.prober.start(7, 'prove')
  await vi.advanceTimersByTimeAsync(5_000)
  expect(scene.told).toEqual([
    [7, false, 'ill', 3],
    [7, false, 'worse', 5],
    [7, true, null, 8],
  ])
  expect(scene.times(7)).toEqual(Array(7).fill(110))
})

test('whoever serves fails after enough failures in a row, and again after as many (E-02)', async () => {
  const scene = new Scene({ failures: 2 })
  scene.answers = ['a', null, 'b', 'c', 'd', 'e', null, 'f', null]
  scene.prober.start(7, 'watch')
  await vi.advanceTimersByTimeAsync(950)
  expect(scene.told).toEqual([
    [7, false, 'c', 4],
    [7, false, 'e', 6],
  ])
  scene.prober.stop(7)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(scene.begun).toHaveLength(9)
})

test('after the bake whoever serves is asked as often as --liveness says', async () => {
  const scene = new Scene({ livenessMs: 500 })
  scene.prober.start(7, 'watch')
  await vi.advanceTimersByTimeAsync(3_000)
  expect(scene.times(7)).toEqual([...Array(9).fill(110), ...Array(3).fill(510)])
  scene.prober.close()
})

test('a series that is stopped, or replaced, ends its attempt; others go on', async () => {
  const scene = new Scene({ successes: 1 })
  scene.answers = ['silence', 'silence', 'silence', null]
  scene.prober.start(1, 'prove')
  scene.prober.start(2, 'prove')
  scene.prober.start(1, 'watch')
  expect(scene.stopped).toBe(1)
  scene.prober.stop(1)
  scene.prober.stop(1)
  expect(scene.stopped).toBe(2)
  expect(scene.running).toBe(1)
  scene.prober.start(3, 'prove')
  await vi.advanceTimersByTimeAsync(100)
  expect(scene.told).toEqual([[3, true, null, 1]])
  scene.prober.close()
  expect(scene.running).toBe(0)
})
