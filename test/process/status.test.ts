import { join } from 'node:path'
import { expect, test } from 'vitest'
import { inHand } from '../support/clients'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { KeepAliveLoad } from '../support/worker/keep-alive-load'

async function connectionsOf(launcher: TestLauncher): Promise<(number | null | undefined)[]> {
  return (await launcher.status()).slots.map(({ worker }) => worker?.connections)
}

test('status says how many connections each worker has, and waits for none that does not answer', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2', '--hang-timeout', '0'],
  })
  expect(await connectionsOf(launcher)).toEqual([0, 0])
  const pids = await launcher.pids()
  const requests = await Promise.all(Array.from({ length: 12 }, () => inHand(port, 3_000)))
  const expected = pids.map((pid) => requests.filter((request) => request.pid === pid).length)
  expect(await connectionsOf(launcher)).toEqual(expected)
  expect((await launcher.run('status')).stdout).toMatch(
    new RegExp(`slot 0: .*started \\S+, ${expected[0]} connections\\n`),
  )
  process.kill(pids[1] as number, 'SIGSTOP')
  const asked = performance.now()
  expect(await connectionsOf(launcher)).toEqual([expected[0], null])
  expect(performance.now() - asked).toBeLessThan(2_000)
  process.kill(pids[1] as number, 'SIGCONT')
  await Promise.all(requests.map(({ answer }) => answer))
  await until('all have ended', async () => (await connectionsOf(launcher)).join() === '0,0')
  await launcher.stop()
})

test('with node:cluster inside they are those of its children', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', join(ROOT, 'test', 'fixtures', 'servers', 'clustered.cjs'), String(port)],
  })
  const load = new KeepAliveLoad(port, { connections: 8, thinkMs: 400 })
  await until('eight are open', async () => (await connectionsOf(launcher))[0] === 8)
  await load.stop()
  await launcher.stop()
})
