import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { isMeant } from '../../src/launcher/http/host'
import { type Routes, send } from '../../src/launcher/http/server'
import { HttpServers, type HttpUse } from '../../src/launcher/http/servers'
import type { HttpAddress } from '../../src/options'
import { temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { until } from '../support/until'

const text = (body: string): Routes['string'] => ({
  answer: (_request, response) => send(response, { type: 'text/plain', body }),
})
const tcp = (port: number, host: string | null = '127.0.0.1'): HttpAddress => ({ kind: 'tcp', host, port })

async function open(...uses: HttpUse[]): Promise<HttpServers> {
  const servers = new HttpServers(uses)
  onTestFinished(() => servers.close())
  await servers.open(() => {})
  return servers
}

/** One server with `/` and what else is given; its port. */
async function serve(routes: Routes = {}): Promise<{ servers: HttpServers; port: number }> {
  const port = await freePort()
  const use = { option: 'status-page', address: tcp(port), routes: { '/': text('page'), ...routes } }
  return { servers: await open(use), port }
}

interface Answer {
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

function ask(
  where: number | string,
  path = '/',
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const to = typeof where === 'number' ? { port: where, host: '127.0.0.1' } : { socketPath: where }
  return new Promise((resolve, reject) => {
    const call = request({ ...to, path, method, headers, agent: new Agent({ keepAlive: true }) }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      )
    })
    call.on('error', reject)
    call.end()
  })
}

/** A connection, and what has come by it when the other side has ended it. */
function connection(port: number): { socket: Socket; ended: Promise<string> } {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let said = ''
  socket.on('data', (chunk) => (said += chunk))
  return { socket, ended: new Promise((done) => socket.on('error', () => {}).on('close', () => done(said))) }
}

test('several uses share an address, others have their own', async () => {
  const [port, other] = [await freePort(), await freePort()]
  await open(
    { option: 'status-page', address: tcp(port), routes: { '/': text('page') } },
    { option: 'metrics', address: tcp(port), routes: { '/metrics': text('figures') } },
    { option: 'metrics', address: tcp(other, null), routes: { '/metrics': text('others') } },
  )
  expect((await ask(port)).body).toBe('page')
  expect((await ask(port, '/metrics?x=1')).body).toBe('figures')
  expect((await ask(other, '/metrics')).body).toBe('others')
  expect(await ask(other)).toMatchObject({ status: 404, body: 'there is nothing at /, only at /metrics\n' })
})

test('it is for reading only: GET and HEAD, without a body, one request per connection (I-09, S-04)', async () => {
  const { port } = await serve({
    '/broken': {
      answer: () => {
        throw new Error('no figures')
      },
    },
  })
  expect(await ask(port)).toMatchObject({
    status: 200,
    headers: {
      connection: 'close',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
    },
  })
  expect(await ask(port, '/', { method: 'HEAD' })).toMatchObject({
    status: 200,
    headers: { 'content-length': '4' },
    body: '',
  })
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])
    expect(await ask(port, '/', { method }), method).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
  expect(await ask(port, '/', { headers: { 'content-length': '1' } })).toMatchObject({ status: 413 })
  expect(await ask(port, '/broken')).toMatchObject({ status: 500, body: 'no figures\n' })
  expect(await ask(port, '//')).toMatchObject({ status: 400 })
  expect(await ask(port, '/', { headers: { 'x-long': 'x'.repeat(10_000) } })).toMatchObject({ status: 431 })
})

test.each([
  ['localhost', 200],
  ['LOCALHOST:8080', 200],
  ['127.0.0.1:1', 200],
  ['[::1]:80', 200],
  ['10.0.0.7', 200],
  ['status.localhost', 200],
  ['evil.example', 403],
  ['localhost.evil.example:80', 403],
])('whoever comes by the loopback must mean this machine: Host %s', async (host, status) => {
  const { port } = await serve()
  const answer = await ask(port, '/', { headers: { host } })
  expect(answer.status).toBe(status)
  expect(answer.headers['access-control-allow-origin']).toBeUndefined()
})

test('pages of other sites get nothing, whoever follows their links does', async () => {
  const { port } = await serve()
  const from = async (site: string, mode: string): Promise<number | undefined> =>
    (await ask(port, '/', { headers: { 'sec-fetch-site': site, 'sec-fetch-mode': mode } })).status
  expect(await from('cross-site', 'cors')).toBe(403)
  expect(await from('same-site', 'no-cors')).toBe(403)
  expect(await from('cross-site', 'navigate')).toBe(200)
  expect(await from('same-origin', 'cors')).toBe(200)
  expect(await from('none', 'navigate')).toBe(200)
})

test('a Host is looked at where a browser could have been tricked', () => {
  expect(isMeant('evil.example', '::1')).toBe(false)
  expect(isMeant('evil.example', '::ffff:127.0.0.1')).toBe(false)
  // By its address in the network, or by a unix socket.
  expect(isMeant('app.internal', '10.0.0.7')).toBe(true)
  expect(isMeant('anything', undefined)).toBe(true)
  expect(isMeant(undefined, '127.0.0.1')).toBe(true)
})

test('whoever does not ask is not waited for', async () => {
  const { servers, port } = await serve()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true })
  onTestFinished(() => void vi.useRealTimers())
  const silent = (): number | undefined => servers.save().servers[0]?.clients.length
  const [half, nothing] = [connection(port), connection(port)]
  await until('both are there', () => silent() === 2)
  half.socket.write('GET / HTTP/1.1\r\nHo')
  await until('one has begun', () => silent() === 1)
  vi.advanceTimersByTime(5_000)
  expect(await half.ended).toBe('')
  expect(await nothing.ended).toBe('')
})

describe('an address that cannot be had', () => {
  const taken = async (port: number): Promise<Server> => {
    const server = createServer()
    onTestFinished(() => void server.close())
    await new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
    return server
  }

  test('of two, the second in use: neither is open', async () => {
    const [free, used] = [await freePort(), await freePort()]
    await taken(used)
    await expect(
      open(
        { option: 'status-page', address: tcp(free), routes: { '/': text('page') } },
        { option: 'metrics', address: tcp(used), routes: { '/metrics': text('figures') } },
      ),
    ).rejects.toMatchObject({
      code: 'ERR_ADDRESS_IN_USE',
      message: expect.stringContaining(`127.0.0.1:${used} is in use: held by pid ${process.pid}`),
      next: 'Stop that process, or give --metrics another port.',
    })
    await expect(ask(free)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('of no interface of this machine', async () => {
    const use = { option: 'metrics', address: tcp(await freePort(), '192.0.2.1'), routes: {} }
    await expect(open(use)).rejects.toMatchObject({
      code: 'ERR_ADDRESS',
      message: expect.stringContaining('EADDRNOTAVAIL'),
    })
  })

  test('a path in no directory, and one that is a file', async () => {
    const path = join(temporaryDirectory(), 'status.sock')
    writeFileSync(path, 'mine')
    const at = (path: string): HttpUse => ({ option: 'metrics', address: { kind: 'unix', path }, routes: {} })
    await expect(open(at(path))).rejects.toMatchObject({ code: 'ERR_ADDRESS_IN_USE', facts: { path } })
    await expect(open(at(join(path, 'b')))).rejects.toMatchObject({ code: 'ERR_ADDRESS', facts: { path: `${path}/b` } })
    expect(existsSync(path)).toBe(true)
  })
})

test('a unix socket that a killed launcher has left is replaced, one that is served is not; its end takes it away', async () => {
  const path = join(temporaryDirectory(), 'status.sock')
  const use: HttpUse = { option: 'status-page', address: { kind: 'unix', path }, routes: { '/': text('page') } }
  const stale = createServer()
  await new Promise<void>((done) => stale.listen(`${path}.of`, done))
  // Its path stays when it ends.
  renameSync(`${path}.of`, path)
  await new Promise((done) => stale.close(done))
  expect(existsSync(path)).toBe(true)

  const servers = await open(use)
  expect((await ask(path, '/', { headers: { host: 'status.example' } })).body).toBe('page')
  await expect(open(use)).rejects.toMatchObject({ code: 'ERR_ADDRESS_IN_USE' })
  servers.close()
  expect(existsSync(path)).toBe(false)
})

test('an answer on its way is waited for, a stream is not', async () => {
  let answer: () => void = () => {}
  let begun: () => void = () => {}
  const asked = new Promise<void>((done) => (begun = done))
  const { servers, port } = await serve({
    '/slow': {
      answer: async (_request, response) => {
        begun()
        await new Promise<void>((done) => (answer = done))
        send(response, { type: 'text/plain', body: 'at last' })
      },
    },
    '/stream': { isStream: true, answer: (_request, response) => void response.writeHead(200).flushHeaders() },
  })
  const stream = connection(port)
  stream.socket.write('GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await new Promise((done) => stream.socket.once('data', done))
  expect(servers.isBusy).toBe(false)
  const slow = ask(port, '/slow')
  await asked
  expect(servers.isBusy).toBe(true)
  answer()
  expect((await slow).body).toBe('at last')
  servers.close()
  await stream.ended
  expect(servers.isBusy).toBe(false)
})

test('what is handed on is the listening socket, and whoever has connected and said nothing yet', async () => {
  const { servers, port } = await serve()
  const [early, half] = [connection(port), connection(port)]
  half.socket.write('GET / HTTP/1.1\r\nHo')
  await expect
    .poll(() => servers.save().servers)
    .toEqual([{ address: `127.0.0.1:${port}`, fd: expect.any(Number), clients: [expect.any(Number)] }])
  early.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  expect(await early.ended).toContain('page')
  half.socket.write('st: localhost\r\n\r\n')
  expect(await half.ended).toContain('page')
  expect(servers.save().servers[0]?.clients).toEqual([])
})
