import { afterEach, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

test('each thread that listens has a channel of its own and lives through it all (J-08)', async () => {
  launcher = new FakeLauncher()
  const ports = [await freePort(), await freePort()]
  const program = launcher.node(fixture('threads.cjs'), ports)
  const workers = [await launcher.worker(0), await launcher.worker(1)]
  expect(workers.map(({ hello }) => hello?.thread).sort()).toEqual([1, 2])
  expect(workers.map(({ pid }) => pid)).toEqual([program.pid, program.pid])
  for (const worker of workers) await worker.report('listening')
  for (const port of ports) expect(await askHttp(port)).toBe('ECONNREFUSED')

  launcher.listen()
  for (const worker of workers) await worker.order({ type: 'admit' })
  expect(await Promise.all(ports.map((port) => askHttp(port)))).toEqual(['thread 1', 'thread 2'])
  for (const worker of workers) await worker.order({ type: 'pause' })
  const waiting = ports.map((port) => askHttp(port))
  for (const worker of workers) await worker.order({ type: 'resume' })
  expect(await Promise.all(waiting)).toEqual(['thread 1', 'thread 2'])
  for (const worker of workers) {
    await worker.order({ type: 'drain', deadlineMs: 2_000, last: false })
    expect((await worker.report('drained')).outcome).toMatchObject({ cut: 0 })
  }
  program.child.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: null, signal: 'SIGTERM' })
  expect(program.errors).toEqual([])
})

test('a thread that is terminated while it is held, or serves, does not take the process with it', async () => {
  launcher = new FakeLauncher()
  const ports = [await freePort(), await freePort()]
  const program = launcher.node(fixture('threads.cjs'), ports)
  for (const index of [0, 1]) await (await launcher.worker(index)).report('listening')
  launcher.listen()
  const second = launcher.workers.find(({ hello }) => hello?.thread === 2)
  await second?.order({ type: 'admit' })
  program.child.kill('SIGUSR2')
  await program.line('terminated')
  expect(await askHttp(ports[1] ?? 0)).toBe('thread 2')
  expect(program.isRunning).toBe(true)
})

test('a thread that ends by itself hangs up', async () => {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const ports = [await freePort(), await freePort()]
  launcher.node(fixture('threads.cjs'), ports)
  for (const index of [0, 1]) await (await launcher.worker(index)).report('listening')
  const first = launcher.workers.find(({ hello }) => hello?.thread === 1)
  expect(await askHttp(ports[0] ?? 0, '/exit')).toBe('ECONNRESET')
  await until('the end of its channel', () => first?.isOpen === false)
  expect(await askHttp(ports[1] ?? 0)).toBe('thread 2')
})
