import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { inHand, tryConnect } from '../support/clients'
import { runCli, startLauncher, type TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

interface Scene {
  launcher: TestLauncher
  port: number
  versions: Versions
}

async function start(options: { version?: string; more?: readonly string[]; workers?: number } = {}): Promise<Scene> {
  const port = await freePort()
  const versions = new Versions(options.version)
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', String(options.workers ?? 2), ...(options.more ?? [])],
    cwd: versions.directory,
  })
  return { launcher, port, versions }
}

test('TERM, INT and the verb: what is in hand is finished, exit 0', async () => {
  for (const how of ['SIGTERM', 'SIGINT', 'stop'] as const) {
    const { launcher, port } = await start()
    const { answer } = await inHand(port, 1000)
    if (how === 'stop') expect(await launcher.run('stop')).toMatchObject({ code: 0, stderr: '' })
    else launcher.kill(how)
    expect(await answer).toMatch(/ end$/)
    await launcher.leavesNothing()
  }
})

test('when the verb has returned the name and the port are free', async () => {
  let { launcher, port, versions } = await start({ workers: 1 })
  for (let round = 0; round < 5; round++) {
    expect(await launcher.run('stop')).toMatchObject({ code: 0 })
    launcher = await startLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      runtimeDir: launcher.runtimeDir,
    })
  }
  await launcher.stop()
})

test('a new connection is refused while a slow request still runs', async () => {
  const { launcher, port } = await start()
  const { answer } = await inHand(port, 3000)
  launcher.kill('SIGTERM')
  await launcher.event('launcher.stopping')
  await until('clients are refused', async () => (await tryConnect(port)) === 'ECONNREFUSED')
  expect(launcher.isRunning).toBe(true)
  expect((await launcher.status()).state).toBe('stopping')
  // Not "draining since": the time is that of its start.
  expect((await launcher.run('status')).stdout).toMatch(/\n +\d +\d+ +1 {2}draining +\d/)
  expect(await answer).toMatch(/ end$/)
  await launcher.leavesNothing()
})

test('a second INT at once is the same Ctrl-C, which npm passes on: what is in hand is finished', async () => {
  for (let round = 0; round < 5; round++) {
    const { launcher, port } = await start({ workers: 1 })
    const { answer } = await inHand(port, 1000)
    launcher.kill('SIGINT')
    const { time } = await launcher.event('signal')
    launcher.kill('SIGINT')
    const gap = Date.now() - Number(time)
    const text = await answer
    if (gap > 400) {
      // The machine was too busy for the two to come as one: this round shows nothing.
      await launcher.destroy()
      await launcher.ended
      continue
    }
    expect(text).toMatch(/ end$/)
    await launcher.leavesNothing()
    expect(launcher.events.filter(({ msg }) => msg === 'signal')).toHaveLength(1)
    return
  }
  throw new Error('this machine is too busy')
})

test('a second INT leaves two seconds', async () => {
  const { launcher, port } = await start()
  const { answer } = await inHand(port, 60_000)
  await launcher.interrupt('launcher.stopping')
  await launcher.interrupt('launcher.stopping-now')
  const began = Date.now()
  expect(await answer).toBe('ECONNRESET')
  expect(Date.now() - began).toBeGreaterThan(1800)
  expect(Date.now() - began).toBeLessThan(8000)
  launcher.expectExit(130)
  await launcher.leavesNothing()
})

test('a third INT leaves none, to a worker that ignores signals too (K-02)', async () => {
  const { launcher, port } = await start({ version: 'ignores-sigterm' })
  const { answer } = await inHand(port, 60_000)
  const began = Date.now()
  for (const message of ['launcher.stopping', 'launcher.stopping-now', 'launcher.stopped'])
    await launcher.interrupt(message)
  expect(await answer).toBe('ECONNRESET')
  // The second one left two seconds, half a second after the first.
  expect(Date.now() - began).toBeLessThan(2500)
  launcher.expectExit(130)
  await launcher.leavesNothing()
})

test('signals to a launcher that ends change nothing: exit 0', async () => {
  for (let round = 0; round < 5; round++) {
    const { launcher } = await start()
    launcher.kill('SIGTERM')
    await launcher.event('launcher.stopping')
    while (launcher.isRunning) {
      launcher.kill('SIGTERM')
      // Somebody who is impatient, not a flood: that would leave the launcher no time to stop.
      await new Promise((done) => setTimeout(done, 1))
    }
    await launcher.leavesNothing()
  }
})

test('QUIT does not wait for what is in hand', async () => {
  const { launcher, port } = await start()
  const { answer } = await inHand(port, 60_000)
  launcher.kill('SIGQUIT')
  expect(await answer).toBe('ECONNRESET')
  launcher.expectExit(131)
  await launcher.leavesNothing()
})

test('the deadline of the drain cuts what is still open, and says so (A-18)', async () => {
  const { launcher, port } = await start({ more: ['--drain-timeout', '500ms'] })
  const { pid, answer } = await inHand(port, 60_000)
  launcher.kill('SIGTERM')
  expect(await answer).toBe('ECONNRESET')
  expect(await launcher.event('worker.drained', ({ workerPid }) => workerPid === pid)).toMatchObject({ cut: 1 })
  await launcher.leavesNothing()
})

test('a worker that ignores the stop signal is killed after --kill-after (A-17)', async () => {
  const { launcher } = await start({ version: 'ignores-sigterm', more: ['--kill-after', '700ms'] })
  launcher.kill('SIGTERM')
  for (const slot of [0, 1]) {
    await launcher.event('worker.killed', (event) => event.slot === slot)
    await launcher.event('worker.exited', (event) => event.slot === slot && event['signal'] === 'SIGKILL')
  }
  await launcher.leavesNothing()
})

test('a worker that is stopped (SIGSTOP) does not stop the stop', async () => {
  const { launcher } = await start({ more: ['--kill-after', '500ms', '--drain-timeout', '500ms'] })
  process.kill((await launcher.pids())[0] as number, 'SIGSTOP')
  launcher.kill('SIGTERM')
  await launcher.leavesNothing()
})

test('stop wins over a reload: its caller hears "stopped" and gets exit 1 (D-11)', async () => {
  const { launcher, versions } = await start()
  versions.deploy('never-listens')
  const reload = launcher.run('reload', '--json')
  const waiting = launcher.event('reload.started').then(() => launcher.reload())
  await launcher.event('worker.spawned', ({ generation }) => generation === 2)
  await launcher.when('the second one waits', (status) => status.reload?.waiting === 1)
  launcher.kill('SIGTERM')
  const { code, stdout } = await reload
  expect({ code, verdict: JSON.parse(stdout) }).toMatchObject({
    code: 1,
    verdict: { result: 'stopped', reason: 'the launcher stops' },
  })
  expect(await waiting).toMatchObject({ result: 'stopped' })
  await launcher.leavesNothing()
})

test('stop in a handover: the new worker that serves already finishes what it has in hand (D-11)', async () => {
  const { launcher, port, versions } = await start()
  const old = await launcher.pids()
  versions.deploy('stops-at-admit now')
  const verdict = launcher.reload('baked')
  await launcher.event('worker.serving', ({ generation }) => generation === 2)
  const all = await Promise.all(Array.from({ length: 40 }, () => inHand(port, 1000)))
  expect(all.some(({ pid }) => !old.includes(pid))).toBe(true)
  launcher.kill('SIGTERM')
  expect(await verdict).toMatchObject({ result: 'stopped' })
  for (const { answer } of all) expect(await answer).toMatch(/ end$/)
  await launcher.leavesNothing()
})

test('stop before anything serves', async () => {
  const port = await freePort()
  const versions = new Versions('never-listens')
  const directory = join(versions.directory, 'run')
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const { code, stderr } = await runCli(
      ['--runtime-dir', directory, '--name', 't', '-n', '2', '--', ...versions.command(port)],
      {
        cwd: versions.directory,
        started: (child) =>
          child.stderr?.on('data', (data) => {
            if (!String(data).includes('it only waits')) return
            child.kill(signal)
            if (signal === 'SIGHUP') child.kill('SIGTERM')
          }),
      },
    )
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('launcher.stopped') })
  }
})

test('a signal at any moment of the start ends everything, and leaves nothing (K-03)', async () => {
  for (let ms = 0; ms <= 300; ms += 15) {
    const port = await freePort()
    const versions = new Versions()
    const directory = join(versions.directory, 'run')
    const began = Date.now()
    const { code, signal } = await runCli(
      ['--runtime-dir', directory, '--name', 't', '-n', '2', '--', ...versions.command(port)],
      { cwd: versions.directory, started: (child) => setTimeout(() => child.kill('SIGTERM'), ms) },
    )
    // Before Node has installed its handler the signal ends the process: there is nothing to clean up then.
    expect({ ms, took: Date.now() - began, code: signal ?? code }).toMatchObject({
      code: expect.toSatisfy((end) => end === 0 || end === 'SIGTERM'),
    })
    expect(existsSync(directory) ? readdirSync(directory, { recursive: true }) : []).toEqual([])
    expect(await tryConnect(port)).toBe('ECONNREFUSED')
  }
})
