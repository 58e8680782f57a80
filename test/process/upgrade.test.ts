import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients, inHand } from '../support/clients'
import { copyOfPackage } from '../support/copy'
import { runCli, type StartOptions, startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { descriptorsOf, isAlive, listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

interface Started {
  readonly launcher: TestLauncher
  readonly port: number
  readonly versions: Versions
}

async function start(options: readonly string[] = ['-n', '2'], more: Partial<StartOptions> = {}): Promise<Started> {
  const port = await freePort()
  const versions = new Versions()
  const cwd = versions.directory
  return { launcher: await startLauncher({ command: versions.command(port), options, cwd, ...more }), port, versions }
}

/** One upgrade after the other, each with its end seen. */
async function upgrade(launcher: TestLauncher, times = 1): Promise<void> {
  for (let n = 0; n < times; n++)
    expect(await (await launcher.control()).upgrade()).toMatchObject({ result: 'done', reason: null, stderr: [] })
}

/** The addon that a process has loaded, by its map of memory (proc(5)). */
function addonOf(pid: number): string | undefined {
  return /(\/.*\/reuseport\.node)$/m.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[1]
}

test('under load: the same pid, the same workers, the same sockets; no client notices, and nothing is left of it (C-10, C-11)', async () => {
  const { launcher, port, versions } = await start()
  const workers = await launcher.pids()
  const inodes = listeningInodes(port)
  const clients = new Clients(port)
  await clients.more(50)
  await upgrade(launcher)
  const before = descriptorsOf(launcher.pid).size
  const { startedAt } = await launcher.status()

  await upgrade(launcher, 3)
  await clients.more(50)
  expect(await launcher.pids()).toEqual(workers)
  expect(listeningInodes(port)).toEqual(inodes)
  // The connections that asked for the upgrades close when they are answered.
  await until('no descriptor more', () => descriptorsOf(launcher.pid).size <= before)
  expect(await launcher.status()).toMatchObject({
    pid: launcher.pid,
    state: 'serving',
    startedAt,
    upgradedAt: expect.stringMatching(/^20/),
  })
  // What it does with its workers it still does.
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done', from: 1, to: 2 })
  expect(await ask(port, '/version')).toBe('two')
  expect((await clients.stop()).failures).toEqual([])
  expect(workers.filter(isAlive)).toEqual([])
  // Workers know nothing of it.
  const env = JSON.parse(await ask(port, '/env')) as Record<string, string>
  expect([env['LD_PRELOAD'], env['REUSEPORT_RUN_STATE']]).toEqual([process.env['LD_PRELOAD'], undefined])
  await launcher.stop()
})

test('the verb says from what to what; --json says it to programs', async () => {
  const { launcher } = await start(['-n', '1'])
  const { code, stdout } = await launcher.run('upgrade')
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^upgraded from \S+ \(Node \S+\) to \S+ \(Node \S+\); nobody led for \d+ ms\n$/),
  })
  const json = await launcher.run('upgrade', '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({ result: 'done', to: { node: expect.stringMatching(/^v\d/) } })
  expect((await launcher.run('status')).stdout).toMatch(/, upgraded \d+ ms ago, /)
  await launcher.stop()
})

test('SIGUSR2: a new launcher, then new workers', async () => {
  const { launcher, port, versions } = await start()
  const clients = new Clients(port)
  await clients.more(20)
  versions.deploy('two')
  launcher.kill('SIGUSR2')
  await launcher.event('reload.retired')
  const told = launcher.events.map(({ msg }) => msg).filter((msg) => /^(upgrade|reload)\.(started|done)$/.test(msg))
  expect(told).toEqual(['upgrade.started', 'upgrade.done', 'reload.started', 'reload.done'])
  expect(await ask(port, '/version')).toBe('two')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('who waits for the end of a drain gets its answer from the new one, and nothing in hand is cut', async () => {
  const { launcher, port } = await start()
  const slow = await inHand(port, 1_500)
  const verdict = launcher.reload('retired')
  await launcher.event('reload.done')
  await upgrade(launcher, 2)
  expect(await slow.answer).toBe(`${slow.pid} end`)
  expect(await verdict).toMatchObject({ result: 'done', draining: 0, to: 2 })
  await launcher.stop()
})

test('it waits for the end of a reload; a second one that is asked for meanwhile is the same one (C-09)', async () => {
  const { launcher } = await start(['-n', '2', '--bake', '500ms'], { bake: null })
  const verdict = launcher.reload('baked')
  await launcher.event('reload.admitted')
  const client = await launcher.control()
  const [one, two, reload] = await Promise.all([client.upgrade(), client.upgrade(), launcher.reload('baked')])
  expect([one.result, two.result, reload.result, (await verdict).result]).toEqual(['done', 'done', 'done', 'done'])
  const order = launcher.events
    .map(({ msg }) => msg)
    .filter((msg) => /^(upgrade\.(started|done)|reload\.(started|done))$/.test(msg))
  expect(order).toEqual([
    ...['reload.started', 'reload.done', 'upgrade.started', 'upgrade.done'],
    ...['reload.started', 'reload.done'],
  ])
  await launcher.stop()
})

test('stop wins: who waits for an upgrade is told, and the launcher ends', async () => {
  const { launcher } = await start(['-n', '1', '--bake', '20s'], { bake: null })
  const client = await launcher.control()
  const reload = launcher.reload('baked')
  await launcher.event('reload.admitted')
  const waiting = client.upgrade()
  const status = await launcher.status()
  expect(status.state).toBe('baking')
  await client.stop()
  expect(await waiting).toMatchObject({ result: 'stopped', reason: 'the launcher stops' })
  expect(await reload).toMatchObject({ result: 'stopped' })
  await launcher.leavesNothing()
})

test('a stop in the middle of an upgrade is obeyed by whichever launcher there is', async () => {
  for (const msg of ['upgrade.started', 'upgrade.done']) {
    const { launcher } = await start(['-n', '1'])
    launcher.kill('SIGUSR2')
    await launcher.event(msg)
    await launcher.stop()
  }
})

test('a worker that crashes meanwhile is replaced, timers go on, and a scale is finished (C-07)', async () => {
  const { launcher, port } = await start(['-n', '2', '--standby', '1', '--hang-timeout', '500ms'])
  await launcher.when('the spare is ready', ({ standby }) => standby[0]?.isReady === true)
  const [first] = await launcher.pids()
  const client = await launcher.control()
  const done = client.upgrade()
  await launcher.event('upgrade.started')
  process.kill(first as number, 'SIGKILL')
  expect(await done).toMatchObject({ result: 'done' })
  await launcher.when('both serve', ({ slots }) =>
    slots.every(({ worker }) => worker?.state === 'serving' && worker.pid !== first),
  )
  const clients = new Clients(port)
  const scaled = client.scale({ to: 3 })
  await upgrade(launcher)
  expect(await scaled).toMatchObject({ result: 'done', to: 3 })
  await clients.more(20)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('health checks, steering and a unix path go on', async () => {
  const path = join(temporaryDirectory(), 'a.sock')
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', fixture('servers/many.cjs'), `a=${port}`, `b=${path}`],
    options: ['-n', '2', '--balance', 'random', '--health', '/', '--liveness', '100ms'],
  })
  await upgrade(launcher, 2)
  const clients = new Clients(port)
  await clients.more(20)
  expect(await ask(0, '/', { socketPath: path })).not.toBe('')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(await ask(0, '/', { socketPath: path })).not.toBe('')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('a program of any kind: sockets, doors and the time until it is ready are taken over', async () => {
  const given = join(temporaryDirectory(), 'given')
  execFileSync('cc', ['-O1', '-o', given, fixture('programs/given.c')])
  const port = await freePort()
  const launcher = await startLauncher({
    command: [given],
    cwd: new Versions('good').directory,
    options: [
      '-n',
      '2',
      '--listen',
      `tcp:127.0.0.1:${port}`,
      '--ready',
      'alive:700ms',
      '--health',
      '/',
      '--liveness',
      '50ms',
    ],
  })
  const pids = await launcher.pids()
  await upgrade(launcher, 2)
  expect(await launcher.pids()).toEqual(pids)
  const clients = new Clients(port, 1, false)
  await clients.more(10)
  const verdict = launcher.reload()
  await launcher.event('worker.spawned', ({ generation }) => generation === 2)
  expect(await verdict).toMatchObject({ result: 'done' })
  await upgrade(launcher)
  await clients.more(10)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('Node and launcher are found anew, through PATH and symlinks, and back again (C-12)', async () => {
  const place = temporaryDirectory()
  const turn = (name: string, target: string): void => {
    symlinkSync(target, join(place, `${name}.new`))
    renameSync(join(place, `${name}.new`), join(place, name))
  }
  for (const release of ['1', '2']) copyOfPackage(join(place, release))
  const other = join(place, 'other', 'node')
  mkdirSync(join(place, 'other'))
  mkdirSync(join(place, 'bin'))
  copyFileSync(TEST_NODE, other)
  turn('bin/node', TEST_NODE)
  turn('current', '1')
  const { launcher, port } = await start(['-n', '1'], {
    main: join(place, 'current', 'dist', 'cli', 'main.js'),
    under: ['sh', '-c', 'shift; exec node "$@"', 'sh'],
    env: { PATH: `${join(place, 'bin')}:${process.env['PATH']}` },
  })
  const [worker] = await launcher.pids()
  const runs = (): string => readlinkSync(`/proc/${launcher.pid}/exe`)
  const first = runs()
  turn('bin/node', other)
  turn('current', '2')
  await upgrade(launcher)
  expect(runs()).toBe(other)
  expect(addonOf(launcher.pid)).toBe(join(place, '2', 'build', 'Release', 'reuseport.node'))
  turn('bin/node', TEST_NODE)
  turn('current', '1')
  await upgrade(launcher)
  expect(runs()).toBe(first)
  expect(addonOf(launcher.pid)).toBe(join(place, '1', 'build', 'Release', 'reuseport.node'))
  expect(await launcher.pids()).toEqual([worker])
  expect(await ask(port)).toBe(String(worker))
  await launcher.stop()
})

test('a client that has connected and not asked yet is answered by the new one', async () => {
  const { launcher } = await start(['-n', '1'])
  const call = request({ socketPath: join(launcher.directory, 'control.sock'), path: '/status', agent: false })
  const answer = new Promise<number | undefined>((done, fail) => {
    call.on('response', (response) => {
      response.resume()
      done(response.statusCode)
    })
    call.on('error', fail)
  })
  const connected = new Promise((done) => call.on('socket', (socket) => socket.on('connect', done)))
  await connected
  await upgrade(launcher)
  call.end()
  expect(await answer).toBe(200)
  await launcher.stop()
})

test('without the object that is preloaded it works too, and says that signals should be left alone', async () => {
  const place = temporaryDirectory()
  const main = copyOfPackage(place)
  rmSync(join(place, 'build', 'Release', 'shield.node'))
  const { launcher } = await start(['-n', '1'], { main })
  await upgrade(launcher)
  await launcher.event('upgrade.unshielded')
  await launcher.stop()
})

test('a name that nobody has', async () => {
  const { code, stderr } = await runCli(['upgrade', '--name', 'nobody', '--runtime-dir', temporaryDirectory()])
  expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining('ERR_NO_LAUNCHER') })
})
