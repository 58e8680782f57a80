import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { fixture, Program, root, TEST_NODE } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const bin = (name: string): string => join(root, 'node_modules', '.bin', name)
const [major = 0, minor = 0] = (await new Program([TEST_NODE, '-p', 'process.versions.node']).line(''))
  .split('.')
  .map(Number)
const hasExecve = major > 22 || (major === 22 && minor >= 15)

/** Held: the claim came through the wrapper. Admitted: it is the program that answers. */
async function isManaged(
  command: readonly string[],
  port: number,
  cwd?: string,
  env: Record<string, string> = {},
): Promise<void> {
  const program = launcher.start(command, env, cwd)
  const worker = await launcher.worker()
  await worker.report('listening')
  expect(JSON.parse(await program.line('listening'))).toMatchObject({ port })
  expect(await askHttp(port)).toBe('ECONNREFUSED')
  launcher.listen()
  await worker.order({ type: 'admit' })
  expect(await askHttp(port)).toBe(String(worker.pid))
  expect(launcher.workers).toHaveLength(1)
  await worker.order({ type: 'drain', deadlineMs: 1_000, last: false })
  await worker.report('drained')
  process.kill(worker.pid, 'SIGKILL')
}

describe('behind a wrapper', () => {
  const ways = ['spawn', 'fork', 'exec', 'spawnSync', 'execSync', 'execFileSync', ...(hasExecve ? ['execve'] : [])]
  test.each(ways)('child_process.%s', async (way) => {
    launcher = new FakeLauncher()
    const port = await freePort()
    await isManaged([TEST_NODE, fixture('wrapper.cjs'), way, fixture('http.cjs'), String(port)], port)
  })

  test('an ES module with spawnSync by name', async () => {
    launcher = new FakeLauncher()
    const port = await freePort()
    await isManaged([TEST_NODE, fixture('wrapper.mjs'), fixture('http.cjs'), String(port)], port)
  })

  test('sh -c, and a wrapper of a wrapper (A-22)', async () => {
    launcher = new FakeLauncher()
    const port = await freePort()
    const wrapper = `"${fixture('wrapper.cjs')}"`
    const command = `"${TEST_NODE}" ${wrapper} exec ${wrapper} spawn "${fixture('http.cjs')}" ${port}; true`
    await isManaged(['sh', '-c', command], port)
  })

  test('tsx', async () => {
    launcher = new FakeLauncher()
    const port = await freePort()
    await isManaged([TEST_NODE, bin('tsx'), fixture('typescript.ts'), String(port)], port)
  })

  test("npm start, with the user's own NODE_OPTIONS (J-05)", async () => {
    launcher = new FakeLauncher()
    const port = await freePort()
    const directory = mkdtempSync(join(tmpdir(), 'rr-npm-'))
    try {
      const script = `node --stack-trace-limit=33 "${fixture('http.cjs')}" ${port}`
      writeFileSync(join(directory, 'package.json'), JSON.stringify({ name: 'app', scripts: { start: script } }))
      const env = { NODE_OPTIONS: `--max-http-header-size=20000 ${launcher.env().NODE_OPTIONS} --stack-trace-limit=22` }
      await isManaged(['npm', 'start', '--silent', '--no-update-notifier'], port, directory, env)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

describe('what the program sees', () => {
  test('nothing of us, nor do its threads; children inherit until it has claimed (J-01, S-18)', async () => {
    launcher = new FakeLauncher({ claim: () => 'go' })
    const port = await freePort()
    const options = '--max-http-header-size=20000'
    const program = launcher.node(fixture('environment.cjs'), [port], {
      NODE_OPTIONS: `${options} ${launcher.env().NODE_OPTIONS}`,
    })
    expect(await program.line('program')).toBe(JSON.stringify([['NODE_OPTIONS', options]]))
    expect(await program.line('thread')).toBe(JSON.stringify([['NODE_OPTIONS', options]]))
    expect(await program.line('before')).toBe('3 3')
    expect(await program.line('after')).toBe('0 0')
  })

  test('no NODE_OPTIONS at all when there was only ours', async () => {
    launcher = new FakeLauncher({ claim: () => 'go' })
    const program = launcher.node(fixture('environment.cjs'), [await freePort()])
    expect(await program.line('program')).toBe('[]')
  })
})

test('a second process of the same spawn is told so and listens by itself (J-08)', async () => {
  launcher = new FakeLauncher({
    claim: () => 'go',
    greet: () => ({ type: 'refused', code: 'not-the-worker', message: 'pid 1 is the worker of this spawn' }),
  })
  const port = await freePort()
  const program = launcher.node(fixture('http.cjs'), [port])
  expect(JSON.parse(await program.line('listening'))).toMatchObject({ port })
  expect(await askHttp(port)).toBe(String(program.pid))
  expect(program.errors).toEqual([
    `reuseport-run: this process (pid ${program.pid}) is not managed: pid 1 is the worker of this spawn (not-the-worker)`,
  ])
})

test('node:cluster: the primary is the worker, its children are left alone', async () => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const program = launcher.node(fixture('cluster.cjs'), [port])
  const worker = await launcher.worker()
  expect(worker.pid).toBe(program.pid)
  await worker.report('listening')
  expect(await askHttp(port)).toBe('ECONNREFUSED')
  launcher.listen()
  await worker.order({ type: 'admit' })
  expect(await askHttp(port)).toBe(`child ${program.pid}`)
  await worker.order({ type: 'pause' })
  const waiting = askHttp(port)
  const socket = launcher.socketOf({ kind: 'tcp', host: null, port, ipv6Only: false })
  await until('the client is queued', () => native.acceptQueue(socket).length === 1)
  await worker.order({ type: 'resume' })
  expect(await waiting).toBe(`child ${program.pid}`)
  expect(launcher.workers).toHaveLength(1)
  process.kill(program.pid, 'SIGUSR2')
  expect(await worker.report('released')).toEqual({ type: 'released', id: 1 })
})
