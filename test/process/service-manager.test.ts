import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, test } from 'vitest'
import type { Status } from '../../src/control-protocol'
import { parseStoredName } from '../../src/launcher/service/stored-name'
import { native } from '../../src/native'
import { ask, askJson } from '../support/clients'
import { runCli, TestLauncher, temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { isAlive, listeningInodes } from '../support/processes'
import { FakeServiceManager } from '../support/service-manager'
import { until } from '../support/until'
import { Versions } from '../support/versions'

test('start, reload, failed reload, undone reload and stop are told in order', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions(), await freePort()]
  const launcher = manager.start({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2', '--bake', '1s'],
    bake: null,
    env: { WATCHDOG_USEC: '200000', WATCHDOG_PID: '' },
  })
  await launcher.serving()
  const ready = await manager.hears('READY=1')
  expect(ready).toMatchObject({
    pid: launcher.pid,
    lines: ['READY=1', `MAINPID=${launcher.pid}`, 'STATUS=generation 1: 2 of 2 workers serve'],
  })
  expect(manager.plot()).toEqual(['READY=1'])
  expect(manager.told[0]?.lines).toEqual(['STATUS=starting', 'EXTEND_TIMEOUT_USEC=30000000'])

  // None of it is a worker's business.
  const names = Object.keys(await askJson<object>(port, '/env'))
  expect(names.filter((name) => /^(NOTIFY_SOCKET|WATCHDOG_|FDSTORE|LISTEN_)/.test(name))).toEqual([])

  versions.deploy('two')
  const before = process.hrtime.bigint() / 1_000n
  launcher.kill('SIGHUP')
  const { lines } = await manager.hears('RELOADING=1')
  const usec = BigInt(lines[1]?.slice('MONOTONIC_USEC='.length) as string)
  expect(usec >= before && usec <= process.hrtime.bigint() / 1_000n).toBe(true)
  expect(lines.slice(2)).toEqual([
    'STATUS=generation 1: 2 of 2 workers serve; reload 1 to generation 2: resolve',
    'EXTEND_TIMEOUT_USEC=30000000',
  ])
  await manager.hears(/^STATUS=.*reload 1 to generation 2: bake$/)
  await manager.hears('STATUS=generation 2: 2 of 2 workers serve; reload 1 done')

  versions.deploy('exits-at-load 3')
  expect(await launcher.reload('baked')).toMatchObject({ result: 'aborted' })
  await manager.hears(/^STATUS=generation 2: 2 of 2 workers serve; reload 2 aborted \(start\): .*exited with code 3$/)
  versions.deploy('three')
  const from = launcher.events.length
  const verdict = launcher.reload('baked')
  await launcher.event('reload.baking', undefined, from)
  const [young] = launcher.events.slice(from).filter(({ msg }) => msg === 'worker.serving')
  process.kill(Number(young?.['workerPid']), 'SIGKILL')
  expect(await verdict).toMatchObject({ result: 'undone' })
  await manager.hears(/^STATUS=.*reload 3 undone \(bake\): /)
  expect(manager.plot()).toEqual(['READY=1', ...Array(3).fill(['RELOADING=1', 'READY=1']).flat()])

  launcher.kill('SIGTERM')
  // The worker that was undone may be on its way out still.
  expect((await manager.hears('STOPPING=1')).lines).toEqual([
    'STOPPING=1',
    expect.stringMatching(/^STATUS=stopping: [23] workers left$/),
    'EXTEND_TIMEOUT_USEC=30000000',
  ])
  await launcher.leavesNothing()
  expect(manager.plot().at(-1)).toBe('STOPPING=1')
  // It was not asked for by this process's manager.
  expect(manager.last('WATCHDOG')).toBeUndefined()
})

test('a start that fails says why', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions('exits-at-load 3'), await freePort()]
  const launcher = manager.start({ command: versions.command(port), cwd: versions.directory, exitCode: 3 })
  await launcher.leavesNothing()
  expect(manager.plot()).toEqual(['STOPPING=1'])
  expect(manager.last('STATUS')).toMatch(/^the start has failed: .*exited with code 3$/)

  const none = manager.start({ command: ['no-such-program'], cwd: versions.directory, exitCode: 127 })
  await none.leavesNothing()
  expect(manager.told.at(-1)).toMatchObject({ pid: none.pid, lines: ['STATUS=no-such-program: command not found'] })
})

test('the watchdog is fed by a launcher with a worker that is well, and by no other', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions(), await freePort()]
  const launcher = manager.start({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['--hang-timeout', '500ms', '--hang-kill', '0'],
    env: { WATCHDOG_USEC: '200000' },
  })
  await launcher.serving()
  const fed = (): number[] => manager.told.flatMap(({ lines, at }) => (lines.includes('WATCHDOG=1') ? at : []))
  await until('it is fed', () => fed().length > 5)
  const gaps = fed().map((at, index, all) => at - (all[index - 1] ?? at))
  // Twice as often as it must be: a gap as long as that would have been the end.
  expect(gaps.sort((a, b) => a - b).at(gaps.length >> 1)).toBeLessThan(150)

  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGSTOP')
  await launcher.event('worker.stuck')
  const before = fed().length
  const from = manager.told.length
  await manager.hears(/^STATUS=generation 1: 0 of 1 worker serve/, from)
  process.kill(pid, 'SIGCONT')
  await launcher.event('worker.back')
  await until('it is fed again', () => fed().length > before)
  const [last, next] = fed().slice(before - 1) as [number, number]
  expect(next - last).toBeGreaterThan(200)
  await launcher.stop()
})

/** So many that with two sockets each has some. */
const CLIENTS = 64

/** Whatever it is given, and says so. */
const SERVES_ALL = `
const names = process.env.LISTEN_FDNAMES.split(':')
let open = names.length
const server = () => require('node:http').createServer((_, response) => response.setHeader('connection', 'close').end(String(process.pid)))
names.forEach((_, index) => server().listen({ fd: 3 + index }, () => {
  if (--open === 0) require('node:child_process').execFileSync('systemd-notify', ['--ready'])
}))`

test('launcher and all workers are killed: who waits is served after the next start, by as many workers (B-13)', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions(), await freePort()]
  const start = (workers: number): TestLauncher =>
    manager.start({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', String(workers), '--park', '200ms'],
    })
  const first = await start(3).serving()
  await until('three sockets are kept', () => manager.store.size === 3)
  const inodes = listeningInodes(port)
  const workers = await first.pids()
  // Those who come now find nobody.
  for (const pid of workers) process.kill(pid, 'SIGSTOP')
  const clients = Array.from({ length: CLIENTS }, () => ask(port).catch(String))
  await first.when('all of them wait', ({ listeners: [one] }) => {
    const queues = one?.sockets.map(({ queue }) => queue ?? 0) ?? []
    return queues.every((queue) => queue > 0) && queues.reduce((sum, queue) => sum + queue, 0) === CLIENTS
  })
  for (const pid of [first.pid, ...workers]) process.kill(pid, 'SIGKILL')
  await until('nobody is left', () => !workers.some(isAlive))
  expect(listeningInodes(port)).toEqual(inodes)

  const second = await start(2).serving()
  const answers = await Promise.all(clients)
  const now = new Set(answers)
  expect([...now].filter((answer) => !/^\d+$/.test(answer) || workers.includes(Number(answer)))).toEqual([])
  expect(second.events.find(({ msg }) => msg === 'store.taken')).toMatchObject({ address: `tcp *:${port}`, sockets: 3 })
  // One of them goes in good order, and out of the store with that.
  await second.event('socket.closed')
  await until('two are left', () => manager.store.size === 2)
  expect(listeningInodes(port)).toHaveLength(2)
  expect(listeningInodes(port).every((inode) => inodes.includes(inode))).toBe(true)
  const names = [...manager.store.keys()].map((name) => parseStoredName(name))
  expect(names.map((name) => name?.index).sort()).toEqual([0, 1])
  expect((await second.status()).slots).toHaveLength(2)
  await second.stop()
  // It may be a restart: who comes now waits.
  expect(manager.store.size).toBe(2)
  const waits = ask(port)
  await until('it is in a queue', () => [...manager.store.values()].some((fd) => native().acceptQueue(fd).length === 1))
  const third = await start(2).serving()
  expect(await third.pids()).toContain(Number(await waits))
  await third.stop()
}, 60_000)

test('the sockets of a program without our agent are kept, too: unix paths while the path is there', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions(), await freePort()]
  const path = join(temporaryDirectory(), 'app.sock')
  const start = (workers: number): TestLauncher =>
    manager.start({
      command: ['node', '-e', SERVES_ALL],
      cwd: versions.directory,
      options: ['-n', String(workers), '--listen', `tcp:${port}`, '--listen', `unix:${path}`, '--ready', 'notify'],
    })
  const first = await start(2).serving()
  const status = await first.status()
  const workers = await first.pids()
  expect(manager.store.size).toBe(3)
  for (const pid of workers) process.kill(pid, 'SIGSTOP')
  const clients = [ask(0, '/', { socketPath: path }), ...Array.from({ length: CLIENTS / 4 }, () => ask(port))]
  await first.when('all of them wait', ({ listeners: [tcp] }) => {
    const queues = tcp?.sockets.map(({ queue }) => queue ?? 0) ?? []
    return queues.reduce((sum, queue) => sum + queue, 0) === CLIENTS / 4
  })
  for (const pid of [first.pid, ...workers]) process.kill(pid, 'SIGKILL')
  await until('nobody is left', () => !workers.some(isAlive))

  const second = await start(2).serving()
  const now = (await second.pids()).map(String)
  expect((await Promise.all(clients)).filter((pid) => !now.includes(pid))).toEqual([])
  const inodes = ({ listeners }: Status): number[] =>
    listeners.flatMap(({ sockets }) => sockets.map(({ inode }) => inode))
  expect(inodes(await second.status())).toEqual(inodes(status))
  await second.stop()
  // Where its path goes, nobody could be sent to it; the other two may be wanted again.
  expect([...manager.store.keys()].map((name) => parseStoredName(name)?.listener)).toEqual(
    Array(2).fill(`tcp *:${port}`),
  )
  expect(existsSync(path)).toBe(false)

  // Those that are too many have nobody who could stand in.
  const third = await start(1).serving()
  expect(third.events.filter(({ msg }) => msg === 'store.dropped')).toMatchObject([
    { address: `tcp *:${port}`, slot: 1 },
  ])
  const kept = (): (string | undefined)[] => [...manager.store.keys()].map((name) => parseStoredName(name)?.listener)
  await until('one is left', () => kept().join() === [`tcp *:${port}`, `unix ${path}`].join())
  await third.stop()
})

test('a socket leaves its group when the manager has let go of it, and no sooner', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions(), await freePort()]
  const launcher = await manager
    .start({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', '2', '--park', '1ms'],
    })
    .serving()
  manager.hesitate()
  await launcher.run('scale', '1')
  await manager.hears('BARRIER=1')
  expect(listeningInodes(port)).toHaveLength(2)
  manager.act()
  await launcher.event('socket.closed')
  expect(listeningInodes(port)).toHaveLength(1)
  // Nobody had looked while it had a copy.
  expect(launcher.events.filter(({ msg }) => msg === 'socket.held')).toEqual([])
  await launcher.stop()
})

test('a port that the program has given up is let go of', async () => {
  const [manager, versions, port, other] = [
    new FakeServiceManager(),
    new Versions(),
    await freePort(),
    await freePort(),
  ]
  const start = (on: number): TestLauncher =>
    manager.start({ command: versions.command(on), cwd: versions.directory, options: ['--ready-timeout', '1s'] })
  await (await start(port).serving()).stop()
  expect(manager.store.size).toBe(1)
  const second = await start(other).serving()
  expect(await second.event('store.dropped')).toMatchObject({ address: `tcp *:${port}`, slot: 0 })
  await until('only the new one is kept', () => [...manager.store.keys()].every((name) => name.includes(String(other))))
  expect(listeningInodes(port)).toEqual([])
  await second.stop()
})

test('a manager that is busy hears everything later, in order; more than it keeps is said', async () => {
  const [manager, versions, port] = [new FakeServiceManager(), new Versions(), await freePort()]
  manager.isBusy = true
  // More than there is room for in its socket.
  const launcher = await manager
    .start({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', '4'],
      env: { WATCHDOG_USEC: '20000', FDSTORE: '3' },
    })
    .serving()
  await launcher.event('store.full')
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done' })
  expect(manager.told).toEqual([])
  manager.isBusy = false
  await manager.hears('STATUS=generation 2: 4 of 4 workers serve; reload 1 done')
  expect(manager.plot()).toEqual(['READY=1', 'RELOADING=1', 'READY=1'])
  expect(manager.store.size).toBe(3)
  await launcher.stop()
})

test("--pid-file is there while the launcher is, and no longer; another process's is left alone (H-01)", async () => {
  const [versions, port] = [new Versions(), await freePort()]
  const file = join(temporaryDirectory(), 'app.pid')
  const start = (): TestLauncher =>
    new TestLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['--pid-file', relative(versions.directory, file)],
    })
  const first = await start().serving()
  expect(readFileSync(file, 'utf8')).toBe(`${first.pid}\n`)
  await first.stop()
  expect(existsSync(file)).toBe(false)
  const second = await start().serving()
  writeFileSync(file, '1\n')
  await second.stop()
  expect(readFileSync(file, 'utf8')).toBe('1\n')

  const refused = await runCli(['--pid-file', '/no/such/directory/pid', '--', ...versions.command(port)], {
    env: { RUNTIME_DIRECTORY: join(temporaryDirectory(), 'run') },
    cwd: versions.directory,
  })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('ERR_PID_FILE: cannot write /no/such/directory/pid: ENOENT')
})
