import { chmodSync, readFileSync, rmSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ask, Clients, tryConnect } from '../support/clients'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { native } from '../support/worker/addon'

async function start(
  options: readonly string[] = [],
): Promise<{ launcher: TestLauncher; port: number; pids: number[] }> {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2', ...options],
    cwd: versions.directory,
  })
  return { launcher, port, pids: await launcher.pids() }
}

const gone = (pids: readonly number[]): Promise<boolean> => until('they have gone', () => !pids.some(isAlive))

/** Of both kinds of mode, in seconds (proc(5)). */
function cpuSeconds(pid: number): number {
  const [, , , , , , , , , , , user = '0', system = '0'] =
    readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(user) + Number(system)) / 100
}

test('status without a launcher says who serves, reload says what to do, and stop ends them; nobody notices the first two (B-01)', async () => {
  const { launcher, port, pids } = await start()
  const clients = new Clients(port)
  await launcher.die()
  const { code, stdout } = await launcher.run('status', '--json')
  expect(code).toBe(0)
  const status = JSON.parse(stdout)
  expect(status).toMatchObject({ pid: null, state: 'orphaned', working: 1, term: 1, warnings: [] })
  expect(status.slots.map(({ worker }: { worker: { pid: number } }) => worker.pid)).toEqual(pids)
  expect((await launcher.run('status')).stdout).toContain('orphaned, no launcher')
  const reload = await launcher.run('reload')
  expect(reload.code).toBe(3)
  expect(reload.stderr).toContain('its workers serve on')
  expect(reload.stderr).toContain('Start it again in ')
  await clients.more(50)
  expect((await clients.stop()).failures).toEqual([])
  expect(await launcher.run('stop')).toMatchObject({ code: 0, stderr: '' })
  await gone(pids)
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
  for (const verb of ['status', 'stop']) expect((await launcher.run(verb)).code).toBe(3)
})

test('a status does not keep a start from its name', async () => {
  const { launcher, pids } = await start()
  await launcher.die()
  const looks = Array.from({ length: 4 }, () => launcher.run('status', '--json'))
  const next = await launcher.next()
  expect(await next.pids()).toEqual(pids)
  for (const { code } of await Promise.all(looks)) expect([0, 75]).toContain(code)
})

test('without a launcher a worker costs next to nothing, and says one line (B-07)', async () => {
  const { launcher, pids } = await start()
  await launcher.die()
  const [before, began] = [pids.map(cpuSeconds), Date.now()]
  await until('it has been tried a few times', () => Date.now() - began > 3_000)
  const spent = pids.map((pid, index) => cpuSeconds(pid) - (before[index] ?? 0))
  expect(Math.max(...spent)).toBeLessThan(0.01 * 3 + 0.02)
  expect(launcher.errors.filter((line) => line.includes('the launcher is gone'))).toHaveLength(2)
})

test('--orphan-timeout: nobody comes, so they drain and end; before that nothing changes', async () => {
  const { launcher, port, pids } = await start(['--orphan-timeout', '1s'])
  await launcher.die()
  expect(pids.map(String)).toContain(await ask(port))
  await gone(pids)
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
  expect(launcher.errors.filter((line) => line.includes('this worker ends'))).toHaveLength(2)
})

test('--orphan-timeout: who is taken over in time stays', async () => {
  const { launcher, port, pids } = await start(['--orphan-timeout', '1500ms'])
  await launcher.die()
  const next = await launcher.next({ options: ['-n', '2'] })
  const began = Date.now()
  await until('its time has passed', () => Date.now() - began > 1_600)
  expect(await next.pids()).toEqual(pids)
  expect(pids.map(String)).toContain(await ask(port))
})

test('--die-with-launcher: they do (B-12)', async () => {
  const { launcher, port, pids } = await start(['--die-with-launcher'])
  await launcher.die()
  await gone(pids)
  await until('their sockets are closed', async () => (await tryConnect(port)) === 'ECONNREFUSED')
})

test('--die-with-launcher holds for a program behind a wrapper, which the kernel tells nothing (B-12)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const [, ...argv] = versions.command(port)
  const launcher = await startLauncher({
    command: ['sh', '-c', `node ${argv.join(' ')}; true`],
    options: ['--die-with-launcher'],
    cwd: versions.directory,
  })
  const pid = Number(await ask(port))
  await launcher.die()
  await gone([pid])
})

test('a program that writes all the time to pipes that nobody reads serves on (L-07)', async () => {
  const port = await freePort()
  const script = `setInterval(() => { console.log('x'.repeat(999)); console.error('y'.repeat(999)) }, 1)
    require('http').createServer((_, response) => response.end('here')).listen(${port})`
  const launcher = await startLauncher({ command: ['node', '-e', script] })
  const [pid] = await launcher.pids()
  await launcher.die()
  launcher.child.stdout?.destroy()
  launcher.child.stderr?.destroy()
  const began = Date.now()
  await until('it has written a lot more', () => Date.now() - began > 1_000)
  expect(await ask(port)).toBe('here')
  expect(isAlive(pid as number)).toBe(true)
})

// Their sockets are in one group with the new ones, and what leaves that may take a connection with it (docs/limits.md).
test.each([
  ['its first generation', 0],
  ['a generation that the new one never had', 1],
])(
  'the runtime directory was removed with the launcher: a new one starts beside them, and they leave when that serves: %s (H-08)',
  async (_, reloads) => {
    const { launcher, port } = await start()
    for (let n = 0; n < reloads; n++) expect((await launcher.reload('retired')).result).toBe('done')
    const pids = await launcher.pids()
    await launcher.die()
    rmSync(launcher.directory, { recursive: true })
    const next = await launcher.beside()
    await next.event('worker.late')
    await gone(pids)
    expect(await next.pids()).toHaveLength(2)
    expect(pids.map(String)).not.toContain(await ask(port))
  },
)

test('whoever offers itself with a token that no spawn had is refused, and changes nothing (B-10)', async () => {
  const { launcher, pids } = await start()
  await launcher.die()
  const next = await launcher.next()
  const fd = native.socket('unix', 'seqpacket')
  native.connectUnix(fd, `${launcher.directory}/channel.sock`)
  const rejoin = {
    generation: 9,
    slot: 0,
    state: 'serving',
    term: 99,
    working: 9,
    startedAt: 0,
    claims: [],
    sockets: [],
    adopted: [],
  }
  const hello = { type: 'hello', version: 1, token: 'a-guess', node: process.version, thread: 0, rejoin }
  native.sendMessage(fd, Buffer.from(JSON.stringify(hello)), [])
  await next.event('channel.refused', ({ code }) => code === 'token')
  native.close(fd)
  expect(await next.status()).toMatchObject({ term: 1, working: 1 })
  expect(await next.pids()).toEqual(pids)
})

test('who may not read what the launcher has left is told so, and touches nothing', async () => {
  const { launcher, pids } = await start()
  await launcher.die()
  chmodSync(launcher.directory, 0o755)
  const { code, stderr } = await launcher.run('stop')
  chmodSync(launcher.directory, 0o700)
  expect([code, stderr]).toEqual([1, expect.stringContaining('ERR_RUNTIME_DIR')])
  expect(pids.every(isAlive)).toBe(true)
})
