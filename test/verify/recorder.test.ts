import { expect, test } from 'vitest'
import type { Outcome } from '../../src/verify/load/outcome'
import { Recorder } from '../../src/verify/load/recorder'

const ok: Outcome = {
  bucket: 'ok',
  reason: null,
  status: 200,
  ms: 1,
  at: 0,
  localPort: 1,
  nth: 1,
  bytesSent: 1,
  bytesReceived: 1,
}
const recorder = (): Recorder =>
  new Recorder([
    { kind: 'a', connections: 1, ends: 'never' },
    { kind: 'b', connections: 1, ends: 'never' },
  ])

test('a status is held to the first one of the same request', () => {
  const it = recorder()
  it.outcome('a', 'GET /', { ...ok, status: 404 })
  it.outcome('b', 'GET /', { ...ok, status: 404 })
  it.outcome('a', 'GET /', ok)
  it.outcome('a', 'POST /', ok)
  expect(it.tallies().map(({ buckets }) => [buckets.ok, buckets['bad-status']])).toEqual([
    [2, 1],
    [1, 0],
  ])
  expect([it.requests, it.lost]).toEqual([4, 1])
})

test('a 5xx is lost even if it was the first', () => {
  const it = recorder()
  it.outcome('a', 'GET /', { ...ok, status: 503 })
  it.outcome('a', 'GET /', { ...ok, status: 503 })
  expect(it.tallies()[0]?.buckets).toMatchObject({ ok: 0, 'bad-status': 2 })
})

test('keeps the first incidents of each sort, counts all', () => {
  const it = recorder()
  for (let at = 0; at < 100; at++) it.outcome('a', 'GET /', { ...ok, bucket: 'refused', reason: 'ECONNREFUSED', at })
  it.outcome('a', 'GET /', { ...ok, bucket: 'truncated', reason: 'end of file', at: 100 })
  it.outcome('b', 'GET /', { ...ok, bucket: 'refused', reason: 'ECONNREFUSED', at: 101 })
  expect(it.lost).toBe(102)
  expect(it.incidents().map(({ at }) => at)).toEqual([0, 1, 2, 3, 100, 101])
})
