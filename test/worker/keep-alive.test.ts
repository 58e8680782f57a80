import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { fixture, type Program } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

type State = 'held' | 'paused' | 'draining'

async function inState(
  state: State,
  env: Record<string, string> = {},
): Promise<{ program: Program; worker: FakeWorker; port: number }> {
  launcher = new FakeLauncher({ claim: () => (state === 'held' ? 'hold' : 'go') })
  const port = await freePort()
  const program = launcher.node(fixture('unref.cjs'), [port], env)
  const worker = await launcher.worker()
  await worker.report('listening')
  if (state === 'paused') await worker.order({ type: 'pause' })
  if (state === 'draining') {
    await worker.order({ type: 'drain', deadlineMs: 5_000, last: false })
    await worker.report('drained')
  }
  return { program, worker, port }
}

describe.each<State>(['held', 'paused', 'draining'])('a worker that is %s', (state) => {
  test('is kept alive by its server until that is closed', async () => {
    const { program, worker } = await inState(state)
    // Some turns of its event loop, with nothing else in it.
    for (let round = 0; round < 20; round++) await worker.order({ type: 'term', term: round, working: 1 })
    expect(program.isRunning).toBe(true)
    launcher.die()
    process.kill(program.pid, 'SIGUSR1')
    expect(await program.ended, 'unref').toEqual({ code: 0, signal: null })
  })

  test('ends by itself when the server was unref()ed before; ref() keeps it', async () => {
    const { program } = await inState(state)
    process.kill(program.pid, 'SIGUSR2')
    await program.line('ref')
    expect(program.isRunning).toBe(true)
    process.kill(program.pid, 'SIGUSR1')
    expect(await program.ended).toEqual({ code: 0, signal: null })
  })
})

test('an unref()ed server that is held does not keep the process', async () => {
  launcher = new FakeLauncher()
  const program = launcher.node(fixture('unref.cjs'), [await freePort()], { UNREF: '1' })
  expect(await program.ended).toEqual({ code: 0, signal: null })
})

test('resumed after many pauses it is the server that keeps the process, and only it', async () => {
  const { program, worker, port } = await inState('paused')
  for (let round = 0; round < 10; round++) {
    await worker.order({ type: 'resume' })
    await worker.order({ type: 'pause' })
  }
  await worker.order({ type: 'resume' })
  expect(await askHttp(port)).toBe(String(program.pid))
  process.kill(program.pid, 'SIGUSR1')
  expect(await program.ended).toEqual({ code: 0, signal: null })
})
