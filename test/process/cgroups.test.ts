import { describe, expect, test } from 'vitest'
import { ControlGroup, canLimit } from '../support/cgroup'
import { ask, Clients } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

/* Limits that the kernel keeps: what it kills or refuses when a launcher and its workers reach them. */

/** Beyond what is used already. */
const ROOM = 150_000_000

describe.runIf(canLimit('memory'))('a limit of memory', () => {
  test('the worker that reaches it is killed by the kernel: that is said, the other one serves on, another comes (A-11)', async () => {
    const [port, versions, group] = [await freePort(), new Versions(), new ControlGroup('memory')]
    const launcher = await startLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', '2'],
      under: group.under,
    })
    group.limit(group.current + ROOM)
    const before = await launcher.pids()
    await expect(ask(port, '/eat')).rejects.toThrow()
    const ended = await launcher.event('worker.exited')
    expect(ended).toMatchObject({
      signal: 'SIGKILL',
      reason: 'most likely out of memory: the kernel has just killed for want of it',
    })
    const { slots } = await launcher.when('both serve', ({ slots }) =>
      slots.every(({ worker }) => worker?.state === 'serving' && worker.pid !== ended['workerPid']),
    )
    const kept = slots.flatMap(({ worker }) => worker?.pid ?? []).filter((pid) => before.includes(pid))
    expect(kept).toEqual(before.filter((pid) => pid !== ended['workerPid']))
    expect(await ask(port, '/version')).toBe('one')
    await launcher.stop()
  })

  test('a version that needs more than is left is killed by the kernel, and the old one is not (D-18)', async () => {
    const [port, versions, group] = [await freePort(), new Versions(), new ControlGroup('memory')]
    const launcher = await startLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', '2'],
      under: group.under,
    })
    group.limit(group.current + ROOM)
    const before = await launcher.pids()
    const clients = new Clients(port, 4)
    versions.deploy('eats')
    const verdict = await launcher.reload()
    expect(verdict).toMatchObject({ result: 'aborted' })
    expect(verdict.reason).toMatch(/most likely out of memory: the kernel has just killed for want of it/)
    expect(await launcher.pids()).toEqual(before)
    group.limit(group.current + 10 * ROOM)
    versions.deploy('two')
    expect(await launcher.reload()).toMatchObject({ result: 'done' })
    expect((await clients.stop()).failures).toEqual([])
    await launcher.stop()
  })
})

test.runIf(canLimit('pids'))(
  'Node cannot start its threads: the reload is given up with that, and the old worker serves on (A-23)',
  async () => {
    const [port, versions, group] = [await freePort(), new Versions(), new ControlGroup('pids')]
    const launcher = await startLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      under: group.under,
    })
    const before = await launcher.pids()
    // The process, and no thread beside its first. (With one more Node waits for ever for the rest; that is --ready-timeout's.)
    group.limit(group.current + 1)
    versions.deploy('two')
    const verdict = await launcher.reload()
    expect(verdict).toMatchObject({ result: 'aborted' })
    expect(verdict.reason).toContain('it could not start its threads: is there a limit on processes?')
    expect(await launcher.pids()).toEqual(before)
    expect(await ask(port, '/version')).toBe('one')
    group.limit(group.current + 100)
    expect(await launcher.reload()).toMatchObject({ result: 'done' })
    await launcher.stop()
  },
)
