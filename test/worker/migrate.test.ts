import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { layLane } from '../support/worker/lane.js'
import { fixture, type Program } from '../support/worker/program.js'
import { RawConnection } from '../support/worker/raw-connection.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

interface One {
  readonly worker: FakeWorker
  readonly program: Program
}

/** An old worker that serves and, after `handOver`, its successor: the old one paused. */
async function serving(
  file = 'migrate.cjs',
  env: Record<string, string> = {},
): Promise<{
  port: number
  listener: string
  old: One
  handOver(env?: Record<string, string>, file?: string): Promise<One>
}> {
  launcher = new FakeLauncher()
  const port = await freePort()
  let count = 0
  const start = async (variables: Record<string, string>, name: string): Promise<One> => {
    const program = launcher.node(fixture(name), [port], variables)
    const worker = await launcher.worker(count++)
    await worker.report('listening')
    return { worker, program }
  }
  const old = await start(env, file)
  launcher.listen()
  await old.worker.order({ type: 'admit' })
  return {
    port,
    listener: `tcp *:${port}`,
    old,
    handOver: async (variables = env, name = file) => {
      const next = await start(variables, name)
      await next.worker.order({ type: 'admit' })
      await old.worker.order({ type: 'pause' })
      return next
    },
  }
}

const drain = (worker: FakeWorker, deadlineMs = 20_000): Promise<unknown> =>
  worker.order({ type: 'drain', deadlineMs, last: false })
const outcome = async (worker: FakeWorker): Promise<unknown> => {
  const { ended, closed, cut, moved } = (await worker.report('drained')).outcome
  return { ended, closed, cut, moved }
}

/** Lane, then drain: what the launcher does when an old worker is retired. */
async function leave(old: One, next: One, listener: string): Promise<void> {
  await layLane(old.worker, next.worker, listener)
  await drain(old.worker)
}

describe('an idle connection', () => {
  test('fresh and used ones go on in the successor, and nothing is closed', async () => {
    const { port, listener, old, handOver } = await serving()
    const fresh = await RawConnection.open(port)
    const used = await RawConnection.open(port)
    expect((await used.ask()).body).toBe(String(old.program.pid))
    const next = await handOver()
    await leave(old, next, listener)
    expect(await outcome(old.worker)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 2 })
    for (const connection of [fresh, used])
      for (const _ of [1, 2])
        expect(await connection.ask()).toMatchObject({ body: String(next.program.pid), isLast: false })
  })
})
