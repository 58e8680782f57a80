import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { fixture, ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { descriptorsOf, listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

async function start(
  workers: number,
  options: readonly string[] = [],
): Promise<{
  launcher: TestLauncher
  port: number
  versions: Versions
}> {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', String(workers), ...options],
  })
  return { launcher, port, versions }
}

const closed = (launcher: TestLauncher, slot: number): Promise<unknown> =>
  launcher.event('socket.closed', (event) => event['slot'] === slot)

test('more workers and fewer: nothing is lost, and the sockets of those that went are closed (D-12, N-16)', async () => {
  const { launcher, port } = await start(2, ['--park', '200ms'])
  const clients = new Clients(port)
  await clients.more(50)
  expect(await launcher.run('scale', '4')).toMatchObject({ code: 0, stdout: 'scaled from 2 to 4 workers\n' })
  expect(listeningInodes(port)).toHaveLength(4)
  expect((await launcher.status()).slots.map(({ worker }) => worker?.state)).toEqual(Array(4).fill('serving'))
  await clients.more(200)
  const down = await launcher.run('scale', '-3', '--json')
  expect(JSON.parse(down.stdout)).toEqual({
    result: 'done',
    from: 4,
    to: 1,
    reason: null,
    draining: 3,
    parked: [1, 2, 3],
  })
  await clients.more(100)
  for (const slot of [1, 2, 3]) await closed(launcher, slot)
  await until('the kernel has one listener', () => listeningInodes(port).length === 1)
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  const { slots, listeners } = await launcher.status()
  expect(slots).toHaveLength(1)
  expect(listeners.map(({ sockets }) => sockets.map(({ slot }) => slot))).toEqual([[0]])
  expect(await ask(port)).toBe(String(slots[0]?.worker?.pid))
  await launcher.stop()
})

test('a slot that comes back takes its parked socket with it', async () => {
  const { launcher, port } = await start(3)
  const clients = new Clients(port)
  const before = listeningInodes(port).sort()
  await (await launcher.control()).scale({ to: 1 })
  const { listeners } = await launcher.status()
  expect(listeners[0]?.sockets.map(({ parked }) => parked)).toEqual([false, true, true])
  expect((await launcher.run('status')).stdout).toMatch(
    /slot 0: inode .*\n +slot 1, parked: inode .*\n +slot 2, parked: /,
  )
  expect(await (await launcher.control()).scale({ by: 2 })).toMatchObject({
    result: 'done',
    from: 1,
    to: 3,
    parked: [],
  })
  expect(listeningInodes(port).sort()).toEqual(before)
  await clients.more(300)
  const { failures } = await clients.stop()
  expect(failures).toEqual([])
  await launcher.stop()
})

test('signals: one worker more, one less, and never none', async () => {
  const { launcher } = await start(1)
  launcher.kill('SIGTTIN')
  await launcher.when('two serve', ({ slots, state }) => slots.length === 2 && state === 'serving')
  launcher.kill('SIGTTOU')
  await launcher.when('one serves', ({ slots }) => slots.length === 1)
  launcher.kill('SIGTTOU')
  expect(await launcher.event('scale.refused')).toMatchObject({ reason: '0 workers: give 1 to 1024' })
  const refused = await launcher.run('scale', '0', '--json')
  expect(refused).toMatchObject({ code: 2, stderr: /0 workers: give 1 to 1024/ })
  expect(JSON.parse(refused.stdout)).toMatchObject({ result: 'refused', from: 1, to: 1 })
  expect(await launcher.run('scale', '+999999999')).toMatchObject({ code: 2, stderr: /1000000000 workers: give 1 to/ })
  expect((await launcher.status()).slots).toHaveLength(1)
  await launcher.stop()
})

test('in a reload it waits for the end of the bake, and is done with the new version (D-12)', async () => {
  const { launcher, versions } = await start(2, ['--bake', '1s'])
  versions.deploy('two')
  const reload = launcher.reload('baked')
  await launcher.event('reload.baking')
  const scaled = (await launcher.control()).scale({ to: 3 })
  expect((await launcher.status()).slots).toHaveLength(2)
  expect(await reload).toMatchObject({ result: 'done', to: 2 })
  expect(await scaled).toMatchObject({ result: 'done', from: 2, to: 3 })
  const { slots } = await launcher.status()
  expect(slots.map(({ worker }) => worker?.generation)).toEqual([2, 2, 2])
  await launcher.stop()
})

test('status shows a scale that waits for its workers, and nothing worse', async () => {
  const { launcher, versions } = await start(2)
  versions.deploy('never-listens')
  const control = await launcher.control()
  const up = control.scale({ by: 1 })
  await launcher.when('it is under way', ({ scale }) => scale?.from === 2 && scale.to === 3)
  expect((await launcher.status()).state).toBe('serving')
  expect((await launcher.run('status')).stdout).toContain('  scale: from 2 to 3 workers\n')
  expect(await control.scale({ to: 2 })).toMatchObject({ result: 'done', from: 2, to: 2 })
  expect(await up).toMatchObject({ result: 'done', to: 2 })
  expect((await launcher.status()).scale).toBe(null)
  await launcher.stop()
})

test('workers that cannot serve are not taken: as many as before do', async () => {
  const { launcher, port, versions } = await start(2)
  versions.deploy('exits-at-load 3')
  const { code, stderr } = await launcher.run('scale', '+2')
  expect(code).toBe(4)
  expect(stderr).toMatch(/^scale aborted: the worker of slot [23] \(pid \d+\) exited with code 3\n2 workers serve\n$/)
  expect((await launcher.status()).slots.map(({ worker }) => worker?.state)).toEqual(['serving', 'serving'])
  expect(listeningInodes(port)).toHaveLength(2)
  await launcher.stop()
})

test('where the kernel takes no steering program nothing is lost either: what is parked stays so (M-03)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '3', '--park', '50ms'],
    env: {
      REUSEPORT_RUN_BINDING: fixture('launchers/addon-without-steering.cjs'),
      REAL_BINDING: process.env['REUSEPORT_RUN_BINDING'] ?? join(ROOT, 'build', 'Release', 'reuseport.node'),
    },
  })
  expect((await launcher.status()).steering).toBe('none')
  expect((await launcher.run('status')).stdout).toContain('  steering: none\n')
  const inodes = listeningInodes(port).sort()
  const clients = new Clients(port)
  const control = await launcher.control()
  for (let round = 0; round < 3; round++) {
    expect(await control.scale({ to: 1 })).toMatchObject({ result: 'done', parked: [1, 2] })
    await clients.more(60)
    expect(await control.scale({ to: 3 })).toMatchObject({ result: 'done', parked: [] })
    await clients.more(60)
  }
  expect((await clients.stop()).failures).toEqual([])
  expect(listeningInodes(port).sort()).toEqual(inodes)
  await launcher.stop()
})

test('a launcher that has no descriptor left to look around with keeps what is parked, and goes on (G-03)', async () => {
  const { launcher, port } = await start(2, ['--park', '1s'])
  await (await launcher.control()).scale({ to: 1 })
  await launcher.event('worker.exited')
  const open = descriptorsOf(launcher.pid)
  let free = 0
  while (open.has(free)) free += 1
  const limit = (descriptors: number): void =>
    void execFileSync('prlimit', ['--pid', String(launcher.pid), `--nofile=${descriptors}:`])
  limit(free)
  expect(await launcher.event('socket.unseen')).toMatchObject({ slot: 1, reason: expect.stringContaining('EMFILE') })
  expect(listeningInodes(port)).toHaveLength(2)
  limit(512)
  await closed(launcher, 1)
  await launcher.stop()
})

test('--balance client: a client meets the same worker, before and after a reload', async () => {
  const { launcher, port } = await start(4, ['--balance', 'client'])
  const slotOf = async (): Promise<number> => {
    const seen = new Set(await Promise.all(Array.from({ length: 30 }, () => ask(port))))
    expect(seen.size).toBe(1)
    return (await launcher.pids()).map(String).indexOf([...seen][0] as string)
  }
  const slot = await slotOf()
  await launcher.reload('baked')
  expect(await slotOf()).toBe(slot)
  await launcher.stop()
})
