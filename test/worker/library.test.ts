import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { type Ask, askH2, askH2c, askHttp, askHttps, askNet } from '../support/worker/clients.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { fixture, type Program, TEST_NODE } from '../support/worker/program.js'

/*
 * listenReusePort under a launcher: what the agent tells of it, and that nothing is accepted before ready().
 */

let launcher: FakeLauncher
afterEach(() => launcher.end())

/** What it has said up to the answer to a question that is asked now. */
async function types(worker: FakeWorker): Promise<string[]> {
  await worker.order({ type: 'ping' })
  return worker.received.map(({ type }) => type)
}

async function ready(program: Program): Promise<void> {
  program.child.kill('SIGUSR2')
  await program.line('ready')
}

test.each([
  ['library.cjs', 'http', askHttp],
  ['library.mjs', 'http', askHttp],
  ['library.cjs', 'https', askHttps],
  ['library.cjs', 'h2', askH2],
  ['library.cjs', 'h2c', askH2c],
  ['library.cjs', 'net', askNet],
  ['library.cjs', 'fastify', askHttp],
] as readonly [string, string, Ask][])('%s with %s says when it is ready, and serves then', async (file, kind, ask) => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const program = launcher.node(fixture(file), [port, kind])
  const worker = await launcher.worker()
  expect(await worker.report('claim')).toMatchObject({ address: { port }, ready: 'program' })
  expect(JSON.parse(await program.line('listening'))).toEqual({
    address: { address: '::', family: 'IPv6', port },
    inherited: 'launcher',
    generation: 1,
  })
  await worker.report('listening')
  expect(await types(worker)).toEqual(['hello', 'claim', 'listening', 'ack'])

  program.child.kill('SIGUSR2')
  const { id } = await worker.report('claim')
  expect(await worker.report('ready')).toEqual({ type: 'ready', id })
  launcher.listen()
  await worker.order({ type: 'admit' })
  expect(await ask(port)).toBe(String(program.pid))
  expect(program.errors).toEqual([])
})

test('ready() is told once', async () => {
  launcher = new FakeLauncher()
  const program = launcher.node(fixture('library.cjs'), [await freePort()])
  const worker = await launcher.worker()
  await program.line('listening')
  await ready(program)
  program.lines.splice(0)
  await ready(program)
  expect((await types(worker)).filter((type) => type === 'ready')).toHaveLength(1)
})

test('orders to accept pass by what is not ready', async () => {
  launcher = new FakeLauncher()
  const [port, plain] = [await freePort(), await freePort()]
  const program = launcher.node(fixture('library.cjs'), [port, 'http', plain])
  const worker = await launcher.worker()
  await program.line('listening')
  for (const type of ['admit', 'pause', 'resume'] as const) {
    await worker.order({ type })
    expect(await askHttp(port), type).toBe('ECONNREFUSED')
    if (type !== 'pause') expect(await askHttp(plain), type).toBe(String(program.pid))
  }
  await ready(program)
  expect(await askHttp(port), 'ready, and not told yet').toBe('ECONNREFUSED')
  await worker.order({ type: 'resume' })
  expect(await askHttp(port)).toBe(String(program.pid))
})

test('a listener that the launcher does not manage is like any other', async () => {
  launcher = new FakeLauncher({ claim: () => 'unmanaged' })
  const port = await freePort()
  const program = launcher.node(fixture('library.cjs'), [port])
  expect(JSON.parse(await program.line('listening'))).toMatchObject({ inherited: 'none', generation: null })
  expect(await askHttp(port)).toBe(String(program.pid))
  await ready(program)
  expect(await types(await launcher.worker())).toEqual(['hello', 'claim', 'ack'])
  expect(program.errors).toEqual([])
})

test('a listen that fails rejects with its error, and the next one of that server is a plain one', async () => {
  launcher = new FakeLauncher()
  const [port, other] = [await freePort(), await freePort()]
  const holder = createServer().listen(port)
  const program = launcher.node(fixture('library-cases.cjs'), ['fails, then plain', port, other])
  const worker = await launcher.worker()
  expect(await program.line('failed')).toBe('EADDRINUSE')
  await program.line('plain')
  expect((await worker.report('claim', 1)).ready).toBeUndefined()
  expect(program.errors).toEqual([])
  holder.close()
})

test('close() gives the listener up, held or not', async () => {
  launcher = new FakeLauncher()
  const program = launcher.node(fixture('library.cjs'), [await freePort()])
  const worker = await launcher.worker()
  await program.line('listening')
  program.child.kill('SIGUSR1')
  await program.line('closed')
  await worker.report('released')
  expect(await program.ended).toEqual({ code: 0, signal: null })
})

const events = ({ lines }: Program): string[] => lines.filter((line) => /^(event|drained|option)/.test(line))

test('a drain is told with its deadline, anew when that changes, and is over with the last connection', async () => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const program = launcher.node(fixture('library.cjs'), [port, 'net'])
  const worker = await launcher.worker()
  await program.line('listening')
  await ready(program)
  launcher.listen()
  await worker.order({ type: 'admit' })
  const client = connect(port)
  await once(client, 'connect')
  await until('it is accepted', async () => (await worker.order({ type: 'pause' }))?.connections === 1)
  await worker.order({ type: 'drain', deadlineMs: 60_000, last: false })
  await worker.order({ type: 'drain', deadlineMs: 50_000, last: false })
  expect(await program.line('event drain')).toBe('[{"deadlineMs":60000}]')
  client.destroy()
  await program.line('drained')
  expect(events(program)).toEqual([
    'event handover []',
    'option drain {"deadlineMs":60000}',
    'event drain [{"deadlineMs":60000}]',
    'option drain {"deadlineMs":50000}',
    'event drain [{"deadlineMs":50000}]',
    'event closed [{"hasSuccessor":true}]',
    'drained {"moved":0,"ended":1,"closed":0,"cut":0}',
  ])
  expect(program.errors).toEqual([])
})

test('a drain that is called off is told, and the end of the service has no successor', async () => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const program = launcher.node(fixture('library.cjs'), [port, 'net'])
  const worker = await launcher.worker()
  await program.line('listening')
  await ready(program)
  launcher.listen()
  await worker.order({ type: 'admit' })
  const client = connect(port)
  await once(client, 'connect')
  await until('it is accepted', async () => (await worker.order({ type: 'pause' }))?.connections === 1)
  await worker.order({ type: 'drain', deadlineMs: 60_000, last: false })
  await worker.order({ type: 'resume' })
  await program.line('event resume')
  expect(await askNet(port)).toBe(String(program.pid))
  await worker.order({ type: 'drain', deadlineMs: 100, last: true })
  await program.line('drained')
  expect(events(program).filter((line) => !line.startsWith('option'))).toEqual([
    'event handover []',
    'event drain [{"deadlineMs":60000}]',
    'event resume []',
    'event drain [{"deadlineMs":100}]',
    'event closed [{"hasSuccessor":false}]',
    'drained {"moved":0,"ended":0,"closed":0,"cut":1}',
  ])
  client.destroy()
})

test('a program that copies its global object finds nothing of ours', async () => {
  launcher = new FakeLauncher()
  const script = 'console.log("copied", Object.getOwnPropertySymbols({ ...globalThis }).map(String).join())'
  const program = launcher.start([TEST_NODE, '-e', script])
  expect(await program.line('copied')).not.toContain('reuseport')
})
