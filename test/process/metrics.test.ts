import { get } from 'node:http'
import { expect, test } from 'vitest'
import { ask, Clients, inHand } from '../support/clients'
import { type StartOptions, startLauncher, TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { signal } from '../support/processes'
import { expectNoFall, scrape } from '../support/scrape'
import { until } from '../support/until'
import { Versions } from '../support/versions'

interface Scene {
  readonly launcher: TestLauncher
  /** Of the program (two), and of the metrics. */
  readonly port: number
  readonly other: number
  readonly metrics: number
}

/** What looks at each request, and at each connection: Node's own is one. */
async function hooksOf(port: number): Promise<{ isCounted: boolean; listeners: number }> {
  return JSON.parse(await ask(port, '/hooks'))
}

async function start(options: readonly string[] = ['-n', '2'], more: Partial<StartOptions> = {}): Promise<Scene> {
  const [port, other, metrics] = [await freePort(), await freePort(), await freePort()]
  const launcher = await startLauncher({
    command: ['node', fixture('servers/counted.cjs'), String(port), String(other)],
    options: [...options, '--metrics', String(metrics)],
    ...more,
  })
  return { launcher, port, other, metrics }
}

/** Status and text of what is there. */
function look(port: number, path: string): Promise<{ status: number | undefined; text: string }> {
  return new Promise((done, fail) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      let text = ''
      response.on('data', (data) => (text += data))
      response.on('end', () => done({ status: response.statusCode, text }))
    }).on('error', fail)
  })
}

test('over 20 reloads under load nothing falls, and in the end each answer was counted once: by us and by prom-client', async () => {
  const { launcher, port, metrics } = await start()
  const clients = new Clients(port, 1)
  await clients.more(20)
  let before = await scrape(metrics)
  for (let round = 1; round <= 20; round++) {
    expect(await launcher.reload(round % 5 === 0 ? 'retired' : 'baked')).toMatchObject({ result: 'done' })
    const after = await scrape(metrics)
    expectNoFall(before, after)
    expect(after.values.get('reuseport_generation')).toBe(round + 1)
    before = after
  }
  const { failures, count } = await clients.stop()
  expect(failures).toEqual([])
  await launcher.when('the old ones have gone', ({ leaving }) => leaving.length === 0)
  const last = await scrape(metrics)
  expectNoFall(before, last)
  expect({
    answers: last.sum('reuseport_http_responses_total'),
    timed: last.sum('reuseport_http_response_duration_seconds_count'),
    errors: last.sum('reuseport_http_errors_total'),
    app: last.sum('app_answers_total'),
    appTimed: last.sum('app_seconds_count'),
    appSizes: last.sum('app_size_bytes_sum'),
  }).toEqual({ answers: count, timed: count, errors: 0, app: count, appTimed: count, appSizes: 2 * count })
  expect(last.values.get('reuseport_reloads_total{result="done"}')).toBe(20)
  expect(last.values.get('reuseport_reload_duration_seconds_count')).toBe(20)
  expect(last.values.get('reuseport_drain_duration_seconds_count')).toBe(40)
  expect(last.sum('reuseport_worker_restarts_total')).toBe(40)
  expect(last.sum('process_cpu_seconds_total')).toBeGreaterThan(2)
  const [first] = await launcher.pids()
  expect(last.values.get('app_pid{exported_slot="mine",slot="0"}')).toBe(first)
  expect(last.values.get('process_resident_memory_bytes{slot="0"}')).toBeGreaterThan(10e6)
  await launcher.stop()
})

test('/readyz: not before every slot serves, through a reload, not while it stops; /livez all the time', async () => {
  const [port, metrics, versions] = [await freePort(), await freePort(), new Versions('announces-itself')]
  const launcher = new TestLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['--metrics', String(metrics)],
  })
  await launcher.event('launcher.started')
  expect(await look(metrics, '/readyz')).toEqual({ status: 503, text: 'starting\n' })
  expect(await look(metrics, '/livez')).toEqual({ status: 200, text: 'ok\n' })
  expect((await scrape(metrics)).values.get('reuseport_ready')).toBe(0)
  await launcher.serving()
  expect(await look(metrics, '/readyz')).toEqual({ status: 200, text: 'ok\n' })
  let isReloading = true
  const seen = new Set<number | undefined>()
  const looking = (async () => {
    while (isReloading) seen.add((await look(metrics, '/readyz')).status)
  })()
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  isReloading = false
  await looking
  expect([...seen]).toEqual([200])
  const request = await inHand(port, 1_000)
  launcher.kill('SIGTERM')
  await launcher.event('launcher.stopping')
  expect(await look(metrics, '/readyz')).toEqual({ status: 503, text: 'stopping\n' })
  expect(await look(metrics, '/livez')).toEqual({ status: 200, text: 'ok\n' })
  expect(await request.answer).toContain('end')
  await launcher.leavesNothing()
})

test('a worker that crashes is a crash, one that stands still is missing; what they had counted stays', async () => {
  const { launcher, port, metrics } = await start(['-n', '2', '--hang-timeout', '0'])
  for (let i = 0; i < 10; i++) await ask(port)
  await ask(port, '/bad')
  await until('all are counted', async () => (await scrape(metrics)).sum('app_answers_total') === 11)
  const before = await scrape(metrics)
  expect(before.sum('reuseport_http_errors_total')).toBe(1)
  const [crashed] = await launcher.pids()
  signal(crashed as number, 'SIGKILL')
  await launcher.event('worker.serving', ({ workerPid }) => Number(workerPid) !== crashed, launcher.events.length)
  const after = await scrape(metrics)
  expectNoFall(before, after)
  expect(after.values.get('reuseport_worker_restarts_total{reason="crash",slot="0"}')).toBe(1)
  expect(after.sum('reuseport_worker_restarts_total')).toBe(1)
  expect(after.sum('reuseport_http_responses_total')).toBe(11)
  expect(after.values.get('reuseport_scrape_missing_workers')).toBe(0)
  const [, still] = await launcher.pids()
  signal(still as number, 'SIGSTOP')
  const stuck = await scrape(metrics)
  expectNoFall(after, stuck)
  expect(stuck.values.get('reuseport_scrape_missing_workers')).toBe(1)
  expect(stuck.values.has('reuseport_connections{slot="1"}')).toBe(false)
  signal(still as number, 'SIGCONT')
  await launcher.stop()
})

test('over an upgrade, and the death of a launcher, nothing falls', async () => {
  const { launcher, port, metrics } = await start()
  for (let i = 0; i < 10; i++) await ask(port)
  await until('all are counted', async () => (await scrape(metrics)).sum('app_answers_total') === 10)
  await launcher.reload()
  const one = await scrape(metrics)
  expect(await (await launcher.control()).upgrade()).toMatchObject({ result: 'done' })
  for (let i = 0; i < 5; i++) await ask(port)
  await until('all are counted', async () => (await scrape(metrics)).sum('app_answers_total') === 15)
  const two = await scrape(metrics)
  expectNoFall(one, two)
  expect(two.sum('reuseport_http_responses_total')).toBe(15)
  await launcher.die()
  for (let i = 0; i < 5; i++) await ask(port)
  const next = await launcher.next()
  await until('all are counted', async () => (await scrape(metrics)).sum('app_answers_total') === 20)
  const three = await scrape(metrics)
  expectNoFall(two, three)
  expect(three.sum('reuseport_http_responses_total')).toBe(20)
  expect(three.values.get('reuseport_reloads_total{result="done"}')).toBe(1)
  await next.stop()
})

test('a registry that is shared by the library is the one that is shown; every listener is counted, and the table has it from the start on', async () => {
  const { launcher, port, other, metrics } = await start([], { env: { SHARES: 'yes' } })
  await scrape(metrics)
  await ask(port, '/listen')
  for (let i = 0; i < 3; i++) await ask(other)
  await until('all are counted', async () => (await scrape(metrics)).sum('app_answers_total') === 3)
  const { slots } = await launcher.status()
  // And that which opened the other one.
  expect(slots[0]?.worker?.requests).toBe(4)
  expect((await launcher.run('status')).stdout).toMatch(/conns +req\/s +queue/)
  expect(await hooksOf(other)).toEqual({ isCounted: true, listeners: 2 })
  await launcher.stop()
})

test('without the option nothing looks at a request', async () => {
  const port = await freePort()
  const launcher = await startLauncher({ command: ['node', fixture('servers/counted.cjs'), String(port)] })
  await launcher.status()
  expect(await hooksOf(port)).toEqual({ isCounted: false, listeners: 1 })
  await launcher.stop()
})
