import { expect, onTestFinished, test } from 'vitest'
import { ask } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { descriptorsOf, factsOf, isAlive, listeningSockets } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { native } from '../support/worker/addon'
import { FakeLauncher } from '../support/worker/fake-launcher'
import { inode } from '../support/worker/kernel'

/** Enough that the kernel gives each of two sockets some. */
const CLIENTS = 64

test('launcher and a worker are killed together: another process gets every socket from the survivor, the queue is served (B-06)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  expect(await launcher.reload('retired')).toMatchObject({ result: 'done' })
  const [survivor, victim] = (await launcher.pids()) as [number, number]
  const { listeners } = await launcher.status()
  const listener = `tcp *:${port}`
  const inodes = new Map(listeners[0]?.sockets.map((socket) => [socket.slot, socket.inode]))
  expect(listeners.map(({ address }) => address)).toEqual([listener])
  expect([...inodes.keys()]).toEqual([0, 1])

  // The victim has nothing in its hands, but a queue that nobody else accepts from.
  process.kill(victim, 'SIGSTOP')
  await until('it is stopped', () => factsOf(victim)?.state === 'T')
  let answered = 0
  const clients = Array.from({ length: CLIENTS }, async () => {
    const pid = await ask(port).catch(String)
    answered += 1
    return pid
  })
  const status = await launcher.when('the rest waits for the victim', ({ listeners: [one] }) => {
    const waiting = one?.sockets[1]?.queue ?? 0
    return waiting > 0 && waiting + answered === CLIENTS
  })
  const waiting = status.listeners[0]?.sockets[1]?.queue as number
  for (const pid of [launcher.pid, victim]) process.kill(pid, 'SIGKILL')
  await launcher.ended
  await until('both have gone', () => !isAlive(victim))
  // Nobody has them now but the survivor.
  expect(await listeningSockets(port)).toEqual(
    [...inodes.values()].sort((a, b) => a - b).map((one) => ({ inode: one, holders: [survivor] })),
  )
  expect([...descriptorsOf(process.pid).values()].filter((what) => isOneOf(what, inodes))).toEqual([])

  const next = new FakeLauncher({}, `${launcher.directory}/channel.sock`)
  onTestFinished(() => next.end())
  const worker = await next.worker()
  expect(worker.pid).toBe(survivor)
  expect(worker.hello?.rejoin).toMatchObject({ generation: 2, slot: 0, state: 'serving', term: 2, working: 2 })
  await worker.order({ type: 'collect' })
  onTestFinished(() => {
    for (const { fd } of worker.collected) native.close(fd)
  })
  expect(worker.collected.map(({ name }) => name)).toEqual([0, 1].map((slot) => ({ listener, slot })))
  expect(new Map(worker.collected.map(({ name, fd }) => [name.slot, inode(fd)]))).toEqual(inodes)
  expect((await listeningSockets(port)).map(({ holders }) => holders)).toEqual(
    Array(2).fill([survivor, process.pid].sort((a, b) => a - b)),
  )

  // Not one connection of the queue was lost with the two; the survivor accepts them when it is told to.
  const orphan = worker.collected[1] as (typeof worker.collected)[number]
  expect(native.acceptQueue(orphan.fd).length).toBe(waiting)
  expect(answered).toBe(CLIENTS - waiting)
  await worker.order({ type: 'adopt' }, [orphan])
  expect(await Promise.all(clients)).toEqual(Array(CLIENTS).fill(String(survivor)))
})

function isOneOf(what: string, inodes: ReadonlyMap<number, number>): boolean {
  return [...inodes.values()].some((one) => what === `socket:[${one}]`)
}
