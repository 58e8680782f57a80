import { Socket } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Hand } from '../../src/launcher/probe/attempt.js'
import type { Speaks } from '../../src/protocol.js'
import { openFiles, sameFilesAs } from '../native/support/open-files.js'
import { native } from '../support/worker/addon.js'
import { attempt, healthOf } from '../support/worker/probing.js'

/** Beginnings of what each kind of server says: what follows is read by more of the client. */
const BEGINNINGS = {
  http: ['', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'HTTP/1.1 101 X\r\n\r\n'],
  // An empty SETTINGS frame, then the head of HEADERS, GOAWAY and RST_STREAM frames (RFC 9113 §6).
  h2c: [
    '',
    '\0\0\0\x04\0\0\0\0\0',
    '\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x04\0\0\0\x01',
    '\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0',
  ],
  // The head of a handshake record and of an alert (RFC 8446 §5.1).
  https: ['', '\x16\x03\x03\0\x20', '\x15\x03\x03\0\x02'],
} as const

const answers = fc.oneof(
  ...(['http', 'h2c', 'https'] as const).map((speaks) =>
    fc.record({
      speaks: fc.constant<Speaks>(speaks),
      beginning: fc.constantFrom(...BEGINNINGS[speaks]),
      rest: fc.uint8Array({ maxLength: 200 }),
      end: fc.constantFrom('fin', 'reset', 'stay'),
    }),
  ),
)

test('whatever a worker answers, an attempt ends with a reason, and nothing of it is left', async () => {
  const before = openFiles()
  await fc.assert(
    fc.asyncProperty(answers, async ({ speaks, beginning, rest, end }) => {
      const servers: Socket[] = []
      const hand: Hand = (fd, answered) => {
        const server = new Socket({ fd: native.dup(fd), readable: true, writable: true })
        servers.push(server)
        server.on('error', () => {})
        server.resume()
        server.write(Buffer.concat([Buffer.from(beginning, 'latin1'), rest]))
        if (end === 'fin') server.end()
        if (end === 'reset') server.resetAndDestroy()
        setImmediate(() => answered({ speaks }))
        return () => {}
      }
      const answer = await attempt(hand, healthOf({ timeoutMs: 50, statuses: [[299, 299]] }))
      for (const server of servers) server.destroy()
      expect(answer).toMatch(/^it|^no /)
    }),
    { numRuns: 400 },
  )
  await sameFilesAs(before)
})
