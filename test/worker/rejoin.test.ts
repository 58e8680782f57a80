import { afterEach, expect, test } from 'vitest'
import type { ListenAddress } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { inode } from '../support/worker/kernel.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const everywhere = (port: number): ListenAddress => ({ kind: 'tcp', host: null, port, ipv6Only: false })

test('the launcher dies: the worker serves on, finds the next one and gives it every socket', async () => {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const port = await freePort()
  const listener = `tcp *:${port}`
  const program = launcher.node(fixture('http.cjs'), [port])
  const worker = await launcher.worker()
  await worker.report('listening')
  await worker.order({ type: 'term', term: 7, working: 3 })
  const own = launcher.socketOf(everywhere(port))
  // More than one message takes, and one that is dropped again.
  const spares = Array.from({ length: 450 }, (_, index) => ({
    name: { listener, slot: index + 1 },
    fd: launcher.socketOf(everywhere(port), (index % 3) + 1),
  }))
  for (let at = 0; at < spares.length; at += 150)
    await worker.order({ type: 'spares', drop: [] }, spares.slice(at, at + 150))
  await worker.order({ type: 'spares', drop: [{ listener, slot: 450 }] })
  const inodes = new Map([
    [0, inode(own)],
    ...spares.slice(0, 449).map(({ name, fd }): [number, number] => [name.slot, inode(fd)]),
  ])

  launcher.die({ sockets: true })
  expect(await askHttp(port)).toBe(String(program.pid))
  // Longer than the first tries: it does not give up.
  for (let seen = 0; seen < 3; seen++) expect(await askHttp(port)).toBe(String(program.pid))

  launcher.open()
  const again = await launcher.worker()
  const rejoin = again.hello?.rejoin
  expect(rejoin).toMatchObject({ generation: 1, slot: 0, state: 'serving', term: 7, working: 3 })
  expect(rejoin?.claims).toEqual([{ id: 1, address: everywhere(port), backlog: 511, listening: true }])
  expect(rejoin?.sockets.map(({ slot }) => slot)).toEqual([...inodes.keys()])
  await again.order({ type: 'collect' })
  const reports = again.received.filter((one) => one.type === 'sockets')
  expect(reports.map(({ fds, last }) => [fds.length, last])).toEqual([
    [200, false],
    [200, false],
    [50, true],
  ])
  expect(new Map(again.collected.map(({ name, fd }) => [name.slot, inode(fd)]))).toEqual(inodes)
  for (const { fd } of again.collected) native.close(fd)
  expect(await askHttp(port)).toBe(String(program.pid))
})

test.each(['held', 'paused', 'draining'] as const)(
  'a worker that is %s waits for the next launcher as it is',
  async (state) => {
    launcher = new FakeLauncher()
    const port = await freePort()
    const program = launcher.node(fixture('http.cjs'), [port])
    const worker = await launcher.worker()
    await worker.report('listening')
    if (state !== 'held') {
      launcher.listen()
      await worker.order({ type: 'admit' })
      if (state === 'paused') await worker.order({ type: 'pause' })
      else await worker.order({ type: 'drain', deadlineMs: 5_000, last: false })
    }
    launcher.die()
    launcher.open()
    const again = await launcher.worker()
    expect(again.hello?.rejoin?.state).toBe(state)
    if (state === 'draining')
      expect((await again.report('drained')).outcome).toMatchObject({ ended: 0, closed: 0, cut: 0 })
    launcher.listen()
    await again.order({ type: 'resume' })
    expect(await askHttp(port)).toBe(String(program.pid))
  },
)

test("launcher and a worker die together: the survivor has all sockets, the dead one's queue is served", async () => {
  launcher = new FakeLauncher({ slot: (index) => index })
  const port = await freePort()
  const listener = `tcp *:${port}`
  const survivor = launcher.node(fixture('http.cjs'), [port])
  const first = await launcher.worker(0)
  await first.report('listening')
  const victim = launcher.node(fixture('http.cjs'), [port])
  const second = await launcher.worker(1)
  await second.report('listening')
  const sockets = [0, 1].map((slot) => launcher.socketOf(everywhere(port), slot))
  const inodes = sockets.map(inode)
  launcher.listen()
  for (const [index, worker] of [first, second].entries()) {
    const other = 1 - index
    await worker.order({ type: 'admit' })
    await worker.order({ type: 'spares', drop: [] }, [{ name: { listener, slot: other }, fd: sockets[other] ?? -1 }])
  }
  // Nothing that the victim has in its own hands, but a queue that nobody else accepts from.
  process.kill(victim.pid, 'SIGSTOP')
  const clients = Array.from({ length: 64 }, () => askHttp(port))
  const queue = await until('the queue is filled, the rest is answered', async () => {
    const { length } = native.acceptQueue(sockets[1] ?? -1)
    const pending = await Promise.all(clients.map((client) => Promise.race([client, Promise.resolve()])))
    return length > 0 && pending.filter((answer) => answer === undefined).length === length ? length : undefined
  })
  process.kill(victim.pid, 'SIGKILL')
  launcher.die({ sockets: true })
  await victim.ended

  launcher.open()
  const again = await launcher.worker()
  expect(again.pid).toBe(survivor.pid)
  await again.order({ type: 'collect' })
  expect(again.collected.map(({ name, fd }) => [name.slot, inode(fd)])).toEqual(
    [0, 1].map((slot) => [slot, inodes[slot]]),
  )
  const orphan = again.collected.find(({ name }) => name.slot === 1)
  expect(native.acceptQueue(orphan?.fd ?? -1).length).toBe(queue)
  await again.order({ type: 'adopt' }, [{ name: { listener, slot: 1 }, fd: orphan?.fd ?? -1 }])
  expect(new Set(await Promise.all(clients))).toEqual(new Set([String(survivor.pid)]))
  for (const { fd } of again.collected) native.close(fd)
})
