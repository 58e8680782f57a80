import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { DatagramClient } from '../support/datagram-client'
import { TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { signal } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/*
 * UDP under the launcher: programs that bind by bindReusePort.
 */

/** So many are never all of one slot of two. */
const FLOWS = 20

interface Scene {
  launcher: TestLauncher
  port: number
  versions: Versions
}

async function start(options: readonly string[], version = 'one', bound: object = {}): Promise<Scene> {
  const [port, versions] = [await freePort(), new Versions(version)]
  const launcher = new TestLauncher({
    command: ['node', fixture('servers/datagrams.cjs'), String(port), JSON.stringify(bound)],
    options: ['--park', '100ms', ...options],
    cwd: versions.directory,
  })
  return { launcher, port, versions }
}

const said = ({ output }: TestLauncher, pid: number): string[] =>
  output.flatMap((line) => (line.startsWith(`${pid} `) ? [line.slice(`${pid} `.length)] : []))

/** The last process that has bound its socket, but for these, when there is one. */
function bound({ output }: TestLauncher, generation: number, but: readonly number[] = []): Promise<number> {
  return until('it has bound its socket', () => {
    const all = output.flatMap((line) =>
      line.endsWith(`bound launcher ${generation}`) ? Number(line.split(' ')[0]) : [],
    )
    return all.findLast((pid) => !but.includes(pid))
  })
}

/** Nothing was lost, and nothing was answered twice. */
async function lossless(client: DatagramClient): Promise<void> {
  expect(client.sent).toBeGreaterThan(100)
  expect(await client.stop()).toEqual([])
  expect(client.twice).toEqual([])
}

test('ten reloads of two workers under load: no datagram is lost, none is answered twice (N-15)', async () => {
  const { launcher, port } = await start(['-n', '2'])
  await launcher.serving()
  const client = new DatagramClient(port, FLOWS)
  for (let reload = 1; reload <= 10; reload++) {
    const old = await launcher.pids()
    await client.isWith(...old)
    const { result, workers } = await launcher.reload('retired')
    expect([result, workers.map(({ kinds }) => kinds)]).toEqual([
      'done',
      Array(2).fill({ udp: { moved: 0, closed: 1, cut: 0 } }),
    ])
    await client.isWith(...(await launcher.pids()))
    for (const pid of old) {
      await until('it has said all', () => said(launcher, pid).some((line) => line.startsWith('drained')))
      expect(said(launcher, pid)).toEqual([
        `bound launcher ${reload}`,
        'handover',
        'drain {"deadlineMs":30000}',
        'closed {"hasSuccessor":true}',
        'drained {"moved":0,"ended":1,"closed":0,"cut":0}',
      ])
    }
  }
  await lossless(client)
  await launcher.stop()
})

test('nothing is received before ready(): at the first start it waits, at a reload the old version answers', async () => {
  const { launcher, port, versions } = await start(['-n', '1'], 'late')
  const first = await bound(launcher, 1)
  const client = new DatagramClient(port)
  await until('all are sent', () => client.sent === 50)
  const { listeners } = await launcher.when('it is there', (status) => status.listeners.length === 1)
  expect(listeners).toMatchObject([{ address: `udp 0.0.0.0:${port}`, sockets: [{ dropped: 0 }] }])
  const queue = listeners[0]?.sockets[0]?.queue ?? 0
  expect(queue).toBeGreaterThan(50)
  expect((await launcher.run('status')).stdout).toContain(`queue ${queue} bytes, dropped 0, held by`)
  expect(client.answeredBy.size).toBe(0)
  signal(first, 'SIGUSR2')
  await launcher.serving()
  await client.isWith(first)
  versions.deploy('late')
  const verdict = launcher.reload()
  const second = await bound(launcher, 2)
  await client.isWith(first)
  signal(second, 'SIGUSR2')
  expect(await verdict).toMatchObject({ result: 'done' })
  await client.isWith(second)
  await lossless(client)
  await launcher.stop()
})

test('a version that dies in the bake is undone: the old one receives again', async () => {
  const { launcher, port, versions } = await start(['-n', '2', '--bake', '1s'])
  await launcher.serving()
  const old = await launcher.pids()
  const client = new DatagramClient(port, FLOWS)
  await client.isWith(...old)
  versions.deploy('exits-in 200')
  expect(await launcher.reload('baked')).toMatchObject({ result: 'undone' })
  await client.isWith(...old)
  versions.deploy('one')
  expect(await launcher.reload('retired')).toMatchObject({ result: 'done' })
  await client.isWith(...(await launcher.pids()))
  // What those had received that died is the only thing that may be missing.
  const lost = await client.stop()
  expect(lost.length).toBeLessThanOrEqual(50)
  expect(client.twice).toEqual([])
  await launcher.stop()
})

test('the socket of a killed worker is read by its sibling, until its slot has a worker again', async () => {
  const { launcher, port, versions } = await start(['-n', '2'])
  await launcher.serving()
  const [first, second] = (await launcher.pids()) as [number, number]
  const client = new DatagramClient(port, FLOWS)
  await client.isWith(first, second)
  expect(new Set(client.lastOf)).toEqual(new Set([first, second]))
  const atFirst = client.lastOf.map((pid) => pid === first)
  versions.deploy('late')
  signal(first, 'SIGSTOP')
  await until('it holds all that waits', () => client.sent > 0 && client.answeredBy.size === 2)
  signal(first, 'SIGKILL')
  await launcher.when('slot 0 is adopted', (status) => status.slots[0]?.adoptedBy === 1)
  await client.isWith(second)
  const third = await bound(launcher, 1, [first, second])
  await client.isWith(second)
  signal(third, 'SIGUSR2')
  await client.isWith(second, third)
  await until('its flows are back', () => client.lastOf.every((pid, flow) => (pid === third) === atFirst[flow]))
  await lossless(client)
  await launcher.stop()
})

test('more workers and fewer: no datagram is lost', async () => {
  const { launcher, port } = await start(['-n', '2'])
  await launcher.serving()
  const client = new DatagramClient(port, FLOWS)
  await client.isWith(...(await launcher.pids()))
  const control = await launcher.control()
  for (const to of [1, 2, 3, 1, 2]) {
    await control.scale({ to })
    await client.isWith(...(await launcher.pids()))
    if (to === 1) await launcher.when('one is left', ({ listeners }) => listeners[0]?.sockets.length === 1)
  }
  await lossless(client)
  await launcher.stop()
})

test('a warm spare takes the slot of a worker that has died', async () => {
  const { launcher, port } = await start(['-n', '2', '--standby', '1'])
  await launcher.serving()
  const { standby } = await launcher.when('it is ready', (status) => status.standby[0]?.isReady === true)
  const [, second] = (await launcher.pids()) as [number, number]
  const spare = standby[0]?.pid as number
  const client = new DatagramClient(port, FLOWS)
  signal(second, 'SIGKILL')
  const { slots } = await launcher.when('it serves', (status) => status.slots[1]?.worker?.pid === spare)
  await client.isWith(...slots.map(({ worker }) => worker?.pid as number))
  await until('it answers', () => client.lastOf.includes(spare))
  await client.stop()
  await launcher.stop()
})

test('a canary gets its share of the clients, and a promoted one is replaced with all others', async () => {
  const { launcher, port } = await start(['-n', '2'])
  await launcher.serving()
  const client = new DatagramClient(port, FLOWS)
  await client.isWith(...(await launcher.pids()))
  const control = await launcher.control()
  const plan = { share: 0.99, by: 'random', forMs: 60_000, max5xx: null, maxLatency: null } as const
  const verdict = control.reload({ wait: 'retired', canary: plan })
  await launcher.when('it is watched', ({ reload }) => reload?.step === 'canary')
  const canary = await bound(launcher, 2)
  await client.isWith(canary)
  await control.promote()
  expect(await verdict).toMatchObject({ result: 'done' })
  await client.isWith(...(await launcher.pids()))
  await lossless(client)
  await launcher.stop()
})

test('a socket that is left open in a drain is cut at its deadline', async () => {
  const { launcher, port } = await start(['-n', '1', '--drain-timeout', '300ms'], 'keeps')
  await launcher.serving()
  const client = new DatagramClient(port)
  const { workers } = await launcher.reload('retired')
  expect(workers).toMatchObject([{ cut: 1, kinds: { udp: { cut: 1 } } }])
  await lossless(client)
  await launcher.stop()
})

test('one that the program closes is its own end, and its port is free', async () => {
  const { launcher, port } = await start(['-n', '1'])
  await launcher.serving()
  const [pid] = (await launcher.pids()) as [number]
  signal(pid, 'SIGHUP')
  await until('it says so', () => said(launcher, pid).includes('closed {"hasSuccessor":false}'))
  expect(said(launcher, pid).at(-1)).toBe('drained {"moved":0,"ended":0,"closed":0,"cut":0}')
  await launcher.event('listener.dropped')
  // When the worker has closed its spare copy.
  await until('the port is free', async () => {
    const socket = createSocket('udp4').bind(port)
    const isFree = await once(socket, 'listening').then(
      () => true,
      () => false,
    )
    if (isFree) socket.close()
    return isFree
  })
})

test('--ports leaves others to Node, and what is taken is said', async () => {
  const { launcher, port } = await start(['-n', '1', '--ports', '1', '--ready-timeout', '500ms'])
  launcher.expectExit(1)
  await until('it is bound', () => launcher.output.some((line) => line.endsWith('bound none null')))
  await launcher.leavesNothing()
  const other = createSocket('udp4').bind(port)
  await once(other, 'listening')
  const second = new TestLauncher({
    command: ['node', fixture('servers/datagrams.cjs'), String(port)],
    cwd: new Versions().directory,
    exitCode: 1,
  })
  await second.leavesNothing()
  expect((await second.event('listener.failed'))['reason']).toBe(
    `0.0.0.0:${port} is in use (UDP). ss -lunp shows by whom.`,
  )
  expect(second.errors.join('\n')).toContain(`bind EADDRINUSE 0.0.0.0:${port}`)
  other.close()
})

describe('--udp-linger', () => {
  test("flows that are known stay with the old worker, new ones are the new one's, and each changes once", async () => {
    const { launcher, port } = await start(['-n', '1', '--udp-linger', '2s'])
    await launcher.serving()
    const [old] = (await launcher.pids()) as [number]
    const client = new DatagramClient(port, FLOWS)
    await client.isWith(old)
    const verdict = launcher.reload('retired')
    await launcher.event('reload.admitted')
    const [next] = (await launcher.pids()) as [number]
    const fresh = client.add()
    await until('the new flow is answered', () => client.lastOf[fresh] !== 0)
    expect(new Set(client.lastOf.slice(0, FLOWS))).toEqual(new Set([old]))
    expect(said(launcher, old)).toEqual(['bound launcher 1'])
    expect(await verdict).toMatchObject({ result: 'done', workers: [{ cut: 0, kinds: { udp: { closed: 1 } } }] })
    await client.isWith(next)
    expect(client.turns).toEqual([...Array(FLOWS).fill([old, next]), [next]])
    await lossless(client)
    await launcher.stop()
  })

  test('flows of two workers are kept and let go under load: no datagram is lost, none is answered twice', async () => {
    const { launcher, port } = await start(['-n', '2', '--udp-linger', '150ms'])
    await launcher.serving()
    const client = new DatagramClient(port, FLOWS)
    for (let reload = 0; reload < 5; reload++) {
      await client.isWith(...(await launcher.pids()))
      expect(await launcher.reload('retired')).toMatchObject({ result: 'done' })
    }
    await client.isWith(...(await launcher.pids()))
    await lossless(client)
    await launcher.stop()
  })

  test('a version that dies in the bake never gets them', async () => {
    const { launcher, port, versions } = await start(['-n', '1', '--bake', '10s', '--udp-linger', '20s'])
    await launcher.serving()
    const [old] = (await launcher.pids()) as [number]
    const client = new DatagramClient(port, FLOWS)
    await client.isWith(old)
    versions.deploy('exits-in 300')
    expect(await launcher.reload('baked')).toMatchObject({ result: 'undone' })
    await client.isWith(old)
    expect(client.turns).toEqual(Array(FLOWS).fill([old]))
    await lossless(client)
    await launcher.stop()
  })
})
