import { describe, expect, test } from 'vitest'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { KeepAliveLoad } from '../support/worker/keep-alive-load'
import { openFiles } from '../support/worker/kernel'
import { RawConnection } from '../support/worker/raw-connection'

interface Scene {
  launcher: TestLauncher
  port: number
  versions: Versions
}

async function start(...options: string[]): Promise<Scene> {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({ command: versions.command(port), options, cwd: versions.directory })
  return { launcher, port, versions }
}

/** One worker of a server of which a request can be held until SIGUSR1, and a connection that has been used. */
async function held(...options: string[]): Promise<{ launcher: TestLauncher; pid: number; connection: RawConnection }> {
  const port = await freePort()
  const command = ['node', fixture('worker/migrate.cjs'), String(port)]
  const launcher = await startLauncher({ command, options: ['-n', '1', ...options] })
  const connection = await RawConnection.open(port)
  const [pid] = (await launcher.pids()) as [number]
  expect(await connection.ask()).toMatchObject({ body: String(pid) })
  connection.send('/held')
  await until('it is held', () => launcher.output.includes('held'))
  return { launcher, pid, connection }
}

test.each([['all'], ['rolling']])(
  '%s: ten reloads under keep-alive clients of every temper: none fails, none is closed or told to close (N-01)',
  async (strategy) => {
    const { launcher, port } = await start('-n', '2', '--strategy', strategy)
    const busy = new KeepAliveLoad(port, { connections: 16, thinkMs: 20 })
    const thinking = new KeepAliveLoad(port, { connections: 284, thinkMs: 800 })
    await until('all have been answered', () => busy.opened === 16 && thinking.opened === 284)
    for (let round = 0; round < (strategy === 'all' ? 10 : 3); round++) {
      const { result, workers } = await launcher.reload('retired')
      expect(result).toBe('done')
      const sum = (key: 'moved' | 'closed' | 'cut'): number => workers.reduce((total, one) => total + one[key], 0)
      expect({ moved: sum('moved'), closed: sum('closed'), cut: sum('cut') }).toEqual({ moved: 300, closed: 0, cut: 0 })
    }
    for (const load of [busy, thinking]) expect(await load.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
    await launcher.stop()
  },
)

test('--no-migrate: every connection is told to close, and no request fails', async () => {
  const { launcher, port } = await start('-n', '2', '--no-migrate')
  const load = new KeepAliveLoad(port, { connections: 100, thinkMs: 500 })
  await until('all have been answered', () => load.opened === 100)
  for (let round = 0; round < 2; round++) {
    const { workers } = await launcher.reload('retired')
    expect(workers).toMatchObject(Array(2).fill({ moved: 0, cut: 0 }))
  }
  const { failed, closedIdle, ended } = await load.stop()
  expect({ failed, closedIdle }).toEqual({ failed: 0, closedIdle: 0 })
  expect(ended).toBeGreaterThan(100)
  await launcher.stop()
})

describe('in the bake', () => {
  test('nothing moves: a new version that dies takes no connection with it that it has not accepted', async () => {
    const { launcher, port, versions } = await start('-n', '1', '--bake', '20s')
    const connection = await RawConnection.open(port)
    const { body } = await connection.ask()
    versions.deploy('exits-in 500')
    expect(await launcher.reload('retired')).toMatchObject({ result: 'undone' })
    expect(await connection.ask()).toMatchObject({ body, isLast: false })
    await launcher.stop()
  })

  test('--bake-migrate: they move at the handover, and an undo brings them back', async () => {
    const { launcher, port, versions } = await start(
      ...['-n', '1', '--bake', '1s', '--bake-migrate', '--bake-max-5xx', '1%'],
    )
    const connection = await RawConnection.open(port)
    const { body: old } = await connection.ask()
    versions.deploy('errs')
    const verdict = launcher.reload('retired')
    await launcher.event('reload.baking')
    const pids = await launcher.pids()
    await until('it is in the new version', async () => {
      const { body } = await connection.ask()
      return body !== old && pids.map(String).includes(body)
    })
    while (!launcher.events.some(({ msg }) => msg === 'reload.undoing')) await connection.ask('/version')
    expect(await verdict).toMatchObject({ result: 'undone' })
    expect(await connection.ask()).toMatchObject({ body: old, isLast: false })
    expect(await launcher.event('reload.retired')).toMatchObject({ moved: 1, closed: 0, cut: 0 })
    // What went and came back is not counted when the old one leaves for good.
    versions.deploy('two')
    expect(await launcher.reload('retired')).toMatchObject({
      result: 'done',
      workers: [{ moved: 1, closed: 0, cut: 0 }],
    })
    expect(connection.responses.filter(({ isLast }) => isLast)).toEqual([])
    await launcher.stop()
  })

  test('a new version that is undone and lives gives what it has to the old one', async () => {
    const { launcher, port, versions } = await start('-n', '1', '--bake', '20s', '--bake-max-5xx', '1%')
    const [old] = await launcher.pids()
    versions.deploy('errs')
    const verdict = launcher.reload('retired')
    await launcher.event('reload.baking')
    const connection = await RawConnection.open(port)
    // The answers that undo it.
    while (!launcher.events.some(({ msg }) => msg === 'reload.undoing')) await connection.ask('/version')
    expect(await verdict).toMatchObject({ result: 'undone' })
    expect(await launcher.event('reload.retired')).toMatchObject({ moved: 1, closed: 0, cut: 0 })
    expect(await connection.ask()).toMatchObject({ body: String(old), isLast: false })
    expect(connection.responses.filter(({ isLast }) => isLast)).toEqual([])
    await launcher.stop()
  })
})

test('a launcher that is killed meanwhile changes nothing', async () => {
  const { launcher, pid, connection } = await held()
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done' })
  const [next] = await launcher.pids()
  await launcher.when('it drains', ({ generations }) => generations.some(({ state }) => state === 'retiring'))
  launcher.kill('SIGKILL')
  await launcher.ended
  process.kill(pid, 'SIGUSR1')
  expect(await connection.response(1)).toMatchObject({ body: String(pid), isLast: false })
  await until('it goes on in the new one', async () => (await connection.ask()).body === String(next))
  expect(connection.responses.filter(({ isLast }) => isLast)).toEqual([])
})

test('when the successor dies in the drain, the next one gets what becomes idle', async () => {
  const { launcher, pid, connection } = await held()
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done' })
  const [first] = (await launcher.pids()) as [number]
  const withLane = openFiles(pid).length
  const from = launcher.events.length
  process.kill(first, 'SIGKILL')
  const { workerPid } = await launcher.event('worker.serving', undefined, from)
  await until('it has a lane again', () => openFiles(pid).length === withLane)
  process.kill(pid, 'SIGUSR1')
  expect(await connection.response(1)).toMatchObject({ body: String(pid), isLast: false })
  await until('the old one has gone', () => !isAlive(pid))
  expect(await connection.ask()).toMatchObject({ body: String(workerPid), isLast: false })
  await launcher.stop()
})
