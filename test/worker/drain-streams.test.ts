import { Agent, type ClientRequest, get, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { Agent as AgentTls, get as getTls } from 'node:https'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { DrainOutcome } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { fixture, type Program } from '../support/worker/program.js'
import { RawConnection } from '../support/worker/raw-connection.js'

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

const drain = (worker: FakeWorker, deadlineMs: number): Promise<unknown> =>
  worker.order({ type: 'drain', deadlineMs, last: false })
const outcome = async (worker: FakeWorker): Promise<DrainOutcome> => (await worker.report('drained')).outcome

interface Stream {
  readonly request: ClientRequest
  response: IncomingMessage | undefined
  socket: Socket | undefined
  text: string
  /** 'end': the answer was whole. Else the code of an error, or 'aborted'. */
  end: string | undefined
}

/** A response that goes on, up to here. */
async function open(port: number, path: string, tls = false): Promise<Stream> {
  // An agent that keeps connections: it is the server that closes this one, or nobody.
  const agent = new (tls ? AgentTls : Agent)({ keepAlive: true })
  const options = { port, path, agent, rejectUnauthorized: false }
  const stream: Stream = {
    request: (tls ? getTls : get)(options),
    response: undefined,
    socket: undefined,
    text: '',
    end: undefined,
  }
  const ended = (how: string): void => {
    stream.end ??= how
  }
  stream.request.on('error', (error: NodeJS.ErrnoException) => ended(error.code ?? error.message))
  stream.request.on('response', (response) => {
    stream.response = response
    stream.socket = response.socket
    response.on('data', (data) => {
      stream.text += data
    })
    response.on('end', () => ended('end'))
    response.on('error', (error: NodeJS.ErrnoException) => ended(error.code ?? error.message))
  })
  await until(`begin of ${path}`, () => stream.text.includes('begin'))
  return stream
}

describe('an event stream', () => {
  test.each([
    ['http', '/events'],
    ['http', '/events-by-hand'],
    ['https', '/events'],
  ])('over %s, %s: goes on to the deadline, and ends as a whole response (N-06)', async (scheme, path) => {
    const { worker, port, program } = await serving(scheme === 'https' ? { TLS: '1' } : {})
    const stream = await open(port, path, scheme === 'https')
    await drain(worker, 600)
    const length = stream.text.length
    await until('it goes on', () => stream.text.length > length)
    expect(await outcome(worker)).toMatchObject({
      ended: 1,
      cut: 0,
      kinds: { sse: { ended: 1, closed: 0, cut: 0, moved: 0 } },
      requests: [],
    })
    await until('its end', () => stream.end)
    expect([stream.end, stream.response?.complete]).toEqual(['end', true])
    // The connection is closed behind it, whatever its head had promised, and the program saw an end like any other.
    expect(await program.line('closed')).toBe(`${path} true`)
    await until('the connection is closed', () => stream.socket?.destroyed)
    // What the program still writes does it no harm.
    await program.line('wrote on')
    expect([program.isRunning, program.errors]).toEqual([true, []])
  })

  test('whose client does not read is cut; what its program still writes does no harm (N-06)', async () => {
    const { worker, port, program } = await serving()
    const stream = await open(port, '/events-flood')
    stream.response?.pause()
    await until('the kernel takes no more', () => stream.socket?.isPaused())
    await drain(worker, 600)
    expect(await outcome(worker)).toMatchObject({
      ended: 0,
      cut: 1,
      requests: [{ kind: 'sse', path: '/events-flood' }],
    })
    stream.request.destroy()
    await program.line('wrote on')
    expect([program.isRunning, program.errors]).toEqual([true, []])
  })

  test('over HTTP/2: the same', async () => {
    const { worker, port, program } = await serving({ H2: '1' })
    const session = connectHttp2(`http://localhost:${port}`)
    const stream = session.request({ ':path': '/events' })
    let [text, end] = ['', '']
    stream.on('data', (data) => {
      text += data
    })
    stream.on('end', () => {
      end = 'end'
    })
    const closed = new Promise((done) => session.once('close', done))
    await until('its begin', () => text.includes('begin'))
    await drain(worker, 600)
    expect(await outcome(worker)).toMatchObject({ ended: 1, cut: 0, kinds: { h2c: { ended: 1, cut: 0 } } })
    await closed
    await program.line('wrote on')
    expect([end, stream.rstCode, program.isRunning]).toEqual(['end', 0, true])
  })
})

describe('what is cut', () => {
  test('is listed; nothing that is cut looks whole (N-05)', async () => {
    const { worker, port, program } = await serving()
    const streams = await Promise.all(['/chunked?secret=1', '/length', '/until-close'].map((path) => open(port, path)))
    const upload = await RawConnection.open(port)
    upload.write('POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf')
    const idle = await RawConnection.open(port)
    await idle.ask('/')
    await drain(worker, 600)
    const held = await worker.report('draining')
    expect(held.held).toEqual({ http: { open: 5, oldestMs: expect.any(Number) } })
    const { kinds, cut, requests, moreRequests } = await outcome(worker)
    expect({ cut, kinds, moreRequests }).toMatchObject({ cut: 4, kinds: { http: { cut: 4 } }, moreRequests: 0 })
    const known = {
      kind: 'http',
      method: 'GET',
      ageMs: expect.any(Number),
      bytesWritten: expect.any(Number),
      bytesRead: expect.any(Number),
    }
    expect(requests).toHaveLength(4)
    expect(requests).toEqual(
      expect.arrayContaining([
        { ...known, path: '/chunked' },
        { ...known, path: '/length' },
        { ...known, path: '/until-close' },
        { ...known, method: 'POST', path: '/up', ageMs: null },
      ]),
    )
    // Where the end of the connection is the end of the body only a reset tells.
    await until('the reset', () => streams[2]?.end)
    expect(streams[2]?.end).toBe('ECONNRESET')
    process.kill(program.pid, 'SIGTERM')
    await until('the end of all', () => streams.every(({ end }) => end !== undefined))
    expect(streams.map(({ end }) => end)).toEqual(Array(3).fill('ECONNRESET'))
  })

  test('over TLS too: where the end of the connection is the end of the body it is reset', async () => {
    const { worker, port } = await serving({ TLS: '1' })
    const stream = await open(port, '/until-close', true)
    await drain(worker, 300)
    expect(await outcome(worker)).toMatchObject({
      ended: 0,
      cut: 1,
      requests: [{ kind: 'https', path: '/until-close' }],
    })
    await until('the reset', () => stream.end)
    expect(stream.end).toBe('ECONNRESET')
  })

  test('a list has an end', async () => {
    const { worker, port } = await serving()
    const streams = await Promise.all(Array.from({ length: 23 }, () => open(port, '/chunked')))
    await drain(worker, 200)
    const { cut, requests, moreRequests } = await outcome(worker)
    expect([cut, requests?.length, moreRequests]).toEqual([23, 20, 3])
    for (const { request } of streams) request.destroy()
  })

  test('by a program that closes its server while it drains', async () => {
    const { worker, port, program } = await serving()
    const stream = await open(port, '/chunked')
    const idle = await RawConnection.open(port)
    await idle.ask('/')
    await drain(worker, 5_000)
    process.kill(program.pid, 'SIGUSR1')
    expect(await worker.report('closed-early')).toEqual({
      type: 'closed-early',
      call: 'server.close()',
      cut: 1,
      open: 1,
    })
    stream.request.destroy()
    expect(await outcome(worker)).toMatchObject({ ended: 1, closed: 0, cut: 1 })
  })

  test('by a program that exits while it drains: what it had in hand is the last that it says (A-20)', async () => {
    const { worker, port, program } = await serving()
    const streams = [await open(port, '/chunked'), await open(port, '/events')]
    await drain(worker, 5_000)
    process.kill(program.pid, 'SIGUSR2')
    await program.ended
    expect(await outcome(worker)).toMatchObject({
      early: true,
      cut: 2,
      kinds: { http: { cut: 1 }, sse: { cut: 1 } },
    })
    for (const { request } of streams) request.destroy()
  })
})
