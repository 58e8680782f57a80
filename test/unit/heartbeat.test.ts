import { describe, expect, test } from 'vitest'
import { type Beat, beatEveryMs, Heartbeat, lookEveryMs, WakingClock } from '../../src/launcher/heartbeat.js'

const turn = (): Promise<void> => new Promise((done) => setImmediate(done))

const PATIENCE = { timeoutMs: 2_000, killMs: 30_000 }
const BEAT_MS = beatEveryMs(PATIENCE.timeoutMs)
const LOOK_MS = lookEveryMs(PATIENCE.timeoutMs)

function watched(patience = PATIENCE): { heartbeat: Heartbeat; said: (Beat | 'ping')[] } {
  const said: (Beat | 'ping')[] = []
  const heartbeat = new Heartbeat(
    patience,
    () => said.push('ping'),
    (beat) => said.push(beat),
  )
  return { heartbeat, said }
}

/** Looks as rarely as it may. `beatAt`: the last beat by this time, of one that beats at all. Gives when it looked. */
async function watch(
  heartbeat: Heartbeat,
  { from = 0, to }: { from?: number; to: number },
  beatAt: (at: number) => number | null = () => null,
): Promise<number[]> {
  const looks: number[] = []
  let seen: number | null = null
  for (let at = from; at <= to; ) {
    looks.push(at)
    const beat = beatAt(at)
    heartbeat.look(at, beat === seen || beat === null ? null : at - beat)
    seen = beat
    await turn()
    at += Math.max(1, Math.min(LOOK_MS, heartbeat.patientMs))
  }
  return looks
}

/** Beats until it stands still. */
const until =
  (hangsAt: number) =>
  (at: number): number =>
    BEAT_MS * Math.floor(Math.min(at, hangsAt) / BEAT_MS)

describe('one that beats', () => {
  test('is looked at twice within the time-out, and is not asked', async () => {
    const { heartbeat, said } = watched()
    heartbeat.look(0, 3)
    const looks = await watch(heartbeat, { from: 50, to: 20_000 }, until(Number.POSITIVE_INFINITY))
    expect(looks).toHaveLength(20)
    expect(said).toEqual([])
  })

  test.each([0, 1, 124, 126, 517, 900, 999])(
    'is noticed within a beat of its time when it stops, %i ms after a look',
    async (after) => {
      const { heartbeat, said } = watched()
      const hangsAt = 5_000 + after
      const looks = await watch(heartbeat, { to: hangsAt + 3_000 }, until(hangsAt))
      expect(said).toEqual(['ping', { is: 'lost', ms: expect.any(Number) }])
      const told = looks.find((at) => at >= hangsAt + 2_000) as number
      expect(told).toBeLessThanOrEqual(hangsAt + 2_000 + BEAT_MS)
      expect((said[1] as { ms: number }).ms).toBe(2_000)
    },
  )

  test('is back with its next beat, or with its answer', async () => {
    const { heartbeat, said } = watched()
    await watch(heartbeat, { to: 9_000 }, until(5_000))
    heartbeat.look(9_500, 20)
    expect(said.slice(2)).toEqual([{ is: 'back' }])
    await watch(heartbeat, { from: 9_600, to: 14_000 })
    expect(said.slice(3)).toEqual(['ping', { is: 'lost', ms: 2_000 }])
    heartbeat.heard()
    expect(said.slice(5)).toEqual([{ is: 'back' }])
  })

  test('is noticed as soon when it has said something just before it stopped, and after the last look', async () => {
    let clock = 0
    const said: (Beat | 'ping')[] = []
    const heartbeat = new Heartbeat(
      PATIENCE,
      () => said.push('ping'),
      (beat) => said.push(beat),
      undefined,
      () => clock,
    )
    await watch(heartbeat, { to: 5_000 }, until(5_000))
    clock = 5_005
    heartbeat.heard()
    clock = 6_000
    const looks = await watch(heartbeat, { from: 6_000, to: 5_005 + BEAT_MS + PATIENCE.timeoutMs })
    expect(looks.at(-1)).toBe(5_005 + BEAT_MS + PATIENCE.timeoutMs)
    expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }])
  })

  test('has a clock that we do not believe: it beat after the last look, whatever it says', async () => {
    const { heartbeat, said } = watched()
    heartbeat.look(0, 1e12)
    heartbeat.look(1_000, 1e12)
    await turn()
    expect(heartbeat.patientMs).toBe(1_000 + BEAT_MS)
    expect(said).toEqual([])
  })
})

describe('one that has no pulse', () => {
  test('is asked at each look, and whoever answers is not told of', async () => {
    const { heartbeat, said } = watched()
    for (let at = 0; at < 10 * LOOK_MS; at += LOOK_MS) {
      heartbeat.look(at, null)
      await turn()
      heartbeat.heard()
    }
    expect(said).toEqual(Array(10).fill('ping'))
  })

  test('is told of once, with the length of its silence, and the end of that once', async () => {
    const { heartbeat, said } = watched()
    await watch(heartbeat, { to: 10_000 })
    expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }])
    expect(heartbeat.isLost).toBe(true)
    heartbeat.heard()
    heartbeat.heard()
    expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }, { is: 'back' }])
  })
})

test('a hang is told after the silence, once; never where nobody asks for it', async () => {
  const { heartbeat, said } = watched()
  await watch(heartbeat, { to: 40_000 })
  expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }, { is: 'hung', ms: 30_000 }])
  const patient = watched({ timeoutMs: 2_000, killMs: 0 })
  await watch(patient.heartbeat, { to: 40_000 })
  expect(patient.said).toEqual(['ping', { is: 'lost', ms: 2_000 }])
})

test('what it owes is owed to the next image of the launcher, too', async () => {
  const { heartbeat } = watched()
  await watch(heartbeat, { to: 6_000 }, until(5_000))
  const said: (Beat | 'ping')[] = []
  const saved = JSON.parse(JSON.stringify(heartbeat.save()))
  const tell = (beat: Beat): number => said.push(beat)
  const next = new Heartbeat(PATIENCE, () => said.push('ping'), tell, saved)
  next.look(0, null)
  expect(next.patientMs).toBe(1_000 + BEAT_MS)
  await watch(next, { from: 1, to: 3_000 })
  expect(said).toEqual(['ping', { is: 'lost', ms: 2_000 }])
})

test('an answer that waits in our own queue is read before anybody is judged (B-09, G-10)', async () => {
  const { heartbeat, said } = watched()
  heartbeat.look(0, null)
  heartbeat.look(60_000, null)
  heartbeat.heard()
  await turn()
  expect(said).toEqual(['ping'])
})

test('of whoever has gone nothing more is told: neither that it is silent, nor that it is back', async () => {
  const { heartbeat, said } = watched()
  heartbeat.look(0, null)
  heartbeat.look(2_000, null)
  heartbeat.end()
  await turn()
  expect(said).toEqual(['ping'])
  heartbeat.look(3_000, null)
  heartbeat.look(5_000, null)
  await turn()
  heartbeat.end()
  expect(said).toEqual(['ping', 'ping', { is: 'lost', ms: 2_000 }])
})

describe('the clock of the waking hours', () => {
  test('counts as the real one does while this process runs', () => {
    const clock = new WakingClock(5_000, 125)
    expect(clock.look(6_000, 1_000)).toBe(1_000)
    expect(clock.look(7_110, 1_000)).toBe(2_110)
  })

  test("a minute in which this process stood still is nobody's silence (B-09, K-12)", async () => {
    const { heartbeat, said } = watched()
    const clock = new WakingClock(0, BEAT_MS)
    heartbeat.look(clock.look(LOOK_MS, LOOK_MS), BEAT_MS - 1)
    // Both were frozen, so there is no beat; it comes when the worker has had its turn.
    heartbeat.look(clock.look(60_000, LOOK_MS), null)
    await turn()
    expect(said).toEqual(['ping'])
    expect(heartbeat.patientMs).toBeGreaterThan(6 * BEAT_MS)
    heartbeat.look(clock.look(60_000 + heartbeat.patientMs, heartbeat.patientMs), 5)
    await turn()
    expect(said).toEqual(['ping'])
  })
})

test('the loop of a worker says often enough that it turns to notice a hang within 6 % of its time', () => {
  expect(beatEveryMs(2_000)).toBe(125)
  expect(beatEveryMs(60_000)).toBe(1_000)
  expect(beatEveryMs(100)).toBe(10)
})
