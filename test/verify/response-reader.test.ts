import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ResponseReader } from '../../src/verify/load/response-reader'

/** A response as it goes over the wire, and what a reader must find in it. */
interface Sample {
  readonly wire: Buffer
  readonly status: number
  readonly body: number
  readonly keepsOpen: boolean
}

const crlf = (...lines: string[]): string => `${lines.join('\r\n')}\r\n\r\n`
const status = fc.constantFrom(200, 201, 304, 404, 503)
const bytes = fc.uint8Array({ maxLength: 300 })
const interim = fc.constantFrom('', crlf('HTTP/1.1 100 Continue'), crlf('HTTP/1.1 103 Early Hints', 'Link: </a.css>'))
const connection = fc.constantFrom(
  [],
  ['Connection: close'],
  ['connection:  Keep-Alive'],
  ['Connection: upgrade, CLOSE'],
)
const extra = fc.constantFrom([], ['X-Colon: a:b', 'Set-Cookie: a=b'], ['ETag:'])
const keeps = (headers: readonly string[]): boolean => !headers.some((header) => /close/i.test(header))

const fixed: fc.Arbitrary<Sample> = fc
  .record({ interim, status: status.filter((code) => code !== 304), body: bytes, connection, extra })
  .map(({ interim, status, body, connection, extra }) => ({
    wire: Buffer.concat([
      Buffer.from(interim + crlf(`HTTP/1.1 ${status} Fine`, ...extra, `Content-Length: ${body.length}`, ...connection)),
      body,
    ]),
    status,
    body: body.length,
    keepsOpen: keeps(connection),
  }))

const chunked: fc.Arbitrary<Sample> = fc
  .record({
    interim,
    status: status.filter((code) => code !== 304),
    chunks: fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 6 }),
    extension: fc.constantFrom('', ';a', ' ; a="b"'),
    trailer: fc.constantFrom('', 'X-Sum: 1\r\n'),
    connection,
  })
  .map(({ interim, status, chunks, extension, trailer, connection }) => ({
    wire: Buffer.concat([
      Buffer.from(interim + crlf(`HTTP/1.1 ${status}`, 'Transfer-Encoding: Chunked', ...connection)),
      ...chunks.flatMap((chunk) => [
        Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`),
        chunk,
        Buffer.from('\r\n'),
      ]),
      Buffer.from(`0${extension}\r\n${trailer}\r\n`),
    ]),
    status,
    body: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    keepsOpen: keeps(connection),
  }))

const bodiless: fc.Arbitrary<Sample> = fc
  .record({ status: fc.constantFrom(204, 304), length: fc.constantFrom([], ['Content-Length: 12']), connection })
  .map(({ status, length, connection }) => ({
    wire: Buffer.from(crlf(`HTTP/1.1 ${status} Nothing`, ...length, ...connection)),
    status,
    body: 0,
    keepsOpen: keeps(connection),
  }))

const delimited = fc.oneof(fixed, chunked, bodiless)

function cut(wire: Buffer, places: readonly number[]): Buffer[] {
  const points = [0, ...places.map((place) => place % (wire.length + 1)).sort((a, b) => a - b), wire.length]
  return points.slice(1).map((point, index) => wire.subarray(points[index], point))
}

function feed(reader: ResponseReader, pieces: readonly Buffer[]): number {
  let taken = 0
  for (const piece of pieces) taken += reader.push(piece)
  return taken
}

describe('a response that is delimited', () => {
  test('is read the same however it was cut', () => {
    fc.assert(
      fc.property(delimited, fc.array(fc.nat()), (sample, places) => {
        const reader = new ResponseReader()
        expect(feed(reader, cut(sample.wire, places))).toBe(sample.wire.length)
        expect(reader.problem).toBe(null)
        expect(reader.complete).toBe(true)
        expect(reader.end()).toBe('complete')
        expect(reader.status).toBe(sample.status)
        expect(reader.bodyBytes).toBe(sample.body)
        expect(reader.received).toBe(sample.wire.length)
        expect(reader.keepsOpen).toBe(sample.keepsOpen)
      }),
    )
  })

  test('leaves what follows it alone', () => {
    fc.assert(
      fc.property(
        delimited,
        fc.uint8Array({ minLength: 1, maxLength: 20 }),
        fc.array(fc.nat()),
        (sample, more, places) => {
          const reader = new ResponseReader()
          const wire = Buffer.concat([sample.wire, more])
          expect(feed(reader, cut(wire, places))).toBe(sample.wire.length)
          expect(reader.complete).toBe(true)
        },
      ),
    )
  })

  test('is truncated wherever it ends too early', () => {
    fc.assert(
      fc.property(delimited, fc.nat(), (sample, place) => {
        const length = place % sample.wire.length
        const reader = new ResponseReader()
        reader.push(sample.wire.subarray(0, length))
        expect(reader.complete).toBe(false)
        expect(reader.end()).toBe(length === 0 ? 'nothing' : 'truncated')
      }),
    )
  })
})

test('a response without a length ends with the connection', () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.nat()), fc.constantFrom('1.0', '1.1'), (body, places, version) => {
      const reader = new ResponseReader()
      const wire = Buffer.concat([Buffer.from(crlf(`HTTP/${version} 200 OK`, 'Server: old')), body])
      feed(reader, cut(wire, places))
      expect(reader.complete).toBe(false)
      expect(reader.keepsOpen).toBe(false)
      expect(reader.end()).toBe('complete')
      expect(reader.bodyBytes).toBe(body.length)
    }),
  )
})

test('whatever comes, the reader neither throws nor takes more than it was given', () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string().map((text) => Buffer.from(`HTTP/1.1 200 OK\r\n${text}\r\n\r\n`)),
  )
  fc.assert(
    fc.property(noise, fc.array(fc.nat()), (wire, places) => {
      const reader = new ResponseReader()
      expect(feed(reader, cut(Buffer.from(wire), places))).toBeLessThanOrEqual(wire.length)
      reader.end()
    }),
  )
})

test.each([
  ['not a status line', 'hello\r\n'],
  ['not a status line', 'HTTP/2 200\r\n'],
  ['not a status line', 'HTTP/1.1 20 OK\r\n'],
  ['does not end in CRLF', 'HTTP/1.1 200 OK\n'],
  ['not a header', 'HTTP/1.1 200 OK\r\nno colon\r\n'],
  ['not a header', 'HTTP/1.1 200 OK\r\nSpace : before\r\n'],
  ['not a header', 'HTTP/1.1 200 OK\r\n folded: line\r\n'],
  ['Content-Length is', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n'],
  ['Content-Length is', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n'],
  ['two Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n'],
  ['Transfer-Encoding is', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n'],
  ['both Content-Length and', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['101', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['not a chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
  ['not a chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n'],
  ['where a chunk should have ended', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n'],
  ['not a trailer', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n'],
  ['more than 64 KiB', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}`],
  ['more than 1000 lines', `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(1001)}`],
])('%s: %j', (problem, wire) => {
  const reader = new ResponseReader()
  reader.push(Buffer.from(wire))
  expect(reader.problem).toContain(problem)
  expect(reader.complete).toBe(false)
})

test('HTTP/1.0 keeps a connection open only when it says so', () => {
  const read = (...headers: string[]): boolean => {
    const reader = new ResponseReader()
    reader.push(Buffer.from(crlf('HTTP/1.0 200 OK', 'Content-Length: 0', ...headers)))
    return reader.keepsOpen
  }
  expect(read()).toBe(false)
  expect(read('Connection: keep-alive')).toBe(true)
})

test.each([
  ['timeout=5', 5000],
  ['timeout=72, max=1000', 72_000],
  ['max=3', null],
])('Keep-Alive: %s', (value, expected) => {
  const reader = new ResponseReader()
  reader.push(Buffer.from(crlf('HTTP/1.1 200 OK', 'Content-Length: 0', `Keep-Alive: ${value}`)))
  expect(reader.keepAliveTimeoutMs).toBe(expected)
})
