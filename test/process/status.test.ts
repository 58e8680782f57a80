import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ask, inHand } from '../support/clients'
import { type LogEvent, MAIN, runCli, startLauncher, type TestLauncher, userEnv } from '../support/launcher'
import { ROOT, TEST_NODE } from '../support/paths'
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
  const { stdout } = await launcher.run('status')
  expect(stdout).toMatch(/^test: serving, launcher pid \d+, generation 1, term 1, up \d/)
  expect(stdout).toMatch(/\n {2}slot +pid +gen +state +up +memory +pss +cpu +conns +queue +lag\n/)
  expect(stdout).toMatch(new RegExp(`\\n +0 +${pids[0]} +1  serving .* MB .* % +${expected[0]} +0 +[\\d.]+ ms\\n`))
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

test('while somebody watches, answers are counted; a look by itself counts nothing', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const client = await launcher.control()
  const requestsOf = async (watchMs?: number): Promise<number | null | undefined> => {
    const { slots } = await client.status(watchMs === undefined ? {} : { watchMs })
    return slots[0]?.worker?.requests
  }
  expect(await requestsOf()).toBeNull()
  expect(await requestsOf(30_000)).toBe(0)
  for (let i = 0; i < 5; i++) await ask(port)
  await until('all are counted', async () => (await requestsOf(30_000)) === 5)
  const [worker] = (await client.status()).slots.map((slot) => slot.worker)
  expect(worker?.requests).toBeNull()
  expect(worker?.rss).toBeGreaterThan(10e6)
  expect(worker?.cpuMs).toBeGreaterThan(0)
  expect(worker?.lagMs).toBeGreaterThan(0)

  const looks: string[] = []
  const watching = await runCli(
    ['status', '--watch', '--interval', '100ms', '--json', '--runtime-dir', launcher.runtimeDir, '--name', 'test'],
    {
      started: (child) => {
        child.stdout?.on('data', (data) => {
          looks.push(...String(data).trim().split('\n'))
          if (looks.length >= 3) child.kill('SIGINT')
        })
      },
    },
  )
  expect(watching).toMatchObject({ signal: 'SIGINT', stderr: '' })
  for (const line of looks.slice(0, 3)) expect(JSON.parse(line)).toMatchObject({ schema: 1, name: 'test' })
  await launcher.stop()
})

test('on a terminal the watch is drawn in place, and q ends it', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const words = [TEST_NODE, MAIN, 'status', '--watch', '--interval', '100ms', '--runtime-dir', launcher.runtimeDir]
  const terminal = spawn('script', ['-qec', `stty cols 60; exec ${words.join(' ')} --name test`, '/dev/null'], {
    env: { ...userEnv(), SHELL: '/bin/sh', TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void terminal.kill('SIGKILL'))
  let screen = ''
  terminal.stdout.on('data', (data: Buffer) => {
    screen += data
  })
  const ended = new Promise((done) => terminal.once('exit', done))
  await until('it is drawn again', () => /\x1b\[\d+A\x1b\[J.*serving/s.test(screen))
  terminal.stdin.write('q')
  expect(await ended).toBe(0)
  for (const line of screen.split('\n')) expect(line.replace(/\x1b\[\d*[AJ]|\r/g, '').length).toBeLessThan(60)
  await launcher.stop()
})

test('events: every event of the log, as it happens, to the end of the launcher', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  let seen = ''
  const reading = runCli(['events', '--runtime-dir', launcher.runtimeDir, '--name', 'test'], {
    started: (child) => child.stdout?.on('data', (data) => (seen += data)),
  })
  await until('it reads', () => {
    launcher.kill('SIGUSR1')
    return seen !== ''
  })
  const from = launcher.events.length
  await launcher.reload()
  await launcher.stop()
  const { code, stdout, stderr } = await reading
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const names = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as LogEvent).msg)
  const logged = launcher.events.slice(from).map(({ msg }) => msg)
  expect(logged).toContain('reload.done')
  expect(names.slice(-logged.length)).toEqual(logged)
  expect(names.at(-1)).toBe('launcher.stopped')
})
