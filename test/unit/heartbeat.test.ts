import { expect, test } from 'vitest'
import { Heartbeat, LOST_AFTER_MS, PING_EVERY_MS } from '../../src/launcher/heartbeat.js'

const turn = (): Promise<void> => new Promise((done) => setImmediate(done))

function watched(): { heartbeat: Heartbeat; said: (number | null | 'ping')[] } {
  const said: (number | null | 'ping')[] = []
  const heartbeat = new Heartbeat(
    () => said.push('ping'),
    (lostMs) => said.push(lostMs),
  )
  return { heartbeat, said }
}

test('whoever answers is asked again, and nothing is told', async () => {
  const { heartbeat, said } = watched()
  for (let now = 0; now < 10 * PING_EVERY_MS; now += PING_EVERY_MS) {
    heartbeat.tick(now)
    await turn()
    heartbeat.heard()
  }
  expect(said).toEqual(Array(10).fill('ping'))
})

test('silence is told once, with its length, and its end once', async () => {
  const { heartbeat, said } = watched()
  for (let now = 0; now <= 10 * PING_EVERY_MS; now += PING_EVERY_MS) {
    heartbeat.tick(now)
    await turn()
  }
  expect(said).toEqual(['ping', LOST_AFTER_MS])
  expect(heartbeat.isLost).toBe(true)
  heartbeat.heard()
  heartbeat.heard()
  expect(said).toEqual(['ping', LOST_AFTER_MS, null])
})

test('an answer that waits in our own queue is read before anybody is judged', async () => {
  const { heartbeat, said } = watched()
  heartbeat.tick(0)
  // We were stopped for a minute; the answer came long ago.
  heartbeat.tick(60_000)
  heartbeat.heard()
  await turn()
  expect(said).toEqual(['ping'])
})

test('whoever has gone is not lost', async () => {
  const { heartbeat, said } = watched()
  heartbeat.tick(0)
  heartbeat.tick(LOST_AFTER_MS)
  await turn()
  heartbeat.stop()
  heartbeat.stop()
  expect(said).toEqual(['ping', LOST_AFTER_MS, null])
})
