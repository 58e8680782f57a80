import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Status } from '../../src/control-protocol'
import { wasInHand } from '../support/bad-version'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { asNobody } from '../support/nobody'
import { fixture, ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { KeepAliveLoad } from '../support/worker/keep-alive-load'

interface Scene {
  readonly launcher: TestLauncher
  readonly port: number
  readonly versions: Versions
}

async function start(options: readonly string[] = [], workers = 2): Promise<Scene> {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', String(workers), '--park', '200ms', ...options],
  })
  return { launcher, port, versions }
}

const watched = ({ reload }: Status): boolean => reload?.step === 'canary'

/** How many of so many new connections, 50 at a time, each answer came by. */
async function answers(port: number, count: number, localAddress?: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  const one = async (): Promise<void> => {
    const answer = await ask(port, '/version', localAddress === undefined ? {} : { localAddress })
    counts.set(answer, (counts.get(answer) ?? 0) + 1)
  }
  for (let done = 0; done < count; done += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - done) }, one))
  return counts
}

/** What is left when a canary has gone: as many sockets as slots. */
async function gone({ launcher, port }: Scene, slots = 2): Promise<void> {
  await launcher.event('socket.closed', ({ slot }) => slot === slots)
  await until('its socket is closed', () => listeningInodes(port).length === slots)
}

test('10 % of the connections, by chance; then all, by --promote, and nothing is lost', async () => {
  const scene = await start()
  const { launcher, port, versions } = scene
  const old = await launcher.pids()
  const clients = new Clients(port)
  versions.deploy('two')
  const run = launcher.run('reload', '--canary', '10%', '--for', '1h', '--wait', 'retired', '--json')
  await launcher.when('the canary is watched', watched)
  const counts = await answers(port, 3_000)
  // 300 are expected; five standard deviations (16.4) to either side.
  expect(counts.get('two')).toBeGreaterThan(218)
  expect(counts.get('two')).toBeLessThan(382)
  expect((counts.get('one') ?? 0) + (counts.get('two') ?? 0)).toBe(3_000)
  expect(await launcher.pids()).toEqual(old)

  const { reload } = await launcher.when('it has said so', (now) => (now.reload?.canary?.canary.responses ?? 0) > 217)
  expect(reload?.canary).toMatchObject({ slot: 2, share: 0.1, by: 'random', promoted: null })
  expect(reload?.canary?.leftMs).toBeGreaterThan(3_500_000)
  const { canary: own, others } = reload?.canary ?? expect.fail('it is gone')
  expect(own.connections).toBeGreaterThanOrEqual(own.responses * 0.5)
  expect(others.responses).toBeGreaterThan(2_000)
  expect(own.errors + others.errors).toBe(0)
  expect(own.p95Ms).toBeGreaterThan(0)
  expect((await launcher.run('status')).stdout).toMatch(
    / {2}canary: slot 2, pid \d+, 10 % of the connections, watched for \d+ m?s, 60 min left\n {4}it {6}\d+ connections, \d+ answers, half of them within [\d.]+ ms, 95 % within [\d.]+ ms; 0 of them 5xx\n {4}others/,
  )

  const promoted = await launcher.run('reload', '--promote')
  expect(promoted).toMatchObject({ code: 0 })
  expect(promoted.stdout).toMatch(
    /^generation 2 serves; generation 1 has handed over\n {2}canary: slot 2, .*, promoted by order\n/,
  )
  const { code, stdout } = await run
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ result: 'done', canary: { slot: 2, promoted: 'order' }, notes: [] })
  await gone(scene)
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  expect([...(await answers(port, 50)).keys()]).toEqual(['two'])
  expect(await launcher.run('reload', '--promote')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^reuseport-run: ERR_CANARY: there is no canary that is watched\n {2}`reuseport-run status`/,
    ),
  })
  await launcher.stop()
})

test('by client a client always meets the same side, whatever becomes of the others; --abort undoes it', async () => {
  const scene = await start(['--balance', 'client'], 3)
  const { launcher, port, versions } = scene
  const addresses = Array.from({ length: 60 }, (_, index) => `127.0.${index % 7}.${1 + index}`)
  versions.deploy('two')
  const run = launcher.run('reload', '--canary', '50%', '--canary-by', 'client', '--for', '1h')
  await launcher.when('the canary is watched', watched)
  const sides = async (): Promise<string[]> =>
    (await Promise.all(addresses.map((address) => answers(port, 3, address)))).map((seen) => [...seen.keys()].join())
  const before = await sides()
  expect(new Set(before)).toEqual(new Set(['one', 'two']))
  // A worker less, and a new one: both change what is chosen among the others.
  versions.deploy('one')
  const [victim] = await launcher.pids()
  process.kill(victim as number, 'SIGKILL')
  await launcher.event('worker.exited', ({ workerPid }) => workerPid === victim)
  expect(await sides()).toEqual(before)
  await launcher.when('it is started again', ({ slots }) => slots.every(({ worker }) => worker?.state === 'serving'))
  expect(await sides()).toEqual(before)

  const aborted = await launcher.run('reload', '--abort')
  expect(aborted).toMatchObject({ code: 0 })
  expect(aborted.stdout).toMatch(
    /^reload undone in step canary: it was asked to be given up \(reload --abort\)\ngeneration 1 serves on\n/,
  )
  expect(await run).toMatchObject({ code: 4, stdout: '' })
  await gone(scene, 3)
  expect(new Set(await sides())).toEqual(new Set(['one']))
  expect(await launcher.run('reload', '--abort')).toMatchObject({ code: 1, stderr: /ERR_CANARY: no reload runs/ })
  await launcher.stop()
})

test('a canary that answers with 5xx is undone by itself, and its answers are all that anybody sees of it', async () => {
  const scene = await start([], 1)
  const { launcher, port, versions } = scene
  const clients = new Clients(port)
  const [old] = await launcher.pids()
  versions.deploy('errs')
  const { code, stdout, stderr } = await launcher.run('reload', '--canary', '50%', '--canary-max-5xx', '1%', '--json')
  expect(code).toBe(4)
  expect(stderr).toMatch(/^reload undone in step canary: of the canary's \d+ of \d+ answers were errors/)
  const { canary } = JSON.parse(stdout)
  expect(canary.canary.errors).toBe(canary.canary.responses)
  expect(canary.others.errors).toBe(0)
  await gone(scene, 1)
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  expect(await launcher.pids()).toEqual([old])
  await launcher.stop()
})

test.each([
  ['crashes', 'exits-in 600', [], /^the canary \(pid \d+\) exited with code 7$/],
  [
    'falls ill',
    'unwell-in 600',
    ['--health', '/healthz', '--health-interval', '50ms'],
    /^the canary .* its health check failed: .* with 503/,
  ],
  [
    'stands still',
    'spins-in 600',
    ['--hang-timeout', '500ms', '--kill-after', '200ms', '--drain-timeout', '1s'],
    /^the canary .* its event loop has not turned/,
  ],
] as const)('a canary that %s is undone by itself', async (_what, version, options, reason) => {
  const scene = await start(options)
  const { launcher, port, versions } = scene
  const clients = new Clients(port)
  const old = await launcher.pids()
  versions.deploy(version)
  const verdict = await (await launcher.control()).reload({ canary: plan({ share: 0.3 }) })
  expect(verdict).toMatchObject({
    result: 'undone',
    step: 'canary',
    reason: expect.stringMatching(reason),
    undo: { ms: 0 },
  })
  await gone(scene)
  await clients.more(100).catch(() => {})
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !wasInHand(failure))).toEqual([])
  expect(failures.length).toBeLessThanOrEqual(version.startsWith('unwell') ? 0 : clients.size)
  expect(await launcher.pids()).toEqual(old)
  await launcher.stop()
})

function plan(more: { share?: number; forMs?: number }) {
  return { share: 0.1, by: 'random', forMs: 3_600_000, max5xx: null, maxLatency: null, ...more } as const
}

test('its time passes, and all others follow; what was asked for meanwhile comes after it', async () => {
  const scene = await start()
  const { launcher, port, versions } = scene
  versions.deploy('two')
  const control = await launcher.control()
  const verdict = control.reload({ canary: plan({ share: 0.01, forMs: 700 }) })
  await launcher.when('the canary is watched', watched)
  launcher.kill('SIGHUP')
  const scaled = control.scale({ to: 3 })
  expect(await verdict).toMatchObject({ id: 1, result: 'done', canary: { promoted: 'time', ms: expect.any(Number) } })
  expect((await verdict).canary?.ms).toBeGreaterThanOrEqual(699)
  expect(await scaled).toMatchObject({ result: 'done', from: 2, to: 3 })
  await launcher.when('the signal is obeyed', ({ lastReload, slots }) => lastReload?.id === 2 && slots.length === 3)
  expect([...(await answers(port, 30)).keys()]).toEqual(['two'])
  await launcher.stop()
})

test.each(['abort', 'promote'] as const)(
  '--%s: the idle connections of the canary go on in another worker',
  async (end) => {
    const { launcher, port, versions } = await start()
    versions.deploy('two')
    const control = await launcher.control()
    const verdict = control.reload({ canary: plan({ share: 0.5 }) })
    await launcher.when('the canary is watched', watched)
    const load = new KeepAliveLoad(port, { connections: 60, thinkMs: 400 })
    await until('all have been answered', () => load.opened === 60)
    await control[end]()
    await verdict
    const { lastReload } = await launcher.when('who leaves has gone', (status) => status.lastReload?.draining === 0)
    const own = lastReload?.workers.find(({ slot }) => slot === 2)
    expect(own).toMatchObject({ oldPid: null, closed: 0, cut: 0 })
    expect(own?.moved).toBeGreaterThan(0)
    await until('all have been answered again', () => load.tally.answered >= 180)
    expect(await load.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
    await launcher.stop()
  },
)

test('a canary that is slower than the others is undone, if that was asked for', async () => {
  const { launcher, port, versions } = await start([], 1)
  versions.deploy('slow 30')
  const verdict = (await launcher.control()).reload({ canary: { ...plan({ share: 0.5 }), maxLatency: 3 } })
  await launcher.when('the canary is watched', watched)
  for (let count = 0; count < 1_500; count += 250) await answers(port, 250)
  expect(await verdict).toMatchObject({
    result: 'undone',
    reason: expect.stringMatching(/^the canary is slow: 95 % of its answers took up to \d+ ms, those of the others/),
  })
  await launcher.stop()
})

test('a stop in a canary ends it all', async () => {
  const { launcher, versions } = await start()
  versions.deploy('two')
  const run = launcher.run('reload', '--canary', '10%', '--for', '1h')
  await launcher.when('the canary is watched', watched)
  await launcher.stop()
  expect(await run).toMatchObject({ code: 1, stderr: /^reload stopped in step canary: the launcher stops\n/ })
})

test('as a user without any privilege', async () => {
  const port = await freePort()
  const nobody = asNobody()
  const launcher = await nobody.start(port, ['-n', '2', '--park', '200ms'])
  nobody.deploy('two')
  const verdict = (await launcher.control()).reload({ canary: plan({ share: 0.5 }) })
  await launcher.when('the canary is watched', watched)
  expect([...(await answers(port, 100)).keys()].sort()).toEqual(['one', 'two'])
  await (await launcher.control()).promote()
  expect(await verdict).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('where no share can be set it is refused, and nothing is started', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2'],
    env: {
      REUSEPORT_RUN_BINDING: fixture('launchers/addon-without-steering.cjs'),
      REAL_BINDING: process.env['REUSEPORT_RUN_BINDING'] ?? join(ROOT, 'build', 'Release', 'reuseport.node'),
    },
  })
  for (const more of [[], ['--no-wait']])
    expect(await launcher.run('reload', '--canary', '10%', ...more)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: /^reuseport-run: ERR_CANARY: the kernel takes no steering program here.*\n {2}A seccomp filter/,
    })
  expect((await launcher.status()).generations).toHaveLength(1)
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done', to: 2 })
  await launcher.stop()
})

test('of a unix socket nothing can be given: alone it is refused, beside a port the others keep it', async () => {
  const [path, port] = [join(temporaryDirectory(), 'socket'), await freePort()]
  const unix = await startLauncher({ command: ['node', fixture('servers/many.cjs'), `u=${path}`] })
  expect(await unix.run('reload', '--canary', '10%')).toMatchObject({
    code: 1,
    stderr: /ERR_CANARY: the program listens on no TCP port, and a unix socket is one queue/,
  })
  await unix.stop()

  const both = await startLauncher({ command: ['node', fixture('servers/many.cjs'), `a=${port}`, `u=${path}`] })
  const [old] = await both.pids()
  const verdict = (await both.control()).reload({ canary: plan({ share: 0.5 }) })
  await both.when('the canary is watched', watched)
  const seen = async (where: number, options: { socketPath?: string }): Promise<Set<string>> =>
    new Set(await Promise.all(Array.from({ length: 40 }, () => ask(where, '/', options))))
  expect([...(await seen(0, { socketPath: path }))]).toEqual([`u ${old}`])
  expect((await seen(port, {})).size).toBe(2)
  await (await both.control()).promote()
  expect(await verdict).toMatchObject({ result: 'done' })
  expect([...(await seen(0, { socketPath: path }))]).toEqual([`u ${(await both.pids())[0]}`])
  await both.stop()
})
