import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BUCKETS, type Bucket, bucketOfConnectError, bucketOfRequestError } from '../../src/verify/load/buckets'
import { Connection } from '../../src/verify/load/connection'
import { type Met, meet, misbehaving } from './support'

/** Every bucket but those named is empty. */
function expectOnly({ tally }: Met, counts: Partial<Record<Bucket, number>>): void {
  expect(Object.fromEntries(BUCKETS.map((bucket) => [bucket, tally.buckets[bucket]]))).toEqual({
    ...Object.fromEntries(BUCKETS.map((bucket) => [bucket, 0])),
    ...counts,
  })
}

/** Of the longest think time (which is cut short at the end of the load): long enough for what the servers do to idle connections. */
const brief = { random: () => 0.05 }

describe.each(['new connection', 'keep-alive', 'slow read'])('a client of the kind "%s"', (kind) => {
  test.each<[string, Bucket, string]>([
    ['refuses', 'refused', 'ECONNREFUSED'],
    ['resets-after-request', 'reset-after-request', 'ECONNRESET'],
    ['closes-before-response', 'closed-before-response', 'end of file'],
    ['truncates-body', 'truncated', 'end of file'],
    ['truncates-chunked-body', 'truncated', 'end of file'],
    ['sends-no-http', 'bad-body', 'not a status line'],
  ])('meets a server that %s: %s', async (fixture, bucket, reason) => {
    const met = await meet(await misbehaving(fixture), kind, 3)
    expectOnly(met, { [bucket]: 3 })
    expect(met.incidents[0]).toMatchObject({ kind, request: 'GET /', bucket })
    expect(met.incidents[0]?.reason).toContain(reason)
    expect(met.tally.latencyMs).toBe(null)
    expect(met.tally.connects).toBe(bucket === 'refused' ? 0 : 3)
  })

  test('meets a server that resets-in-the-body', async () => {
    const { tally } = await meet(await misbehaving('resets-in-the-body'), kind, 3)
    // libuv calls a reset that comes together with data an end of file (its short cut for POLLHUP), so either is right here.
    expect(tally.buckets['reset-after-request'] + tally.buckets.truncated).toBe(3)
  })

  test('does not wait for ever', async () => {
    const met = await meet(await misbehaving('never-answers'), kind, 2, { responseTimeoutMs: 100 })
    expectOnly(met, { 'response-timeout': 2 })
  })
})

test('bytes after the end of a response', async () => {
  expectOnly(await meet(await misbehaving('sends-too-much'), 'keep-alive', 3), { 'bad-body': 3 })
})

test('a reset while the client is still connecting', async () => {
  const target = await misbehaving('resets-at-accept')
  const opening = Connection.open({ target, connectTimeoutMs: 5000, slowRead: null, onIdleEvent: () => undefined })
  // Node calls connect(2) in the next tick.
  await new Promise<void>((resolve) => process.nextTick(resolve))
  // As a client whose event loop is busy: when it looks, the connection has come and gone.
  const port = target.port.toString(16).toUpperCase().padStart(4, '0')
  const connected = new RegExp(`^ *\\d+: [0-9A-F]+:[0-9A-F]{4} [0-9A-F]+:${port} `, 'm')
  while (connected.test(readFileSync('/proc/self/net/tcp', 'latin1'))) {}
  expect(await opening).toMatchObject({ bucket: 'reset-connecting' })
})

test('a queue that is full', async () => {
  const target = await misbehaving('never-accepts')
  const options = { target, connectTimeoutMs: 200, slowRead: null, onIdleEvent: () => undefined }
  // A backlog of 1 holds two connections; the kernel drops what comes after.
  const outcomes = await Promise.all(Array.from({ length: 6 }, () => Connection.open(options)))
  const connections = outcomes.filter((outcome) => outcome instanceof Connection)
  const lost = outcomes.flatMap((outcome) => (outcome instanceof Connection ? [] : [outcome]))
  expect(lost.length).toBeGreaterThan(0)
  expect(new Set(lost.map(({ bucket }) => bucket))).toEqual(new Set(['connect-timeout']))
  for (const connection of connections) void connection.finish()
})

test.each([
  ['503 Service Unavailable', 'status 503, the first was 200'],
  ['404 Not Found', 'status 404, the first was 200'],
])('a server whose answers become %s', async (status, reason) => {
  const met = await meet(await misbehaving('gets-worse', status), 'keep-alive', 4)
  expectOnly(met, { ok: 2, 'bad-status': 2 })
  expect(met.incidents[0]?.reason).toBe(reason)
  expect(met.tally.connects).toBe(1)
})

describe('what is not lost, but counted', () => {
  test('connections that are closed while idle', async () => {
    const met = await meet(await misbehaving('closes-idle-connections'), 'keep-alive, think 5 s', 4, brief)
    expectOnly(met, { ok: 4 })
    expect(met.tally).toMatchObject({ connects: 3, idleClosed: 2, endedPolitely: 0, unaskedBytes: 0 })
    expect(met.incidents[0]).toMatchObject({ bucket: 'idle-closed', reason: 'end of file', nth: 1 })
  })

  test('a 408 on an idle connection is such a close', async () => {
    const met = await meet(await misbehaving('times-idle-connections-out'), 'keep-alive, think 5 s', 3, brief)
    expectOnly(met, { ok: 3 })
    expect(met.tally).toMatchObject({ idleClosed: 1, unaskedBytes: 0 })
  })

  test('connections that the server ends politely', async () => {
    const met = await meet(await misbehaving('closes-politely'), 'keep-alive', 3)
    expectOnly(met, { ok: 3 })
    expect(met.tally).toMatchObject({ connects: 3, idleClosed: 0, endedPolitely: 3 })
    expect(met.incidents[0]).toMatchObject({ bucket: 'ended-politely', reason: 'Connection: close', nth: 1 })
  })

  test('a client that asks for the close does not count it', async () => {
    const met = await meet(await misbehaving('closes-politely'), 'new connection', 3)
    expectOnly(met, { ok: 3 })
    expect(met.tally).toMatchObject({ connects: 3, idleClosed: 0, endedPolitely: 0 })
  })
})

test('an answer that nobody asked for', async () => {
  const met = await meet(await misbehaving('answers-twice'), 'keep-alive, think 5 s', 3, brief)
  expect(met.tally).toMatchObject({ unaskedBytes: 1, idleClosed: 0 })
  expect(met.incidents[0]).toMatchObject({ bucket: 'unasked-bytes' })
})

describe('an upload', () => {
  test('that is answered early is ok, and its connection is used again', async () => {
    const met = await meet(await misbehaving('answers-uploads-early'), 'slow upload', 2)
    expectOnly(met, { ok: 2 })
    expect(met.tally).toMatchObject({ connects: 1, idleClosed: 0, endedPolitely: 0 })
  })

  test('that is answered early with a polite end is ok, and is not sent to its end', async () => {
    const met = await meet(await misbehaving('answers-uploads-early-and-closes'), 'slow upload', 2)
    expectOnly(met, { ok: 2 })
    expect(met.tally).toMatchObject({ connects: 2, endedPolitely: 2 })
  })

  test.each<[string, Bucket]>([
    ['resets-after-request', 'reset-after-request'],
    ['closes-before-response', 'closed-before-response'],
    ['truncates-body', 'truncated'],
  ])('to a server that %s', async (fixture, bucket) => {
    expectOnly(await meet(await misbehaving(fixture), 'slow upload', 2), { [bucket]: 2 })
  })
})

test('error codes of the kernel', () => {
  expect(bucketOfConnectError('ETIMEDOUT')).toBe('connect-timeout')
  expect(bucketOfConnectError('EADDRNOTAVAIL')).toBe('client-error')
  expect(bucketOfRequestError('EPIPE', false)).toBe('closed-before-response')
  expect(bucketOfRequestError('EPIPE', true)).toBe('truncated')
  expect(bucketOfRequestError('ETIMEDOUT', true)).toBe('response-timeout')
  expect(bucketOfRequestError('EMFILE', false)).toBe('client-error')
})
