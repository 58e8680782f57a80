import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { WorkerVerdict } from '../../src/control-protocol'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'

/*
 * --warmup: a new worker is asked over connections of its own before it is admitted.
 */

async function start(
  port: number,
  warmup: string,
  options: readonly string[] = [],
  kind = 'http',
): Promise<TestLauncher> {
  return startLauncher({
    command: ['node', fixture('servers/warms.cjs'), String(port), kind],
    options: ['-n', '2', '--warmup', warmup, ...options],
  })
}

async function warmed(launcher: TestLauncher): Promise<WorkerVerdict[]> {
  const verdict = await launcher.reload('admitted')
  expect(verdict).toMatchObject({ result: 'done', notes: [] })
  return [...verdict.workers]
}

test('no client meets a worker that is not warm, at the first start or after a reload', async () => {
  const port = await freePort()
  const launcher = await start(port, '60:/,/a,/b', ['--health', '/'])
  // What its health check has asked counts as well.
  const seen = async (): Promise<number> => Number((await ask(port, '/')).split(' ')[1])
  expect(await seen()).toBeGreaterThanOrEqual(60)
  const clients = new Clients(port)
  for (const { ms, warmup } of await warmed(launcher)) {
    expect(warmup).toMatchObject({ requests: 60, answered: 60, bad: 0, trouble: null })
    expect(ms.proven).toBeLessThanOrEqual(ms.warm as number)
    expect(ms.warm).toBeLessThanOrEqual(ms.admitted as number)
  }
  await clients.more(100)
  for (let client = 0; client < 20; client++) expect(await seen()).toBeGreaterThanOrEqual(60)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test.each(['http', 'https', 'h2', 'h2c'])('%s: every request is answered, the first one slowly', async (kind) => {
  const port = await freePort()
  const launcher = await start(port, '50:/', ['--warmup-concurrency', '1'], kind)
  for (const { warmup, ms } of await warmed(launcher)) {
    expect(warmup).toMatchObject({ requests: 50, answered: 50, bad: 0, trouble: null })
    expect(warmup?.firstMs).toBeGreaterThanOrEqual(50)
    expect(warmup?.lastMs).toBeLessThan(warmup?.firstMs as number)
    expect(ms.proven).toBe(undefined)
  }
  await launcher.stop()
})

test('a server that ends each connection is asked over new ones', async () => {
  const launcher = await start(await freePort(), '30:/last')
  for (const { warmup } of await warmed(launcher))
    expect(warmup).toMatchObject({ requests: 30, answered: 30, bad: 0, trouble: null })
  await launcher.stop()
})

test.each([
  [
    '20:/missing',
    { answered: 20, bad: 20, trouble: null },
    '20 of 20 answers of the warm-up had a status of 400 or more',
  ],
  [
    '20:/hang',
    { answered: 0, firstMs: null, lastMs: null, trouble: 'not all within 300 ms' },
    '0 of 20 requests of the warm-up were answered: not all within 300 ms',
  ],
  ['20:/reset', { answered: 0, trouble: 'ECONNRESET' }, '0 of 20 requests of the warm-up were answered: ECONNRESET'],
])('%s: the worker is admitted all the same, and the verdict says so', async (warmup, report, note) => {
  const port = await freePort()
  const launcher = await start(port, warmup, ['--warmup-timeout', '300ms'])
  const verdict = await launcher.reload('admitted')
  expect(verdict.result).toBe('done')
  for (const worker of verdict.workers) expect(worker.warmup).toMatchObject(report)
  expect(verdict.notes).toHaveLength(2)
  for (const text of verdict.notes) expect(text).toContain(note)
  const old = await launcher.pids()
  expect(old.map(String)).toContain((await ask(port, '/')).split(' ')[0])
  await launcher.stop()
})

test('a version that ends in its warm-up is refused', async () => {
  const [port, cwd] = [await freePort(), temporaryDirectory()]
  const launcher = await startLauncher({
    command: ['node', fixture('servers/warms.cjs'), String(port)],
    options: ['-n', '2', '--warmup', '20:/fragile'],
    cwd,
  })
  const clients = new Clients(port)
  const old = await launcher.pids()
  writeFileSync(join(cwd, 'bad'), '')
  const verdict = await launcher.reload()
  expect(verdict).toMatchObject({ result: 'aborted', reason: expect.stringContaining('exited with code 3') })
  expect(await launcher.pids()).toEqual(old)
  rmSync(join(cwd, 'bad'))
  expect((await launcher.reload()).result).toBe('done')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})
