import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect } from 'vitest'
import type { Status } from '../../src/control-protocol'
import type { Orders } from '../../src/launcher/control'
import type * as control from '../../src/launcher/control-socket'
import { anyText, fuzz } from '../support/fuzz'

const { ControlSocket } = createRequire(import.meta.url)('../../dist/launcher/control-socket.js') as typeof control

const ORDERS = ['reload', 'promote', 'abort', 'scale', 'upgrade', 'stop']
const directory = mkdtempSync(join(tmpdir(), 'rrt-'))
const path = join(directory, 'control.sock')
/** What was ordered by the last request. */
let ordered: string[] = []
const done =
  (what: string) =>
  (caller: number | null): void => {
    ordered.push(what)
    if (caller !== null) server.refuse(caller, { reason: what, facts: {}, next: '' })
  }
const orders = {
  status: async () => ({}) as Status,
  ...Object.fromEntries(ORDERS.map((what) => [what, done(what)])),
  reload: async (caller: number | null) => done('reload')(caller),
  events: { add: () => false, end: () => {} },
}
const server: control.ControlSocket = new ControlSocket(orders as unknown as Orders, () => {})

beforeAll(() => server.listen(path))
afterAll(() => {
  server.close()
  rmSync(directory, { recursive: true })
})

async function say(bytes: string): Promise<string> {
  const socket = connect(path)
  let text = ''
  socket.on('data', (data) => (text += data)).on('error', () => {})
  socket.end(bytes)
  await once(socket, 'close')
  return text
}

const names = fc.oneof(
  fc.constantFrom(...ORDERS, 'status', 'events'),
  fc.constantFrom('', '/', '..', '__proto__', 'constructor', 'Stop', 'stop/', '%73top', 'stop\\', 'stop;', 'stop%00'),
  anyText.map((text) => text.slice(0, 500)),
)
const parameters = fc.array(
  fc.tuple(
    fc.constantFrom('wait', 'canary', 'for', 'by', 'max5xx', 'maxLatency', 'to', 'watch', '__proto__', 'x'),
    fc.oneof(
      fc.constantFrom('none', 'baked', '0.1', '1', '-1', '1e9', 'NaN', 'client', ''),
      anyText.map((text) => text.slice(0, 100)),
    ),
  ),
  { maxLength: 4 },
)

fuzz(
  'orders',
  'whatever is asked for is answered, and done only if it is an order on the list, by POST (I-05, S-04)',
  fc.record({
    method: fc.oneof(
      fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'post', 'PRI'),
      anyText.map((text) => text.slice(0, 20)),
    ),
    prefix: fc.constantFrom('/', '/', '/', '//', '/./', '/x/../', '', 'http://launcher/', 'http://elsewhere/'),
    name: names,
    parameters,
    isEncoded: fc.boolean(),
    more: fc.oneof(
      fc.constant(''),
      fc.constantFrom('Content-Length: 5\r\n', 'Expect: 100-continue\r\n', 'Transfer-Encoding: chunked\r\n'),
      anyText,
    ),
  }),
  async ({ method, prefix, name, parameters: all, isEncoded, more }) => {
    ordered = []
    const query = isEncoded ? new URLSearchParams(all).toString() : all.map((pair) => pair.join('=')).join('&')
    const target = `${prefix}${name}${all.length === 0 ? '' : `?${query}`}`
    const answer = await say(
      `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${more.slice(0, 4_000)}\r\n`,
    )
    expect(ordered.length).toBeLessThanOrEqual(1)
    const [done] = ordered
    if (done === undefined) {
      // 2xx is the status, or 100 that something may follow.
      if (/^HTTP\/1\.1 2/.test(answer)) expect(target).toMatch(/status/)
      return
    }
    // Whatever else is in the message: an order is one of these words, after the method, and the path ends with it.
    expect(`${method} ${target}${more}`).toContain('POST')
    expect(decodeURIComponent(new URL(target.replaceAll(/[\t\r\n ].*/gs, ''), 'http://launcher').pathname)).toBe(
      `/${done}`,
    )
  },
)
