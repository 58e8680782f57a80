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

test('a worker whose event loop stands still is noticed, with how long; nobody is killed for it', async () => {
  const { launcher, port } = await start()
  const [pid, other] = (await launcher.pids()) as [number, number]
  process.kill(pid, 'SIGSTOP')
  const { ms, workerPid } = await launcher.event('worker.stuck')
  expect(workerPid).toBe(pid)
  expect(ms).toBeGreaterThanOrEqual(2_000)
  expect(Number.isInteger(ms)).toBe(true)
  process.kill(pid, 'SIGCONT')
  expect(await launcher.pids()).toEqual([pid, other])
  expect([String(pid), String(other)]).toContain(await ask(port))
  await launcher.stop()
  expect(launcher.events.filter(({ msg }) => msg === 'worker.stuck')).toHaveLength(1)
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
