import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { until } from '../support/until'

const grows = (port: number, ...words: string[]) => ['node', fixture('servers/grows.cjs'), String(port), ...words]

const relieved = ({ events }: TestLauncher) => events.filter(({ msg }) => msg === 'worker.relieved')

test('a worker that grows above --max-memory is relieved under load: nothing is lost', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: grows(port),
    options: ['-n', '2', '--max-memory', '300M', '--limit-interval', '100ms'],
  })
  const before = await launcher.pids()
  const clients = new Clients(port)
  await clients.more(100)
  // Older than its first looks: it has leaked.
  await launcher.when('both are older than six looks', ({ slots }) =>
    slots.every(({ worker }) => worker !== null && Date.now() - Date.parse(worker.startedAt) > 1_500),
  )
  const big = Number(await ask(port, '/grow/300'))
  const slot = before.indexOf(big)
  const { by } = await launcher.event('worker.relieved', (event) => event['workerPid'] === big)
  await until('it has gone', () => !isAlive(big))
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  const after = await launcher.pids()
  expect(after[slot]).toBe(by)
  expect(after[1 - slot]).toBe(before[1 - slot])
  expect(launcher.events.find(({ msg }) => msg === 'worker.worn')).toMatchObject({
    slot,
    generation: 1,
    why: 'memory',
    limit: 300 * 2 ** 20,
  })
  expect(await launcher.status()).toMatchObject({ state: 'serving', working: 1, lastReload: null })
  await launcher.stop()
})

test('--max-age: every worker is relieved in its time, one after the other, under load', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: grows(port),
    options: ['-n', '2', '--max-age', '3s', '--limit-interval', '100ms'],
  })
  const before = await launcher.pids()
  const clients = new Clients(port)
  await until('both are relieved', () => relieved(launcher).length >= 2 && !before.some(isAlive))
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  const names = launcher.events.flatMap(({ msg }) => (/^worker\.(worn|relieved)$/.test(msg) ? [msg] : []))
  // Never a second one before the first has been relieved.
  expect(names.slice(0, 4)).toEqual(['worker.worn', 'worker.relieved', 'worker.worn', 'worker.relieved'])
  await launcher.stop()
})

test('a limit that is too low from the start is said once, and does not make workers come and go', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: grows(port, '200'),
    options: ['-n', '2', '--max-memory', '150M', '--limit-interval', '100ms'],
  })
  await launcher.event('worker.too-big')
  // 0.6 s after its start, then 1.2 s.
  const [first] = await until('the first two are relieved', () => relieved(launcher).length >= 2 && relieved(launcher))
  const again = await until('one is relieved again', () =>
    relieved(launcher).find((event) => event['workerPid'] === first?.['by']),
  )
  expect(Number(again['time']) - Number(first?.['time'])).toBeGreaterThanOrEqual(1_150)
  expect(launcher.events.filter(({ msg }) => msg === 'worker.too-big')).toHaveLength(1)
  expect((await launcher.status()).warnings.map(({ code }) => code)).toContain('max-memory-too-low')
  await launcher.stop()
})

test('--memory-check: a reload that would not fit is refused, and starts nothing; slot by slot it goes', async () => {
  const port = await freePort()
  const directory = temporaryDirectory()
  const [meminfo, config] = ['meminfo', 'reuseport-run.config.json'].map((name) => join(directory, name)) as [
    string,
    string,
  ]
  writeFileSync(meminfo, `MemAvailable: ${200 * 1024} kB\n`)
  writeFileSync(config, '{ "memoryCheck": true }')
  const launcher = await startLauncher({
    command: grows(port, '100'),
    options: ['-n', '2'],
    cwd: directory,
    under: ['unshare', '-m', 'sh', '-c', `mount --bind ${meminfo} /proc/meminfo; exec "$@"`, 'sh'],
  })
  const pids = await launcher.pids()
  const refused = await launcher.run('reload')
  expect(refused.code).toBe(4)
  expect(refused.stderr).toMatch(
    /ERR_MEMORY: 2 more workers need \d+ MB, and 200 MB are left \(MemAvailable\)\n.*--surge 1/,
  )
  expect(await launcher.event('reload.refused')).toMatchObject({ workers: 2, limit: 'MemAvailable' })
  // Nobody waits for the answer.
  const seen = launcher.events.length
  launcher.kill('SIGHUP')
  await launcher.event('reload.refused', undefined, seen)
  expect(await launcher.pids()).toEqual(pids)
  expect(launcher.events.filter(({ msg }) => msg === 'worker.spawned')).toHaveLength(2)

  writeFileSync(config, '{ "memoryCheck": true, "strategy": "rolling", "surge": 1 }')
  expect((await launcher.reload()).result).toBe('done')
  await launcher.stop()
})
