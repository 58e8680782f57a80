import { expect, test } from 'vitest'
import { Clients } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { inject } from '../support/strace'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/*
 * A slice of the sweep of scripts/launcher-death-campaign.mjs: the launcher is killed at a system call of a reload, counted from the order on.
 */

/** Starts, orders, answers, notes, signals and endings of workers. */
const CALLS = [
  ...[1, 2].map((when) => ['clone', when] as const),
  ...[2, 6, 10, 14, 18].map((when) => ['sendmsg', when] as const),
  ...[1, 3].map((when) => ['rename', when] as const),
  ['pidfd_send_signal', 1] as const,
  ['waitid', 1] as const,
]

test('killed at a system call of a reload: whole again at the next start, whatever it was, and nobody notices (B-04)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  let launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2', '--bake', '100ms'],
    cwd: versions.directory,
  })
  const clients = new Clients(port)
  let deaths = 0
  for (const [call, when] of CALLS) {
    const { working } = await launcher.status()
    const strace = await inject(launcher.pid, `${call}:signal=SIGKILL:when=${when}`)
    await launcher.reload('retired').catch(() => undefined)
    await strace.end()
    if (launcher.isRunning && isAlive(launcher.pid)) continue
    deaths += 1
    await launcher.die()
    launcher = await launcher.next()
    const after = await launcher.when(
      `it is whole after ${call} ${when}`,
      ({ state, slots, generations }) =>
        state === 'serving' && generations.length === 1 && slots.every(({ worker }) => worker?.state === 'serving'),
      10_000,
    )
    // The old one, or the one that was being reloaded.
    expect(after.working).toBeGreaterThanOrEqual(working ?? 0)
    await clients.more(20)
  }
  expect(deaths).toBeGreaterThan(CALLS.length / 2)
  expect((await clients.stop()).failures).toEqual([])
  await until('one generation is left', async () => (await launcher.status()).leaving.length === 0)
})
