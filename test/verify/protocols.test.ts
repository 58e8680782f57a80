import { describe, expect, test } from 'vitest'
import { BUCKETS, type Bucket } from '../../src/verify/load/buckets'
import type { Outcome } from '../../src/verify/load/outcome'
import type { Tally } from '../../src/verify/load/recorder'
import { type Met, meet, misbehaving } from './support'

/** What is not zero of what was counted. */
function counted({ tally }: Met): Partial<Record<Bucket, number>> {
  return Object.fromEntries(
    BUCKETS.filter((bucket) => tally.buckets[bucket] > 0).map((bucket) => [bucket, tally.buckets[bucket]]),
  )
}

type Expected = [behaviour: string, buckets: Partial<Record<Bucket, number>>, tally: Partial<Tally>]
const soon = { responseTimeoutMs: 300, random: (): number => 0.2 }

describe('a pipeline meets a server that', () => {
  test.each<Expected>([
    ['answers', { ok: 8 }, { connects: 1, endedPolitely: 0 }],
    ['swaps-two', { ok: 2, 'bad-body': 6 }, { connects: 2 }],
    ['loses-the-last', { ok: 6, 'closed-before-response': 2 }, { connects: 2 }],
    ['goes-on-after-close', { ok: 2, 'bad-body': 6 }, { connects: 2 }],
  ])('%s', async (behaviour, buckets, tally) => {
    const met = await meet(await misbehaving('pipelines', behaviour), 'pipelining', 2, {}, { asks: true })
    expect(counted(met)).toEqual(buckets)
    expect(met.tally).toMatchObject(tally)
  })

  test('swaps-two, which only a server that sends the identities back can be told of', async () => {
    const met = await meet(await misbehaving('pipelines', 'swaps-two'), 'pipelining', 2)
    expect(counted(met)).toEqual({ ok: 8 })
  })

  test('says-close-in-the-middle: what is behind was not processed, and is asked for again', async () => {
    const target = await misbehaving('pipelines', 'says-close-in-the-middle')
    const met = await meet(target, 'pipelining', 2, soon, { asks: true })
    expect(counted(met)).toEqual({ ok: 4, retried: 4 })
    expect(met.tally).toMatchObject({ ends: 'never', endedPolitely: 2, reconnects: 1 })
  })
})

test('a slow head meets a server that has no time', async () => {
  const met = await meet(await misbehaving('times-heads-out'), 'slow head', 2)
  expect(counted(met)).toEqual({ 'closed-before-response': 2 })
})

describe('a WebSocket meets a server that', () => {
  test.each<Expected>([
    // Handshake, message, crossed message; handshake, that message again; handshake, …
    ['asks-to-come-back', { ok: 4, retried: 2 }, { connects: 3, reconnects: 2, endedPolitely: 2 }],
    ['says-that-it-goes', { ok: 4, 'closed-before-response': 2 }, { connects: 2, endedPolitely: 0 }],
    ['closes-without-a-code', { ok: 4, 'closed-before-response': 2 }, { connects: 2, endedPolitely: 0 }],
    ['ends-without-a-close-frame', { ok: 4, 'closed-before-response': 2 }, { connects: 2 }],
    ['resets', { ok: 4, 'reset-after-request': 2 }, { connects: 2 }],
    ['breaks-the-framing', { ok: 4, 'closed-before-response': 2 }, { connects: 2 }],
    ['does-not-echo', { ok: 4, 'response-timeout': 2 }, { connects: 2 }],
    ['ends-when-idle', { ok: 6, 'unclean-end': 1 }, { connects: 2 }],
  ])('%s', async (behaviour, buckets, tally) => {
    const met = await meet(await misbehaving('websockets', behaviour), 'WebSocket', 4, soon)
    expect(counted(met)).toEqual(buckets)
    expect(met.tally).toMatchObject(tally)
  })

  test('answers pings, whatever it does with messages', async () => {
    const met = await meet(await misbehaving('websockets', 'does-not-echo'), 'WebSocket', 4, soon, { echoes: false })
    expect(counted(met)).toEqual({ ok: 5 })
  })

  test('ignores-pings', async () => {
    const met = await meet(await misbehaving('websockets', 'ignores-pings'), 'WebSocket', 2, soon, { echoes: false })
    expect(counted(met)).toEqual({ ok: 2, 'response-timeout': 2 })
  })

  test('refuses-upgrades', async () => {
    const met = await meet(await misbehaving('websockets', 'refuses-upgrades'), 'WebSocket', 2, soon)
    expect(counted(met)).toEqual({ 'bad-status': 2 })
  })
})

describe('an event stream meets a server that', () => {
  test.each<Expected>([
    ['ends', { ok: 3 }, { connects: 3, reconnects: 2, endedPolitely: 2 }],
    ['cuts', { truncated: 2, ok: 1 }, { connects: 3 }],
    ['forgets-an-event', { ok: 3, 'lost-event': 2 }, { connects: 3 }],
    ['says-204', { 'bad-status': 5 }, {}],
  ])('%s', async (behaviour, buckets, tally) => {
    const met = await meet(await misbehaving('event-streams', behaviour), 'event stream', 6, soon, {
      asks: behaviour === 'forgets-an-event',
    })
    expect(counted(met)).toEqual(buckets)
    expect(met.tally).toMatchObject(tally)
  })

  test('resets', async () => {
    const { tally } = await meet(await misbehaving('event-streams', 'resets'), 'event stream', 4, soon)
    // libuv calls a reset that comes together with data an end of file.
    expect(tally.buckets['reset-after-request'] + tally.buckets.truncated).toBeGreaterThan(0)
  })

  test('stays: the client ends it', async () => {
    const met = await meet(await misbehaving('event-streams', 'stays'), 'event stream', 2, soon)
    expect(counted(met)).toEqual({ ok: 1 })
    expect(met.tally).toMatchObject({ connects: 1, endedPolitely: 0 })
  })
})

describe('HTTP/2 meets a server that', () => {
  test.each<Expected>([
    ['refuses-the-stream', { ok: 1, 'closed-before-response': 1 }, { connects: 1 }],
    ['cancels-the-stream', { ok: 1, 'closed-before-response': 1 }, { connects: 1 }],
    ['says-goaway', { ok: 1, retried: 1 }, { connects: 2, reconnects: 1, endedPolitely: 1 }],
    ['ends-without-goaway', { ok: 1, 'closed-before-response': 1 }, { connects: 1 }],
    ['cuts-the-body', { ok: 1, truncated: 1 }, { connects: 1 }],
    ['answers-500', { ok: 1, 'bad-status': 1 }, { connects: 1 }],
  ])('%s', async (behaviour, buckets, tally) => {
    const target = { ...(await misbehaving('http2-servers', behaviour)), tls: true }
    const think = { ...soon, random: (): number => 0.02 }
    const met = await meet(target, 'HTTP/2, think 5 s', 2, think, { protocol: 'http2' })
    expect(counted(met)).toEqual(buckets)
    expect(met.tally).toMatchObject(tally)
  })
})

test('HTTP/2 meets a server that ends a connection while it is idle', async () => {
  const target = { ...(await misbehaving('http2-servers', 'ends-when-idle')), tls: true }
  const think = { random: (): number => 0.02 }
  const met = await meet(target, 'HTTP/2, think 5 s', 3, think, { protocol: 'http2' })
  expect(counted(met)).toEqual({ ok: 3, 'unclean-end': 1 })
  expect(met.tally).toMatchObject({ connects: 2, endedPolitely: 0 })
})

describe('HTTPS meets a server that', () => {
  test.each<Expected>([
    ['closes-politely', { ok: 2 }, { connects: 1, endedPolitely: 1 }],
    ['closes-before-response', { ok: 1, 'closed-before-response': 1 }, { connects: 1 }],
    ['truncates-body', { ok: 1, truncated: 1 }, { connects: 1 }],
  ])('%s', async (behaviour, buckets, tally) => {
    const target = { ...(await misbehaving('https-servers', behaviour)), tls: true }
    const met = await meet(target, 'https, keep-alive', 2, soon, { protocol: 'https' })
    expect(counted(met)).toEqual(buckets)
    expect(met.tally).toMatchObject(tally)
  })
})

test('an outcome that is retried is no incident', async () => {
  const { Recorder } = await import('../../src/verify/load/recorder')
  const recorder = new Recorder([{ kind: 'a', connections: 1, ends: 'politely' }])
  const outcome: Outcome = {
    ...{ bucket: 'retried', reason: 'refused', status: 200, ms: 1, at: 0 },
    ...{ localPort: 1, nth: 1, bytesSent: 0, bytesReceived: 0 },
  }
  recorder.outcome('a', 'GET /', outcome)
  expect([recorder.requests, recorder.lost, recorder.incidents()]).toEqual([1, 0, []])
})
