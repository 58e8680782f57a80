import { createServer, get, type Server } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2, type Http2Server } from 'node:http2'
import { type AddressInfo, createServer as createNetServer, type Server as NetServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { type Answered, bucketOfTime } from '../../src/protocol.js'
import { Answers } from '../../src/worker/answers.js'
import { ask } from '../support/clients'
import { until } from '../support/until'

async function listening<T extends NetServer>(server: T): Promise<{ server: T; port: number }> {
  await new Promise<void>((done) => server.listen(0, done))
  onTestFinished(() => void server.close())
  return { server, port: (server.address() as AddressInfo).port }
}

/** Answers after so many ms as the path says; /5xx with that. */
const answering = (): Server =>
  createServer((request, response) => {
    if (request.url === '/500') response.statusCode = 500
    setTimeout(() => response.end('answer'), Number(request.url?.slice(1)) % 500)
  })

function counting(...servers: (Server | Http2Server)[]): {
  last: () => Answered | undefined
  said: () => number
  stop: () => void
} {
  const said: Answered[] = []
  const answers = new Answers(servers as never, 5, (answered) => said.push(answered))
  onTestFinished(() => answers.stop())
  return { last: () => said.at(-1), said: () => said.length, stop: () => answers.stop() }
}

const sum = (counts: readonly number[] = []): number => counts.reduce((total, count) => total + count, 0)

test('connections, answers, errors and times of a server, and of no other', async () => {
  const [counted, other] = [await listening(answering()), await listening(answering())]
  const { last } = counting(counted.server)
  for (const path of ['/1', '/1', '/500', '/60']) await ask(counted.port, path)
  await ask(other.port, '/500')
  await until('all are counted', () => last()?.responses === 4)
  const { times = [], ...counts } = last() as Answered
  expect(counts).toEqual({ connections: 4, responses: 4, errors: 1 })
  expect(sum(times)).toBe(4)
  // A timer of Node may ring a millisecond early.
  expect(sum(times.slice(bucketOfTime(55)))).toBeGreaterThanOrEqual(1)
})

test('what comes by another port is a health check, and does not count', async () => {
  const { server, port } = await listening(answering())
  const side = await listening(createNetServer((socket) => server.emit('connection', socket)))
  const { last } = counting(server)
  await ask(side.port, '/500')
  await ask(port, '/1')
  await until('it is counted', () => last()?.responses === 1)
  expect(last()).toMatchObject({ connections: 1, responses: 1, errors: 0 })
})

test('HTTP/2: each stream is an answer', async () => {
  const { server, port } = await listening(createHttp2((_request, response) => response.writeHead(503).end('not now')))
  const { last } = counting(server)
  const session = connectHttp2(`http://localhost:${port}`)
  onTestFinished(() => session.destroy())
  for (let n = 0; n < 3; n++)
    await new Promise((done) => session.request({ ':path': '/' }).resume().once('close', done))
  await until('all are counted', () => last()?.responses === 3)
  expect(last()).toMatchObject({ connections: 1, responses: 3, errors: 3 })
  expect(sum(last()?.times)).toBe(3)
})

test('a request that came before anybody counted has no time; and nothing is left behind', async () => {
  const { server, port } = await listening(answering())
  const listeners = server.listenerCount('connection')
  const arrived = new Promise((done) => server.once('request', done))
  const answer = new Promise((done) =>
    get({ port, path: '/100', agent: false }, (response) => response.resume().once('end', done)),
  )
  await arrived
  const { last, said, stop } = counting(server)
  await answer
  await until('it is counted', () => last()?.responses === 1)
  expect(last()).toEqual({ connections: 0, responses: 1, errors: 0, times: [] })
  stop()
  expect(server.listenerCount('connection')).toBe(listeners)
  await ask(port, '/1')
  expect(said()).toBe(1)
})
