import { expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

async function start(options: readonly string[] = []): Promise<{
  launcher: TestLauncher
  port: number
  versions: Versions
}> {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2', ...options],
  })
  return { launcher, port, versions }
}

test('a worker whose event loop stands still is noticed, with how long and why; it comes back (A-14)', async () => {
  const { launcher, port } = await start()
  const [pid, other] = (await launcher.pids()) as [number, number]
  process.kill(pid, 'SIGSTOP')
  const { ms, workerPid, doing } = await launcher.event('worker.stuck')
  expect(workerPid).toBe(pid)
  expect(doing).toBe('it is stopped (SIGSTOP)')
  const { slots } = await launcher.status()
  expect(slots.map(({ worker }) => worker?.stuck)).toEqual([expect.stringMatching(/2\d\d\d ms: it is stopped/), null])
  expect((await launcher.run('status')).stdout).toMatch(
    /serving, stuck .*\n {2}slot 0: stuck: its event loop has not turned/s,
  )
  expect(ms).toBeGreaterThanOrEqual(2_000)
  expect(Number.isInteger(ms)).toBe(true)
  process.kill(pid, 'SIGCONT')
  await launcher.event('worker.back', (event) => event['workerPid'] === pid)
  expect(await launcher.pids()).toEqual([pid, other])
  expect([String(pid), String(other)]).toContain(await ask(port))
  await launcher.stop()
  expect(launcher.events.filter(({ msg }) => msg === 'worker.stuck')).toHaveLength(1)
})

test.each([
  ['is stopped', /it is stopped \(SIGSTOP\)/],
  ['computes', /it is busy \(/],
])(
  'a worker that %s for long is killed and started again, and nobody who came meanwhile is lost (A-13)',
  async (what, why) => {
    const { launcher, port } = await start(['--hang-timeout', '200ms', '--hang-kill', '1s'])
    const pids = await launcher.pids()
    if (what === 'computes') ask(port, '/spin').catch(() => {})
    else process.kill(pids[0] as number, 'SIGSTOP')
    const { workerPid: pid, slot } = await launcher.event('worker.stuck')
    const clients = new Clients(port)
    const hung = await launcher.event('worker.hung')
    expect(hung).toMatchObject({ workerPid: pid, reason: expect.stringMatching(/for 1\d\d\d ms: /) })
    expect(hung['reason']).toMatch(why)
    const { slots } = await launcher.when(
      'its successor serves',
      (status) => status.state === 'serving' && status.slots[slot as number]?.worker?.pid !== pid,
    )
    expect(pids).toContain(slots[1 - (slot as number)]?.worker?.pid)
    await clients.more(50)
    expect((await clients.stop()).failures).toEqual([])
    await launcher.stop()
  },
)

test('one that is killed while it stands still does not seem to come back', async () => {
  const { launcher } = await start(['--hang-timeout', '200ms'])
  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGSTOP')
  await launcher.event('worker.stuck')
  await launcher.event('socket.adopted')
  process.kill(pid, 'SIGKILL')
  await launcher.when('another serves', ({ slots, state }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
  expect(launcher.events.filter(({ msg }) => msg === 'worker.back')).toEqual([])
  // What its sibling had adopted it has kept.
  expect(launcher.events.filter(({ msg }) => msg === 'socket.adopted')).toHaveLength(1)
  await launcher.stop()
})

test('the only worker is not killed, however long it hangs', async () => {
  const { launcher, port } = await start(['-n', '1', '--hang-timeout', '100ms', '--hang-kill', '300ms'])
  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGSTOP')
  await launcher.when('it has hung', ({ slots }) => /[3-9]\d\d ms/.test(slots[0]?.worker?.stuck ?? ''))
  process.kill(pid, 'SIGCONT')
  await launcher.event('worker.back')
  expect(await ask(port)).toBe(String(pid))
  await launcher.stop()
  expect(launcher.events.filter(({ msg }) => msg === 'worker.hung')).toEqual([])
})

test('a new version whose event loop stops in the bake is undone', async () => {
  const { launcher, port, versions } = await start(['--bake', '25s'])
  const old = await launcher.pids()
  versions.deploy('two')
  const verdict = launcher.reload('baked')
  const { workerPid } = await launcher.event('worker.serving', ({ generation }) => generation === 2)
  await launcher.event('reload.baking')
  process.kill(workerPid as number, 'SIGSTOP')
  expect(await verdict).toMatchObject({
    result: 'undone',
    step: 'bake',
    reason: expect.stringMatching(new RegExp(`pid ${workerPid}\\): its event loop has not turned for \\d+ ms`)),
  })
  expect(await launcher.pids()).toEqual(old)
  const clients = new Clients(port)
  await clients.more(100)
  expect((await clients.stop()).failures).toEqual([])
  process.kill(workerPid as number, 'SIGCONT')
  await launcher.stop()
})
