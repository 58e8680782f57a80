import { describe, expect, test } from 'vitest'
import { ask, Clients, tryConnect } from '../support/clients'
import { startLauncher, TestLauncher } from '../support/launcher'
import { LineClients } from '../support/line-clients'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { signal } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/*
 * Programs that listen by listenReusePort: nothing reaches them before they have called listener.ready().
 */

interface Scene {
  launcher: TestLauncher
  port: number
  plain: number
  versions: Versions
}

async function start(version: string, options: readonly string[] = []): Promise<Scene> {
  const [port, plain, versions] = [await freePort(), await freePort(), new Versions(version)]
  const launcher = new TestLauncher({
    command: ['node', fixture('servers/library.cjs'), String(port), String(plain)],
    options: ['-n', '2', ...options],
    cwd: versions.directory,
  })
  return { launcher, port, plain, versions }
}

/** Pids of the workers of this generation, when all of them listen. */
async function listening({ launcher }: Scene, generation: number, workers = 2): Promise<number[]> {
  const said = (): number[] =>
    launcher.output.flatMap((line) => {
      const [, pid, own] = new RegExp(`^listens (\\d+) launcher (${generation})$`).exec(line) ?? []
      return own === undefined ? [] : [Number(pid)]
    })
  await until(
    () => `${workers} workers of generation ${generation} listen\n${launcher.story}`,
    () => said().length === workers,
  )
  return said()
}

test('a version that is ready late gets no connection before, at a reload and at the first start', async () => {
  const scene = await start('late')
  const { launcher, port, versions } = scene
  const first = await listening(scene, 1)
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
  expect((await launcher.status()).state).toBe('starting')
  for (const pid of first) signal(pid, 'SIGUSR2')
  await launcher.serving()

  const clients = new Clients(port)
  versions.deploy('late')
  const verdict = launcher.reload()
  const second = await listening(scene, 2)
  clients.answers.clear()
  await clients.more(200)
  // One that is ready is not enough.
  signal(second[0] as number, 'SIGUSR2')
  await launcher.when('one is ready', ({ reload }) => reload?.slots.some(({ phase }) => phase === 'ready') === true)
  await clients.more(200)
  expect([...clients.answers.keys()].map(Number).sort()).toEqual([...first].sort())

  signal(second[1] as number, 'SIGUSR2')
  expect(await verdict).toMatchObject({ result: 'done', reason: null, from: 1, to: 2 })
  clients.answers.clear()
  await clients.more(200)
  expect([...clients.answers.keys()].map(Number).sort()).toEqual([...second].sort())
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('a version that never says that it is ready is refused, and told what it did not call', async () => {
  const { launcher, port, versions } = await start('one', ['--ready-timeout', '4s'])
  await launcher.serving()
  const clients = new Clients(port)
  const old = await launcher.pids()
  versions.deploy('never')
  const { code, stdout, stderr } = await launcher.run('reload')
  expect(code).toBe(4)
  expect(stdout + stderr).toContain(`did not call listener.ready() for tcp *:${port} within 4000 ms`)
  expect(await launcher.pids()).toEqual(old)
  versions.deploy('three')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(await ask(port, '/version')).toBe('three')
  const { failures, count } = await clients.stop()
  expect(failures).toEqual([])
  expect(count).toBeGreaterThan(0)
  await launcher.stop()
})

test('at the first start it ends the launcher', async () => {
  const { launcher, port } = await start('never', ['-n', '1', '--ready-timeout', '500ms'])
  launcher.expectExit(1)
  await launcher.leavesNothing()
  const { reason } = await launcher.event('start.failed')
  expect(reason).toContain('did not call listener.ready()')
  expect(launcher.output.filter((line) => line.startsWith('listens'))).toHaveLength(1)
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
})

test('what it serves by a plain listen() before goes its own way', async () => {
  const scene = await start('beside', ['-n', '1'])
  const { launcher, port, plain } = scene
  await launcher.serving()
  const [pid] = await listening(scene, 1, 1)
  expect(await ask(plain)).toBe(String(pid))
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
  signal(pid as number, 'SIGUSR2')
  await until('it accepts', async () => (await tryConnect(port)) === 'connected')
  expect(await ask(port)).toBe(String(pid))
  await launcher.stop()
})

test('a version that used a plain listen() is replaced by one that uses the library, and back', async () => {
  const [port, versions] = [await freePort(), new Versions('one')]
  const script = `require(require('node:fs').readFileSync('version', 'utf8').trim() === 'two'
    ? ${JSON.stringify(fixture('servers/library.cjs'))} : ${JSON.stringify(fixture('servers/versioned.cjs'))})`
  const launcher = await new TestLauncher({
    command: ['node', '-e', script, '--', 'program', String(port)],
    options: ['-n', '2'],
    cwd: versions.directory,
  }).serving()
  const clients = new Clients(port)
  for (const version of ['two', 'three']) {
    versions.deploy(version)
    expect(await launcher.reload()).toMatchObject({ result: 'done' })
    expect(await ask(port, '/version')).toBe(version)
  }
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

describe('connections that speak a protocol of their own', () => {
  const startLines = (port: number, ...words: string[]): Promise<TestLauncher> =>
    startLauncher({
      command: ['node', fixture('servers/lines.cjs'), String(port), ...words],
      options: ['-n', '2', '--drain-timeout', words.length === 0 ? '60s' : '300ms'],
    })

  test('are ended by the program as soon as it is told: no deadline is waited for, and nothing is cut', async () => {
    const port = await freePort()
    const launcher = await startLines(port)
    const clients = new LineClients(port, 20)
    for (let reload = 1; reload <= 3; reload++) {
      const pids = await launcher.pids()
      await until('all are answered', () => clients.areWith(pids))
      const { result, workers } = await launcher.reload('retired')
      expect(result).toBe('done')
      const cuts = workers.map(({ cut, kinds }) => [cut, kinds.tcp?.cut ?? 0])
      expect(cuts).toEqual([
        [0, 0],
        [0, 0],
      ])
      // As often as there were connections, or once more where one came in between.
      expect(clients.byes).toBeGreaterThanOrEqual(20 * reload)
    }
    expect(launcher.output.filter((line) => line === 'drain 60000')).toHaveLength(6)
    await clients.stop()
    expect(clients.failures).toEqual([])
    await launcher.stop()
  })

  test('are cut at the deadline if it does not listen for it', async () => {
    const port = await freePort()
    const launcher = await startLines(port, 'deaf')
    const clients = new LineClients(port, 6)
    const pids = await launcher.pids()
    await until('all are answered', () => clients.areWith(pids))
    const { workers } = await launcher.reload('retired')
    expect(workers.reduce((sum, { cut }) => sum + cut, 0)).toBe(6)
    await clients.stop()
    await launcher.stop()
  })
})
