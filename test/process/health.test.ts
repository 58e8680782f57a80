import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectRefused, type Scene } from '../support/bad-version'
import { ask, Clients, tryConnect } from '../support/clients'
import { startLauncher, TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

interface HealthScene extends Scene {
  /** What the health path of a version answers from now on. */
  health(version: string, answer: string): void
}

async function start(options: readonly string[] = [], more: readonly string[] = []): Promise<HealthScene> {
  const [port, versions] = [await freePort(), new Versions()]
  const health = (version: string, answer: string): void => {
    // It may be read at any moment: never half of it.
    const file = join(versions.directory, `health-${version}`)
    writeFileSync(`${file}~`, answer)
    renameSync(`${file}~`, file)
  }
  health('one', '200')
  const launcher = await startLauncher({
    command: ['node', fixture('servers/patient.cjs'), String(port), ...more],
    cwd: versions.directory,
    options: ['-n', '2', '--health', '/healthz', '--health-interval', '20ms', ...options],
  })
  return { launcher, port, versions, health }
}

test('a held version is asked until it is well, and gets no public connection before (E-03, E-08)', async () => {
  const { launcher, port, versions, health } = await start()
  // Without a health check there is one that says so.
  expect((await launcher.status()).warnings).toEqual([])
  const clients = new Clients(port)
  const old = await launcher.pids()
  versions.deploy('two')
  health('two', '503')
  const verdict = launcher.reload('admitted')
  await launcher.when('both are held', ({ generations }) => generations.some(({ workers }) => workers.length === 2))
  await launcher.event('worker.spawned', ({ generation, slot }) => generation === 2 && slot === 1)
  await clients.more(500)
  expect([...clients.answers.keys()].map(Number).sort()).toEqual([...old].sort())
  health('two', '200')
  expect(await verdict).toMatchObject({ result: 'done', reason: null })
  for (const { ms } of (await verdict).workers) expect(ms.proven).toBeGreaterThan(ms.ready as number)
  expect(await ask(port, '/version')).toBe('two')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test.each([
  ['500', 'it answered GET /healthz with 500: "I am two"'],
  ['302', 'it answered GET /healthz with 302: "I am two"'],
  ['hang', 'it did not answer GET /healthz within 200 ms'],
])(
  'a version whose health answer is %s is refused with that, and the next one is as good as ever (D-04, D-05)',
  async (answer, reason) => {
    const scene = await start(['--ready-timeout', '4s', '--health-timeout', '200ms'])
    scene.versions.deploy('two')
    scene.health('two', answer)
    const repair = (): string => {
      scene.health('three', '200')
      return scene.versions.deploy('three')
    }
    await expectRefused({ ...scene, repair }, { step: 'probe', reason: expect.stringContaining(reason) })
  },
)

test('a version that falls ill in its bake is undone, and the reason says what it answered', async () => {
  const { launcher, port, versions, health } = await start(['--bake', '20s'])
  const clients = new Clients(port)
  const old = await launcher.pids()
  versions.deploy('two')
  health('two', '200')
  const verdict = launcher.reload('baked')
  for (const slot of [0, 1])
    await launcher.event('worker.serving', (event) => event['generation'] === 2 && event['slot'] === slot)
  await clients.more(200)
  health('two', '500')
  expect(await verdict).toMatchObject({
    result: 'undone',
    step: 'bake',
    reason: expect.stringContaining('its health check failed: it answered GET /healthz with 500: "I am two"'),
  })
  expect(await launcher.pids()).toEqual(old)
  expect(await ask(port, '/version')).toBe('one')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('after the bake nobody is asked any more (E-04)', async () => {
  const { launcher, port, versions, health } = await start(['-n', '1', '--bake', '300ms'])
  const clients = new Clients(port)
  versions.deploy('two')
  health('two', '200')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  const asked = Number(await ask(port, '/asked'))
  // Two to prove itself, and more than one of those that a bake of 300 ms has room for.
  expect(asked).toBeGreaterThan(3)
  await clients.more(1_000)
  expect(Number(await ask(port, '/asked'))).toBe(asked)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('--health-port says which of several servers is asked', async () => {
  const [first, second, versions] = [await freePort(), await freePort(), new Versions()]
  writeFileSync(join(versions.directory, 'health-one'), '200')
  const scene = (...more: string[]): TestLauncher =>
    new TestLauncher({
      command: ['node', fixture('servers/patient.cjs'), `${first},${second}`],
      cwd: versions.directory,
      options: ['--health', '/healthz', '--health-interval', '20ms', '--ready-timeout', '4s', ...more],
      exitCode: 1,
    })
  const launcher = await scene('--health-port', String(second)).serving()
  launcher.expectExit(0)
  await launcher.stop()
  for (const [more, reason] of [
    [[], 'it answered GET /healthz with 404'],
    [['--health-port', '1'], 'it does not listen on port 1'],
  ] as const) {
    const refused = scene(...more)
    await refused.event('start.failed', (event) => String(event['reason']).includes(reason))
    await refused.leavesNothing()
  }
})

test('at the first start nothing is open before the version is well (E-07)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  writeFileSync(join(versions.directory, 'health-one'), '503')
  const launcher = new TestLauncher({
    command: ['node', fixture('servers/patient.cjs'), String(port)],
    cwd: versions.directory,
    options: ['--health', '/healthz', '--health-interval', '20ms'],
  })
  writeFileSync(join(versions.directory, 'healthy'), '200')
  await launcher.event('worker.spawned')
  for (let n = 0; n < 20; n++) expect(await tryConnect(port)).toBe('ECONNREFUSED')
  renameSync(join(versions.directory, 'healthy'), join(versions.directory, 'health-one'))
  await launcher.serving()
  expect(await ask(port, '/version')).toBe('one')
  await launcher.stop()
})

test('a health command asks the very worker, runs where it runs, and leaves nothing (D-04)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  writeFileSync(join(versions.directory, '.env'), 'WANTED=one')
  // What it reads over its socket must be the version that its own environment wants.
  const script = `require('http').get({ socketPath: process.env.HEALTH_SOCKET, path: '/version' }, (answer) =>
    answer.on('data', (data) => { console.log(String(data)); process.exitCode = String(data) === process.env.WANTED ? 0 : 3 }))`
  writeFileSync(join(versions.directory, 'check.cjs'), script)
  const launcher = await startLauncher({
    command: ['node', fixture('servers/patient.cjs'), String(port)],
    cwd: versions.directory,
    options: [
      ...['-n', '2', '--ready-timeout', '4s', '--env-file', '.env', '--health-interval', '20ms'],
      ...['--health-command', 'node check.cjs', '--health-timeout', '5s'],
    ],
  })
  const clients = new Clients(port)
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({
    result: 'aborted',
    step: 'probe',
    reason: expect.stringContaining('its health command exited with code 3: "two"'),
  })
  writeFileSync(join(versions.directory, '.env'), 'WANTED=two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(await ask(port, '/version')).toBe('two')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('--liveness: a worker that falls ill while it serves is replaced, the last one never (E-02)', async () => {
  const { launcher, port, health } = await start(['--liveness', '20ms'])
  const clients = new Clients(port)
  const old = await launcher.pids()
  health('one', '500')
  await launcher.event('worker.unhealthy', ({ replaced }) => replaced === true)
  await launcher.event('worker.unhealthy', ({ replaced }) => replaced === false)
  await clients.more(100)
  health('one', '200')
  const { slots } = await launcher.when('whole again', (status) =>
    status.slots.every(({ worker }) => worker?.state === 'serving'),
  )
  expect(slots.filter(({ worker }) => old.includes(worker?.pid as number))).toHaveLength(1)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test.each(['message', 'notify'])('--ready %s: a version is held until it says so, then it is asked', async (way) => {
  const [port, versions] = [await freePort(), new Versions()]
  const say = (version: string): void => writeFileSync(join(versions.directory, `ready-${version}`), '')
  say('one')
  const launcher = await startLauncher({
    command: ['node', fixture('servers/patient.cjs'), String(port), way],
    cwd: versions.directory,
    options: ['-n', '2', '--ready', way, '--ready-timeout', '4s'],
  })
  const clients = new Clients(port)
  const old = await launcher.pids()
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'aborted', step: 'ready' })
  expect(await launcher.pids()).toEqual(old)
  say('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(await ask(port, '/version')).toBe('two')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})
