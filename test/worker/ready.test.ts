import { afterEach, expect, test } from 'vitest'
import { ENV_READY } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { fixture, type Program, TEST_NODE } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const ours = { [ENV_READY]: 'message' }

async function start(
  way: string,
  env: Record<string, string> = ours,
  before: readonly string[] = [],
): Promise<{ worker: FakeWorker; program: Program }> {
  launcher = new FakeLauncher()
  const command = [TEST_NODE, ...before, fixture('ready.cjs'), String(await freePort()), way]
  const program = launcher.start(command, env)
  const worker = await launcher.worker()
  await worker.report('listening')
  return { worker, program }
}

/** What it has said up to the answer to a question that is asked now. */
async function types(worker: FakeWorker): Promise<string[]> {
  await worker.order({ type: 'ping' })
  return worker.received.map(({ type }) => type)
}

test("process.send('ready') of a program without a parent is a report", async () => {
  const { worker, program } = await start('later')
  expect(await program.line('send')).toBe('function true')
  expect(await types(worker)).not.toContain('ready')
  program.child.kill('SIGUSR2')
  await worker.report('ready')
  expect(await program.line('sent')).toBe('true')
  expect(await program.line('callback')).toBe('null')
})

test('said before the first listen() it is told with the first claim', async () => {
  const { worker } = await start('before')
  expect(await types(worker)).toEqual(['hello', 'claim', 'ready', 'listening', 'ack'])
})

test('it is told once, and only for the word itself', async () => {
  const { worker, program } = await start('twice')
  program.child.kill('SIGUSR2')
  expect((await types(worker)).filter((type) => type === 'ready')).toHaveLength(1)
  await launcher.end()
  const other = await start('other')
  expect(await other.program.line('sent')).toBe('true')
  expect(await types(other.worker)).not.toContain('ready')
})

test('process.disconnect() does what a program expects of it', async () => {
  const { worker, program } = await start('later')
  program.child.kill('SIGUSR1')
  expect(await program.line('disconnected')).toBe('false')
  await types(worker)
})

test.each(['spawn', 'fork', 'execSync'])('it is heard through a wrapper that uses %s', async (way) => {
  const { worker, program } = await start('later', ours, [fixture('wrapper.cjs'), way])
  process.kill(worker.pid, 'SIGUSR2')
  await worker.report('ready')
  expect(program.errors).toEqual([])
  // Its wrapper ends with it, and nobody else would end it.
  process.kill(worker.pid, 'SIGKILL')
})

test('what is not asked for is not there', async () => {
  const { program } = await start('later', {})
  expect(await program.line('send')).toBe('undefined undefined')
})
