import { describe, expect, test } from 'vitest'
import { type Beat, Heartbeat, pingEveryMs, WakingClock } from '../../src/launcher/heartbeat.js'

const turn = (): Promise<void> => new Promise((done) => setImmediate(done))

const PATIENCE = { timeoutMs: 2_000, killMs: 30_000 }
const EVERY_MS = pingEveryMs(PATIENCE.timeoutMs, 2)

function watched(patience = PATIENCE): { heartbeat: Heartbeat; said: (Beat | 'ping')[] } {
  const said: (Beat | 'ping')[] = []
  const heartbeat = new Heartbeat(
    patience,
    () => said.push('ping'),
    (beat) => said.push(beat),
  )
  return { heartbeat, said }
}

async function pass(heartbeat: Heartbeat, ms: number): Promise<void> {
  for (let now = 0; now <= ms; now += EVERY_MS) {
    heartbeat.tick(now)
    await turn()
  }
}

test('whoever answers is asked again, and nothing is told', async () => {
  const { heartbeat, said } = watched()
  for (let now = 0; now < 10 * EVERY_MS; now += EVERY_MS) {
    heartbeat.tick(now)
    await turn()
    heartbeat.heard()
  }
  expect(said).toEqual(Array(10).fill('ping'))
})

test('silence is told once, with its length, and its end once', async () => {
  const { heartbeat, said } = watched()
  await pass(heartbeat, 10_000)
  expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }])
  expect(heartbeat.isLost).toBe(true)
  heartbeat.heard()
  heartbeat.heard()
  expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }, { is: 'back' }])
})

test('a hang is told after the silence, once; never where nobody asks for it', async () => {
  const { heartbeat, said } = watched()
  await pass(heartbeat, 40_000)
  expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }, { is: 'hung', ms: 30_000 }])
  const patient = watched({ timeoutMs: 2_000, killMs: 0 })
  await pass(patient.heartbeat, 40_000)
  expect(patient.said).toEqual(['ping', { is: 'lost', ms: 2_000 }])
})

test('an answer that waits in our own queue is read before anybody is judged (B-09, G-10)', async () => {
  const { heartbeat, said } = watched()
  heartbeat.tick(0)
  heartbeat.tick(60_000)
  heartbeat.heard()
  await turn()
  expect(said).toEqual(['ping'])
})

test('of whoever has gone nothing more is told: neither that it is silent, nor that it is back', async () => {
  const { heartbeat, said } = watched()
  heartbeat.tick(0)
  heartbeat.tick(2_000)
  heartbeat.end()
  await turn()
  expect(said).toEqual(['ping'])
  heartbeat.tick(3_000)
  heartbeat.tick(5_000)
  await turn()
  heartbeat.end()
  expect(said).toEqual(['ping', 'ping', { is: 'lost', ms: 2_000 }])
})

describe('the clock of the waking hours', () => {
  test('counts as the real one does while this process runs', () => {
    const clock = new WakingClock(5_000)
    expect(clock.look(5_125, 125)).toBe(125)
    expect(clock.look(5_260, 125)).toBe(260)
  })

  test("a minute in which this process stood still is nobody's silence (B-09, K-12)", async () => {
    const { heartbeat, said } = watched()
    const clock = new WakingClock(0)
    heartbeat.tick(clock.look(EVERY_MS, EVERY_MS))
    // Both were frozen, so no answer lies here; it comes when the worker has had its turn.
    heartbeat.tick(clock.look(60_000, EVERY_MS))
    await turn()
    heartbeat.heard()
    expect(said).toEqual(['ping'])
  })
})

test('questions come often enough to notice a hang within 200 ms of its time, and not so often as to be work', () => {
  expect(pingEveryMs(2_000, 4)).toBe(125)
  expect(pingEveryMs(60_000, 4)).toBe(1_000)
  expect(pingEveryMs(2_000, 1_024)).toBe(1_000)
})
