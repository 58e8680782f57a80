import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { DrainOutcome } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { fixture, type Program } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

async function serving(
  env: Record<string, string> = {},
): Promise<{ worker: FakeWorker; program: Program; port: number }> {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const port = await freePort()
  const program = launcher.node(fixture('endless.cjs'), [port], env)
  const worker = await launcher.worker()
  await worker.report('listening')
  return { worker, program, port }
}

const drain = (
  worker: FakeWorker,
  how: { deadlineMs?: number; spreadMs?: number; websocket?: 'close' | 'keep' } = {},
): Promise<unknown> =>
  worker.order({ type: 'drain', deadlineMs: 15_000, last: false, websocket: 'close', spreadMs: 0, ...how })
const outcome = async (worker: FakeWorker): Promise<DrainOutcome> => (await worker.report('drained')).outcome

interface Client {
  readonly socket: WebSocket
  messages: number
  closedAt: number | undefined
  code: number | undefined
  error: string | undefined
}

/** A client of the real library, which finds fault with every frame that is not as it must be. */
async function client(url: string): Promise<Client> {
  const one: Client = {
    socket: new WebSocket(url, { rejectUnauthorized: false }),
    messages: 0,
    closedAt: undefined,
    code: undefined,
    error: undefined,
  }
  one.socket.on('message', () => one.messages++)
  one.socket.on('error', (error) => {
    one.error = error.message
  })
  one.socket.on('close', (code) => {
    one.code = code
    one.closedAt = Date.now()
  })
  await until(`first message of ${url} (${one.error})`, () => one.messages > 0)
  return one
}

describe('WebSocket', () => {
  test.each([
    ['ws', ''],
    ['wss', '1'],
    ['wss', 'h2'],
  ])('%s %s: idle clients are closed with 1012, one after the other (N-07)', async (scheme, TLS) => {
    const { worker, port, program } = await serving({ TLS })
    const clients = await Promise.all(Array.from({ length: 8 }, () => client(`${scheme}://localhost:${port}/echo`)))
    const begin = Date.now()
    await drain(worker, { spreadMs: 800 })
    expect(await outcome(worker)).toMatchObject({
      ended: 8,
      closed: 0,
      cut: 0,
      kinds: { websocket: { ended: 8, closed: 0, cut: 0, moved: 0 } },
    })
    expect(clients.map(({ code, error }) => [code, error])).toEqual(Array(8).fill([1012, undefined]))
    const times = clients.map(({ closedAt }) => (closedAt as number) - begin).sort((a, b) => a - b)
    expect(times.at(-1)).toBeGreaterThanOrEqual(700)
    expect(times[1]).toBeLessThan(700)
    // The program sees a close as any other.
    await until('the last code', () => program.lines.filter((line) => line === 'code 1012').length === 8)
  })

  test('never in the middle of a frame: servers that send without pause, whole frames or pieces of them', async () => {
    const { worker, port } = await serving()
    const paths = ['/busy', '/busy', '/pieces', '/pieces', '/pieces', '/pieces']
    const clients = await Promise.all(paths.map((path) => client(`ws://localhost:${port}${path}`)))
    await until('each has had some', () => clients.every(({ messages }) => messages > 5))
    await drain(worker, { spreadMs: 500 })
    expect(await outcome(worker)).toMatchObject({ ended: 6, cut: 0 })
    expect(clients.map(({ code, error }) => [code, error])).toEqual(Array(6).fill([1012, undefined]))
  })

  test('a client may speak until it is its turn', async () => {
    const { worker, port } = await serving()
    const [first, last] = [await client(`ws://localhost:${port}/echo`), await client(`ws://localhost:${port}/echo`)]
    await drain(worker, { spreadMs: 2_000 })
    await until('the first one is closed', () => first.code)
    last.socket.send('still there')
    await until('its answer', () => last.messages === 2)
    await until('its end', () => last.code)
    expect([first.code, last.code]).toEqual([1012, 1012])
  })

  test('keep: they live until the deadline, and are told then', async () => {
    const { worker, port } = await serving()
    const kept = await client(`ws://localhost:${port}/echo`)
    const begin = Date.now()
    await drain(worker, { websocket: 'keep', deadlineMs: 700 })
    kept.socket.send('still there')
    await until('its answer', () => kept.messages === 2)
    expect(await outcome(worker)).toMatchObject({ ended: 1, cut: 0 })
    expect(kept.code).toBe(1012)
    expect((kept.closedAt as number) - begin).toBeGreaterThanOrEqual(650)
  })

  test('a client that does not answer is ended; what is no WebSocket is left alone', async () => {
    const { worker, port } = await serving()
    const [deaf, other, refused] = await Promise.all([
      upgraded(port, '/echo', 'websocket'),
      upgraded(port, '/other', 'other'),
      upgraded(port, '/refused', 'websocket'),
    ])
    await drain(worker, { deadlineMs: 8_000 })
    other.socket.write('echo')
    await until('echo', () => other.text.endsWith('echo'))
    await until('the server ends it', () => deaf.hasEnded)
    expect(deaf.text.slice(-4)).toBe('\x88\x02\x03\xf4')
    const { kinds, requests } = await outcome(worker)
    expect(kinds).toEqual({
      websocket: { ended: expect.any(Number), closed: expect.any(Number), cut: 0, moved: 0 },
      upgraded: { ended: 0, closed: 0, cut: 2, moved: 0 },
    })
    expect(requests).toEqual([
      {
        kind: 'upgraded',
        method: 'GET',
        path: '/other',
        ageMs: expect.any(Number),
        bytesRead: expect.any(Number),
        bytesWritten: expect.any(Number),
      },
      expect.objectContaining({ kind: 'upgraded', path: '/refused' }),
    ])
    expect(refused.text).toMatch(/^HTTP\/1.1 401[^\x88]*$/)
    for (const { socket } of [deaf, other, refused]) socket.destroy()
  })

  test('an upgrade listener of ours is there only beside one of the program', async () => {
    launcher = new FakeLauncher({ claim: () => 'go' })
    const port = await freePort()
    const program = launcher.node(fixture('upgrade-listeners.cjs'), [port])
    await (await launcher.worker()).report('listening')
    expect(await program.line('counts')).toBe('[0,1,1,0,"plain"]')
  })
})

/** An upgraded connection without a library: what it got, and whether the server has ended it. */
async function upgraded(
  port: number,
  path: string,
  protocol: string,
): Promise<{ socket: Socket; text: string; hasEnded: boolean }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const one = { socket, text: '', hasEnded: false }
  socket.on('data', (data) => {
    one.text += data.toString('latin1')
  })
  socket.on('end', () => {
    one.hasEnded = true
  })
  socket.on('error', () => {})
  socket.write(
    `GET ${path}?secret=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  )
  await until(`answer of ${path}`, () => one.text.includes('\r\n\r\n'))
  return one
}
