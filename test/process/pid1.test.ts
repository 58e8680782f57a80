import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ask, Clients, inHand } from '../support/clients'
import { type StartOptions, startLauncher, TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { childrenOf } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/*
 * The launcher as PID 1 of a container, and as the subreaper that it is elsewhere. Namespaces are root's to make.
 */

const CONTAINER = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']

interface Started {
  readonly launcher: TestLauncher
  /** The launcher's, as it is seen from here. */
  readonly pid: number
}

async function pidOf(launcher: TestLauncher): Promise<number> {
  return until('the launcher is there', () => childrenOf(launcher.pid)[0]?.pid)
}

async function start(
  where: 'as PID 1' | 'as subreaper',
  options: StartOptions & { command: readonly string[] },
): Promise<Started> {
  if (where === 'as subreaper') {
    const launcher = await startLauncher(options)
    return { launcher, pid: launcher.pid }
  }
  const launcher = await startLauncher({ ...options, under: CONTAINER })
  expect(launcher.events[0]?.['pid']).toBe(1)
  return { launcher, pid: await pidOf(launcher) }
}

async function end({ launcher, pid }: Started, signal: NodeJS.Signals, exitCode = 0): Promise<void> {
  launcher.expectExit(exitCode)
  process.kill(pid, signal)
  await launcher.leavesNothing()
}

describe.each(['as PID 1', 'as subreaper'] as const)('%s', (where) => {
  test('a thousand processes that have lost their parent: no zombie is left, nor one of the launcher’s own (K-10, K-13)', async () => {
    const port = await freePort()
    const command = ['node', fixture('servers/orphans.cjs'), String(port)]
    const started = await start(where, { command, options: ['-n', '2'] })
    const { launcher, pid } = started
    const ran = await Promise.all([ask(port, '/orphans?n=500'), ask(port, '/orphans?n=500')])
    expect(ran).toEqual(['done', 'done'])
    await until(
      () => `${childrenOf(pid).length} children`,
      () => childrenOf(pid).length === 2,
    )
    // One of its own ends among them: it is seen, too. Which are its own is clear only while there are no others.
    const [victim] = childrenOf(pid).map((one) => one.pid)
    const seen = (await launcher.status()).slots.map(({ worker }) => worker?.pid)
    const orphans = ask(port, '/orphans?n=200').catch(() => '')
    process.kill(victim as number, 'SIGKILL')
    await launcher.event('worker.exited', (event) => event['signal'] === 'SIGKILL')
    await launcher.when(
      'its slot is filled',
      ({ slots }) =>
        slots.every(({ worker }) => worker?.state === 'serving') &&
        String(slots.map(({ worker }) => worker?.pid)) !== String(seen),
    )
    await orphans
    await until(
      () => JSON.stringify(childrenOf(pid)),
      () => childrenOf(pid).length === 2 && childrenOf(pid).every(({ state }) => state !== 'Z'),
    )
    await end(started, 'SIGTERM')
  })

  test('SIGTERM drains, and ends with 0; reload, kill and respawn are as ever (K-10)', async () => {
    const port = await freePort()
    const versions = new Versions()
    const started = await start(where, {
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', '2'],
    })
    const clients = new Clients(port, 1)
    process.kill(started.pid, 'SIGHUP')
    await started.launcher.event('reload.retired')
    expect((await clients.stop()).failures).toEqual([])
    for (const { pid } of childrenOf(started.pid)) process.kill(pid, 'SIGKILL')
    await started.launcher.when('both serve again', ({ slots }) =>
      slots.every(({ worker }) => worker?.generation === 2 && worker.state === 'serving' && worker.pid > 0),
    )
    await until('somebody answers', async () => (await ask(port, '/version').catch(() => '')) === 'one')
    const { answer } = await inHand(port, 500)
    const over = end(started, 'SIGTERM')
    expect(await answer).toMatch(/ end$/)
    await over
  })

  test('no signal but the stop signal goes to a worker', async () => {
    const port = await freePort()
    const file = join(temporaryDirectory(), 'signals')
    const started = await start(where, { command: ['node', fixture('servers/signalled.cjs'), String(port), file] })
    for (const signal of ['SIGUSR1', 'SIGWINCH', 'SIGCONT', 'SIGALRM', 'SIGPIPE'] as const)
      process.kill(started.pid, signal)
    await started.launcher.status()
    await end(started, 'SIGINT')
    expect(readFileSync(file, 'utf8')).toBe('SIGTERM\n')
  })

  test('SIGQUIT: 131', async () => {
    const port = await freePort()
    const versions = new Versions()
    const started = await start(where, { command: versions.command(port), cwd: versions.directory })
    await end(started, 'SIGQUIT', 131)
  })

  test('a first start that fails: the program’s own exit code (K-14)', async () => {
    const versions = new Versions('exits-at-load 42')
    const launcher = new TestLauncher({
      command: versions.command(1),
      cwd: versions.directory,
      under: where === 'as PID 1' ? CONTAINER : [],
      exitCode: 42,
    })
    await launcher.leavesNothing()
  })
})

test('as PID 1, killed: nothing is left in the container (B-14)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const { launcher, pid } = await start('as PID 1', {
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2'],
  })
  process.kill(pid, 'SIGKILL')
  // What unshare makes of it.
  await launcher.ended
  await until(
    'no worker is left',
    async () => (await ask(port).catch((error: NodeJS.ErrnoException) => error.code)) === 'ECONNREFUSED',
  )
  await launcher.destroy()
})
