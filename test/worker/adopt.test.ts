import { afterEach, expect, test } from 'vitest'
import type { ListenAddress } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { fixture, type Program } from '../support/worker/program.js'
import { RawConnection } from '../support/worker/raw-connection.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const everywhere = (port: number): ListenAddress => ({ kind: 'tcp', host: null, port, ipv6Only: false })
interface Started {
  program: Program
  worker: FakeWorker
}

async function workers(
  count: number,
  port: number,
  file = 'http.cjs',
  env: Record<string, string> = {},
): Promise<Started[]> {
  launcher = new FakeLauncher({ claim: () => 'go', slot: (index) => index })
  const started: Started[] = []
  for (let index = 0; index < count; index++) {
    const program = launcher.node(fixture(file), [port], env)
    const worker = await launcher.worker(index)
    await worker.report('listening')
    started.push({ program, worker })
  }
  return started
}

/** A sibling's socket: listens, nobody accepts from it. */
function sibling(port: number): { name: { listener: string; slot: number }; fd: number } {
  const fd = launcher.socketOf(everywhere(port), 1)
  native.listen(fd, 511)
  return { name: { listener: `tcp *:${port}`, slot: 1 }, fd }
}

test('a slot goes to and fro under load, nobody notices', async () => {
  const port = await freePort()
  const [first, second] = (await workers(2, port)) as [Started, Started]
  const socket = { name: { listener: `tcp *:${port}`, slot: 1 }, fd: launcher.socketOf(everywhere(port), 1) }
  let isRunning = true
  const answers = new Map<string, number>()
  const clients = Array.from({ length: 8 }, async () => {
    while (isRunning) {
      const answer = await askHttp(port)
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
    }
  })
  for (let cycle = 0; cycle < 60; cycle++) {
    await first.worker.order({ type: 'adopt' }, [socket])
    await second.worker.order({ type: 'pause' })
    await first.worker.order({ type: 'unadopt', socket: socket.name })
    await second.worker.order({ type: 'resume' })
  }
  isRunning = false
  await Promise.all(clients)
  expect([...answers.keys()].sort()).toEqual([first, second].map(({ program }) => String(program.pid)).sort())
  expect(native.acceptQueue(socket.fd).length).toBe(0)
})

test('server.close() ends the adopted slot too: refused, none answered, none left waiting', async () => {
  const port = await freePort()
  const [{ program, worker }] = (await workers(1, port)) as [Started]
  await worker.order({ type: 'adopt' }, [sibling(port)])
  process.kill(program.pid, 'SIGUSR2')
  await program.line('close')
  expect(await worker.report('released')).toEqual({ type: 'released', id: 1 })
  launcher.closeSockets()
  const answers = await Promise.all(Array.from({ length: 40 }, () => askHttp(port)))
  expect(new Set(answers)).toEqual(new Set(['ECONNREFUSED']))
})

test('a pause gives adopted slots up', async () => {
  const port = await freePort()
  const [{ worker }] = (await workers(1, port)) as [Started]
  const { name, fd } = sibling(port)
  await worker.order({ type: 'adopt' }, [{ name, fd }])
  await worker.order({ type: 'pause' })
  const early = Array.from({ length: 20 }, () => askHttp(port))
  const queues = [0, 1].map((slot) => launcher.socketOf(everywhere(port), slot))
  await until('all wait', () => queues.reduce((sum, socket) => sum + native.acceptQueue(socket).length, 0) === 20)
  await worker.order({ type: 'resume' })
  await worker.order({ type: 'adopt' }, [{ name, fd }])
  expect(new Set(await Promise.all(early)).size).toBe(1)
})

test('maxConnections counts over all slots', async () => {
  const port = await freePort()
  const [{ program, worker }] = (await workers(1, port, 'unref.cjs', { MAX_CONNECTIONS: '3' })) as [Started]
  await worker.order({ type: 'adopt' }, [sibling(port)])
  const connections: RawConnection[] = []
  for (let index = 0; index < 3; index++) {
    const connection = await RawConnection.open(port)
    await connection.ask()
    connections.push(connection)
  }
  for (let index = 0; index < 8; index++) await (await RawConnection.open(port)).closed()
  expect(program.lines.filter((line) => line === 'drop')).toHaveLength(8)
  for (const { socket } of connections) socket.destroy()
})

test('server.unref() lets a worker with an adopted slot end by itself', async () => {
  const port = await freePort()
  const [{ program, worker }] = (await workers(1, port, 'unref.cjs')) as [Started]
  await worker.order({ type: 'adopt' }, [sibling(port)])
  process.kill(program.pid, 'SIGUSR1')
  expect(await program.ended).toEqual({ code: 0, signal: null })
})
