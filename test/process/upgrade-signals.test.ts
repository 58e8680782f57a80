import { expect, test } from 'vitest'
import { Clients } from '../support/clients'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { signal } from '../support/processes'
import { Versions } from '../support/versions'

/*
 * Node begins with default dispositions and an empty mask: without the shield each of these would end the launcher (prototypes.md f).
 */

async function start(options: readonly string[] = ['-n', '1']): Promise<{ launcher: TestLauncher; port: number }> {
  const port = await freePort()
  const versions = new Versions()
  return { launcher: await startLauncher({ command: versions.command(port), options, cwd: versions.directory }), port }
}

/** This signal every millisecond, while something is done. Gives how often it was sent. */
async function under(pid: number, name: NodeJS.Signals, work: () => Promise<void>): Promise<number> {
  let count = 0
  const timer = setInterval(() => {
    signal(pid, name)
    count++
  }, 1)
  try {
    await work()
    return count
  } finally {
    clearInterval(timer)
  }
}

test('a signal every millisecond ends no launcher, whichever it is (C-06)', async () => {
  const { launcher, port } = await start()
  const clients = new Clients(port)
  const pids = await launcher.pids()
  const client = await launcher.control()
  for (const name of ['SIGUSR1', 'SIGIO', 'SIGWINCH', 'SIGCHLD'] as const) {
    const sent = await under(launcher.pid, name, async () => {
      expect(await client.upgrade(), name).toMatchObject({ result: 'done' })
    })
    expect(sent).toBeGreaterThan(20)
  }
  expect(await launcher.pids()).toEqual(pids)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('HUP every millisecond: each is covered by a reload that began after it (C-06)', async () => {
  const { launcher, port } = await start()
  const clients = new Clients(port)
  const client = await launcher.control()
  let last = 0
  await under(launcher.pid, 'SIGHUP', async () => {
    for (let n = 0; n < 3; n++) expect(await client.upgrade()).toMatchObject({ result: 'done' })
    last = Number(launcher.events.at(-1)?.['time'] ?? 0)
  })
  const after = launcher.events.length
  await launcher.event('reload.started', ({ time }) => Number(time) >= last, Math.max(0, after - 50))
  await launcher.when('nothing is asked for any more', ({ reload, leaving }) => reload === null && leaving.length === 0)
  const started = launcher.events.filter(({ msg }) => msg === 'reload.started').length
  expect(started).toBeGreaterThan(2)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('a single signal, at whatever moment of an upgrade, has its effect once (C-06)', async () => {
  const { launcher } = await start()
  const client = await launcher.control()
  for (let round = 0; round < 10; round++) {
    const from = launcher.events.length
    const done = client.upgrade()
    await launcher.event('upgrade.started', undefined, from)
    const timer = setTimeout(() => launcher.kill('SIGUSR1'), round * 18)
    expect(await done).toMatchObject({ result: 'done' })
    await launcher.event('signal', undefined, from)
    clearTimeout(timer)
    const told = launcher.events.slice(from).filter(({ msg }) => msg === 'signal')
    expect(told, `after ${round * 18} ms`).toHaveLength(1)
  }
  await launcher.stop()
})

test.each(['SIGTERM', 'SIGINT'] as const)('%s in the middle of it stops in good order', async (name) => {
  for (const ms of [60, 120, 180]) {
    const { launcher, port } = await start()
    const clients = new Clients(port, 1)
    await clients.more(5)
    await clients.stop()
    launcher.kill('SIGUSR2')
    await launcher.event('upgrade.started')
    await new Promise((done) => setTimeout(done, ms))
    await launcher.stop(name)
  }
})

test('TTIN and TTOU are counted as they came: one worker more, and one less', async () => {
  const { launcher } = await start()
  const client = await launcher.control()
  const done = client.upgrade()
  await launcher.event('upgrade.started')
  launcher.kill('SIGTTIN')
  expect(await done).toMatchObject({ result: 'done' })
  await launcher.when('one more', ({ slots }) => slots.length === 2 && slots[1]?.worker?.state === 'serving')
  await launcher.stop()
})
