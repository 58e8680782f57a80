import { createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { PROTOCOL_VERSION } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { openFiles } from '../support/worker/kernel.js'
import { fixture, type Program } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

async function serving(): Promise<{ worker: FakeWorker; program: Program; port: number; listener: string }> {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const port = await freePort()
  const program = launcher.node(fixture('http.cjs'), [port])
  const worker = await launcher.worker()
  await worker.report('listening')
  return { worker, program, port, listener: `tcp *:${port}` }
}

test('hello says who it is; the token never more than once', async () => {
  const { worker, program } = await serving()
  expect(worker.hello).toEqual({
    type: 'hello',
    version: PROTOCOL_VERSION,
    token: 'secret',
    node: expect.stringMatching(/^v\d+\./),
    thread: 0,
  })
  expect(worker.pid).toBe(program.pid)
  expect(worker.received.map(({ type }) => type)).toEqual(['hello', 'claim', 'listening'])
})

test('an order of a newer launcher is answered with unknown, and its descriptors are closed (I-04)', async () => {
  const { worker, program } = await serving()
  const before = openFiles(program.pid).length
  worker.send({ type: 'levitate', seq: 77, fds: ['what'] }, [0])
  expect(await worker.report('unknown')).toEqual({ type: 'unknown', of: 'levitate' })
  // Not answered: two peers that do not know each other would say it for ever.
  worker.send({ type: 'unknown', of: 'ack' })
  await worker.order({ type: 'term', term: 2, working: 1 })
  expect(worker.received.filter(({ type }) => type === 'unknown')).toHaveLength(1)
  expect(openFiles(program.pid)).toHaveLength(before)
})

test('a message whose descriptors do not match is refused, and they are closed (I-10)', async () => {
  const { worker, program, listener } = await serving()
  const before = openFiles(program.pid).length
  const name = { listener, slot: 1 }
  const broken: [object, number[]][] = [
    [{ type: 'spares', fds: [name], drop: [] }, []],
    [{ type: 'spares', fds: [], drop: [] }, [0, 1]],
    [{ type: 'adopt', fds: [name] }, [0, 1]],
    [{ type: 'term', term: 1, working: 1 }, [0]],
    [{ type: 'stderr', fds: 'stderr' }, [1]],
  ]
  for (const [index, [message, fds]] of broken.entries()) {
    worker.send({ ...message, seq: 100 + index }, fds)
    await expect(worker.answer(100 + index)).rejects.toMatchObject({ code: 'ERR_PROTOCOL' })
  }
  worker.send('{"type":')
  worker.send('"admit"')
  worker.send('{"seq":1}')
  await worker.report('warning', 1)
  await expect(worker.answer(1)).rejects.toMatchObject({ code: 'ERR_PROTOCOL' })
  expect(openFiles(program.pid)).toHaveLength(before)
})

test('an order that cannot be done is a nack with the reason', async () => {
  const { worker, program, port, listener } = await serving()
  const before = openFiles(program.pid).length
  const fd = launcher.socketOf({ kind: 'tcp', host: null, port, ipv6Only: false }, 1)
  const socket = (name: { listener: string; slot: number }) => [{ name, fd }]
  await expect(worker.order({ type: 'adopt' }, socket({ listener: 'tcp *:1', slot: 1 }))).rejects.toMatchObject({
    code: 'ENOENT',
  })
  await worker.order({ type: 'pause' })
  await expect(worker.order({ type: 'adopt' }, socket({ listener, slot: 1 }))).rejects.toMatchObject({ code: 'EBUSY' })
  expect(openFiles(program.pid)).toHaveLength(before)
  // What is not there needs no giving up.
  await worker.order({ type: 'unadopt', socket: { listener, slot: 5 } })
  await worker.order({ type: 'spares', drop: [{ listener, slot: 5 }] })
})

test('no descriptor is lost in many rounds of everything', async () => {
  const { worker, program, port, listener } = await serving()
  const fd = launcher.socketOf({ kind: 'tcp', host: null, port, ipv6Only: false }, 1)
  native.listen(fd, 511)
  const sibling = [{ name: { listener, slot: 1 }, fd }]
  const round = async (): Promise<void> => {
    await worker.order({ type: 'adopt' }, sibling)
    await worker.order({ type: 'adopt' }, sibling)
    await worker.order({ type: 'spares', drop: [] }, sibling)
    await worker.order({ type: 'spares', drop: [] }, sibling)
    await worker.order({ type: 'pause' })
    await worker.order({ type: 'resume' })
    await worker.order({ type: 'adopt' }, sibling)
    await worker.order({ type: 'unadopt', socket: { listener, slot: 1 } })
    await worker.order({ type: 'spares', drop: [{ listener, slot: 1 }] })
    await worker.order({ type: 'collect' })
  }
  await round()
  const before = openFiles(program.pid).length
  for (let index = 0; index < 50; index++) await round()
  for (const { fd: collected } of worker.collected) native.close(collected)
  expect(openFiles(program.pid)).toHaveLength(before)
})

test('a launcher that does not read makes nothing wait and loses no answer', async () => {
  const { worker, port, program } = await serving()
  worker.stopReading()
  const last = 3_000
  for (let seq = 1; seq <= last; seq++) {
    const order = { type: seq % 100 === 0 ? 'collect' : 'term', seq, term: seq, working: 1 }
    await until('room for an order', () => worker.trySend(order))
  }
  expect(await askHttp(port)).toBe(String(program.pid))
  worker.startReading()
  await worker.answer(last)
  const acks = worker.received.flatMap((one) => (one.type === 'ack' ? [one.seq] : []))
  expect(acks).toEqual(Array.from({ length: last }, (_, index) => index + 1))
  expect(worker.collected).toHaveLength(last / 100)
  for (const { fd } of worker.collected) native.close(fd)
})

test('orders that come before the answer to a claim are done after it', async () => {
  launcher = new FakeLauncher({ claim: () => 'silence' })
  const port = await freePort()
  const program = launcher.node(fixture('http.cjs'), [port])
  const worker = await launcher.worker()
  const { id, address } = await worker.report('claim')
  worker.send({ type: 'term', seq: 1, term: 5, working: 1 })
  worker.send({ type: 'spares', seq: 2, fds: [{ listener: 'tcp *:1', slot: 1 }], drop: [] }, [0])
  const listener = `tcp *:${port}`
  const fd = launcher.socketOf(address)
  native.listen(fd, 511)
  worker.send({ type: 'admit', seq: 3 })
  worker.send({ type: 'claimed', id, mode: 'hold', listener, fds: [{ listener, slot: 0 }] }, [fd])
  await worker.answer(3)
  expect(worker.received.flatMap((one) => (one.type === 'ack' ? [one.seq] : []))).toEqual([1, 2, 3])
  expect(await askHttp(port)).toBe(String(program.pid))
})

test('a claim that nobody answers is a listen error in time; its late answer is given back', async () => {
  launcher = new FakeLauncher({ claim: () => 'silence' })
  const port = await freePort()
  const program = launcher.node(fixture('keeps-running.cjs'), [port])
  const worker = await launcher.worker()
  const { id, address } = await worker.report('claim')
  expect(await until('the error', () => program.lines.find((line) => line.startsWith('error')), 15_000)).toBe(
    'error ERR_CHANNEL',
  )
  const before = openFiles(program.pid).length
  const listener = `tcp *:${port}`
  worker.send({ type: 'claimed', id, mode: 'hold', listener, fds: [{ listener, slot: 0 }] }, [
    launcher.socketOf(address),
  ])
  expect(await worker.report('released')).toEqual({ type: 'released', id })
  expect(openFiles(program.pid)).toHaveLength(before)
})

test.each([
  ['there is no launcher', 'dead'],
  ['the launcher hangs up', 'hangs-up'],
])('%s: a listen error, code ERR_CHANNEL', async (_text, how) => {
  launcher = new FakeLauncher({
    greet: () => {
      launcher.die()
      return { type: 'unknown' }
    },
  })
  if (how === 'dead') launcher.die()
  const port = await freePort()
  const program = launcher.node(fixture('keeps-running.cjs'), [port])
  expect(await program.line('error')).toBe('ERR_CHANNEL')
  expect(program.lines).toEqual(['returned false', 'error ERR_CHANNEL'])
  // It has not listened by itself.
  const free = createServer()
  await new Promise<void>((done, fail) => free.once('error', fail).listen(port, () => done()))
  free.close()
})
