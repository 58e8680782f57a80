import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CommandAttempt, type CommandPlace } from '../../src/launcher/probe/command.js'
import { loopbackPair } from '../../src/launcher/probe/pair.js'
import type { Native } from '../../src/native.js'
import type { HealthOptions } from '../../src/options.js'
import { openFiles, sameFilesAs } from '../native/support/open-files.js'
import { freePort } from '../support/ports.js'
import { marked } from '../support/processes.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp, askUnix } from '../support/worker/clients.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { attempt, handTo, healthOf } from '../support/worker/probing.js'
import { fixture, Program, TEST_NODE } from '../support/worker/program.js'

let launcher: FakeLauncher
let before: number[]
beforeEach(() => {
  before = openFiles()
})
afterEach(async () => {
  await launcher.end()
  await sameFilesAs(before)
})

interface Held {
  program: Program
  worker: FakeWorker
  port: number
  ask(more?: Partial<HealthOptions>): Promise<string | null>
}

/** A worker that is held, and how to ask it. */
async function held(file: string): Promise<Held> {
  launcher = new FakeLauncher()
  const port = await freePort()
  const program = launcher.node(fixture(file), [port])
  const worker = await launcher.worker()
  await worker.report('listening')
  const hand = handTo(worker, `tcp ${file === 'fastify.cjs' ? '[::]' : '*'}:${port}`)
  return { program, worker, port, ask: (more) => attempt(hand, healthOf({ timeoutMs: 5_000, ...more })) }
}

test.each([
  'http.cjs',
  'https.cjs',
  'http2-secure.cjs',
  'h2c.cjs',
  'express.cjs',
  'fastify.cjs',
  'esm.mjs',
  'websocket.cjs',
  'threads.cjs',
  'cluster.cjs',
])('a held %s answers over a connection of its own, and the public is still refused', async (file) => {
  const { program, worker, port, ask } = await held(file)
  for (let n = 0; n < 5; n++) expect(await ask()).toBe(null)
  expect(await ask({ kind: 'tcp' })).toBe(null)
  expect(await askHttp(port)).toBe('ECONNREFUSED')
  launcher.listen()
  await worker.order({ type: 'admit' })
  expect(await ask(), 'while it serves').toBe(null)
  await worker.order({ type: 'pause' })
  expect(await ask(), 'while it is paused').toBe(null)
  // Nothing of the checks is left in it: its drain has nothing to wait for.
  await worker.order({ type: 'drain', deadlineMs: 5_000, last: false })
  expect((await worker.report('drained')).outcome).toMatchObject({ closed: 0, cut: 0 })
  expect(program.errors).toEqual([])
})

test('a server on a unix path is asked over TCP like the others', async () => {
  launcher = new FakeLauncher()
  const directory = mkdtempSync(join(tmpdir(), 'probe-'))
  const path = join(directory, 'app.sock')
  launcher.node(fixture('unix.mjs'), [path])
  const worker = await launcher.worker()
  await worker.report('listening')
  expect(await attempt(handTo(worker, `unix ${path}`), healthOf({ timeoutMs: 5_000 }))).toBe(null)
  expect(await askUnix(path)).toBe('ECONNREFUSED')
  await launcher.end()
  rmSync(directory, { recursive: true })
})

test('a plain TCP server is asked by a connection, or by HTTP if it speaks that', async () => {
  const { ask } = await held('net.cjs')
  expect(await ask({ kind: 'tcp' })).toBe(null)
  expect(await ask()).toMatch(/^its answer to GET \/ is no HTTP\/1\.1: /)
})

test('a server that takes a connection only to close it is not well', async () => {
  const { ask } = await held('closes-at-once.cjs')
  expect(await ask({ kind: 'tcp' })).toBe('it closed the connection at once')
  expect(await ask()).toBe('it closed the connection without an answer to GET /')
})

test.each<[string, string | RegExp | null, Partial<HealthOptions>?]>([
  ['/', null],
  ['/204', null],
  ['/informational', null],
  ['/endless', null],
  ['/500', 'it answered GET /500 with 500: "database: \\u001b[31mno\\nconnection"'],
  ['/500', null, { statuses: [[500, 500]] }],
  ['/404', 'it answered GET /404 with 404'],
  ['/redirect', 'it answered GET /redirect with 302, to "/login": "Found"'],
  ['/redirect', null, { statuses: [[200, 399]] }],
  ['/upgrade', 'it answered GET /upgrade with 101'],
  ['/hang', 'it did not answer GET /hang within 300 ms', { timeoutMs: 300 }],
  ['/half', 'it did not answer GET /half within 300 ms', { timeoutMs: 300 }],
  ['/cut', 'its answer to GET /cut ended after 3 bytes: ECONNRESET'],
  ['/close', 'it closed the connection without an answer to GET /close'],
  ['/garbage', /^its answer to GET \/garbage is no HTTP\/1\.1: Parse Error/],
  ['/headers', /^its answer to GET \/headers is no HTTP\/1\.1: .*Header overflow/],
])('an answer of %s is judged: %s', async (path, answer, more) => {
  const { program, ask } = await held('health.cjs')
  const open = openFiles()
  const said = await ask({ target: path, ...more })
  await sameFilesAs(open)
  if (answer instanceof RegExp) expect(said).toMatch(answer)
  else expect(said).toBe(answer)
  // An address of this machine, and it is not a connection to itself.
  expect(await program.line('asked')).toBe(`${path} 4 false`)
})

test('what is asked can be worded: path, host and headers (E-06)', async () => {
  const { ask } = await held('health.cjs')
  const said = await ask({
    target: '/echo',
    host: 'shop.example:8080',
    headers: [['X-Check', 'yes']],
    statuses: [[400, 400]],
  })
  expect(said).toContain('\\"host\\":\\"shop.example:8080\\"')
  expect(said).toContain('\\"x-check\\":\\"yes\\"')
})

test.each(['https.cjs', 'http2-secure.cjs', 'h2c.cjs'])(
  'a bad answer of %s is named by its status (E-06)',
  async (file) => {
    const { ask } = await held(file)
    const said = await ask({ statuses: [[204, 204]] })
    expect(said).toMatch(/^it answered GET \/ with 200: "\d+"$/)
  },
)

test.each(['h2c.cjs', 'http2-secure.cjs'])('what %s cannot be asked is told, and the next is asked', async (file) => {
  const { ask } = await held(file)
  expect(await ask({ headers: [['TE', 'gzip']] })).toBe(
    'it could not be asked for GET /: ERR_HTTP2_INVALID_CONNECTION_HEADERS',
  )
  expect(await ask()).toBe(null)
})

test('a loop that does not turn is not taken for a slow answer', async () => {
  const { ask } = await held('health.cjs')
  expect(await ask({ target: '/busy', timeoutMs: 500 })).toBe('it did not answer GET /busy within 500 ms')
  expect(await ask({ timeoutMs: 500 })).toBe(
    'it did not take the connection of the health check within 500 ms: its event loop is busy',
  )
  expect(await ask({ kind: 'tcp', timeoutMs: 500 })).toMatch(/event loop is busy$/)
})

test('a listener that is not there, and one that is closed, are named', async () => {
  const { worker, port, ask } = await held('health.cjs')
  expect(await attempt(handTo(worker, 'tcp *:1'), healthOf())).toBe('no claim on tcp *:1')
  expect(await ask({ target: '/stop-listening' })).toBe(null)
  await worker.report('released')
  expect(await ask()).toBe(`no claim on tcp *:${port}`)
})

test('a thousand checks of two generations on one port reach the process that was meant (E-05, S-12)', async () => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const programs = [launcher.node(fixture('http.cjs'), [port]), launcher.node(fixture('http.cjs'), [port])]
  const workers = [await launcher.worker(0), await launcher.worker(1)]
  for (const worker of workers) await worker.report('listening')
  launcher.listen()
  const serving = workers.find(({ pid }) => pid === programs[0]?.pid) as FakeWorker
  const candidate = workers.find(({ pid }) => pid === programs[1]?.pid) as FakeWorker
  await serving.order({ type: 'admit' })

  let isRunning = true
  const publicAnswers = new Set<string>()
  const clients = Array.from({ length: 4 }, async () => {
    while (isRunning) publicAnswers.add(await askHttp(port))
  })
  const answers = new Map<string, number>()
  for (let n = 0; n < 1_000; n++) {
    const worker = n % 2 === 0 ? serving : candidate
    // Every status is a bad one: the answer comes back in the reason.
    const said = await attempt(handTo(worker, `tcp *:${port}`), healthOf({ timeoutMs: 10_000, statuses: [] }))
    const pid = /^it answered GET \/ with 200: "(\d+)"$/.exec(said ?? '')?.[1]
    const key = pid === String(worker.pid) ? 'right' : `${said} instead of ${worker.pid}`
    answers.set(key, (answers.get(key) ?? 0) + 1)
  }
  isRunning = false
  await Promise.all(clients)
  expect(Object.fromEntries(answers)).toEqual({ right: 1_000 })
  expect(publicAnswers).toEqual(new Set([String(serving.pid)]))
})

describe('a health command', () => {
  /** Runs it once, on a held worker. */
  async function run(
    command: string,
    more: Partial<HealthOptions> = {},
  ): Promise<{ said: string | null; pid: number }> {
    const { worker, port } = await held('http.cjs')
    const directory = mkdtempSync(join(tmpdir(), 'probe-'))
    const mark = randomUUID()
    const place: CommandPlace = {
      cwd: directory,
      env: { PATH: process.env['PATH'] as string, COLOUR: 'red', NODE: TEST_NODE, RUN_MARK: mark },
      pid: worker.pid,
      slot: 3,
      socket: join(directory, 'worker.sock'),
      letWorkersIn: () => {},
      identity: undefined,
      own: () => () => {},
    }
    const health = healthOf({ kind: 'command', target: command, timeoutMs: 10_000, ...more })
    const hand = handTo(worker, `tcp *:${port}`)
    const said = await new Promise<string | null>((done) => new CommandAttempt(health, place, hand, done))
    expect(readdirSync(directory)).toEqual([])
    rmSync(directory, { recursive: true })
    await until('none of its processes is left', () => marked(`RUN_MARK=${mark}`).length === 0)
    return { said, pid: worker.pid }
  }

  /** What curl would do, without curl. */
  const GET = `"$NODE" -e 'require("http").get({ socketPath: process.env.HEALTH_SOCKET }, (r) => r.pipe(process.stdout))'`

  test('reaches the very worker by its socket, and is given its facts', async () => {
    const { said, pid } = await run(`test "$(${GET})" = "$HEALTH_PID" && test $HEALTH_SLOT = 3`)
    expect(said).toBe(null)
    expect(pid).toBeGreaterThan(0)
  })

  test.each<[string, string | null, Partial<HealthOptions>?]>([
    ['sleep 60 & exit 0', null],
    ['echo one; echo two >&2; exit 7', 'its health command exited with code 7: "one\\ntwo"'],
    ['exit 1', 'its health command exited with code 1'],
    ['no-such-command-at-all 2>/dev/null', 'its health command exited with code 127'],
    ['kill -9 $$', 'its health command was ended by SIGKILL'],
    ['echo $COLOUR; sleep 60 & sleep 60', 'its health command did not end within 300 ms: "red"', { timeoutMs: 300 }],
    [
      'yes',
      `its health command did not end within 300 ms: ${JSON.stringify('y\n'.repeat(100).trim())}`,
      { timeoutMs: 300 },
    ],
  ])('%s is told by %s', async (command, answer, more) => {
    expect((await run(command, more)).said).toBe(answer)
  })

  test('whose connection cannot be handed on is told so, and ends', async () => {
    launcher = new FakeLauncher()
    const directory = mkdtempSync(join(tmpdir(), 'probe-'))
    const env = { PATH: process.env['PATH'] as string, NODE: TEST_NODE }
    const place = {
      cwd: directory,
      env,
      pid: 1,
      slot: 0,
      socket: join(directory, 's'),
      letWorkersIn: () => {},
      identity: undefined,
      own: () => () => {},
    }
    const health = healthOf({ kind: 'command', target: `${GET}; sleep 60`, timeoutMs: 10_000 })
    const hand = (): never => {
      throw new Error('EMFILE')
    }
    const said = await new Promise<string | null>((done) => new CommandAttempt(health, place, hand, done))
    expect(said).toBe('its health command cannot reach it: EMFILE')
    rmSync(directory, { recursive: true })
  })

  test('in a directory that has gone could not be run', async () => {
    const { worker, port } = await held('http.cjs')
    const directory = mkdtempSync(join(tmpdir(), 'probe-'))
    const place = {
      cwd: join(directory, 'gone'),
      env: {},
      pid: 1,
      slot: 0,
      socket: join(directory, 's'),
      letWorkersIn: () => {},
      identity: undefined,
      own: () => () => {},
    }
    const health = healthOf({ kind: 'command', target: 'true' })
    const hand = handTo(worker, `tcp *:${port}`)
    const said = await new Promise<string | null>((done) => new CommandAttempt(health, place, hand, done))
    expect(said).toMatch(/^its health command could not be run: chdir ENOENT/)
    expect(readdirSync(directory)).toEqual([])
    rmSync(directory, { recursive: true })
  })
})

test('a health check resets no connection, by the kernel that counts', async () => {
  launcher = new FakeLauncher()
  const program = new Program([TEST_NODE, fixture('probe-resets.cjs')])
  launcher.programs.push(program)
  expect(await program.ended, program.errors.join('\n')).toEqual({ code: 0, signal: null })
  expect(program.lines.map((line) => JSON.parse(line))).toEqual([
    ...['http', 'https', 'h2', 'h2c', 'tcp', 'banner', 'https by tcp'].map((kind) => [kind, 0, [true]]),
    ['bad', 0, [false]],
  ])
})

test('a pair is two ends of one connection, and strangers who were faster get none of it (E-07, S-12)', async () => {
  launcher = new FakeLauncher()
  const strangers: number[] = []
  const busy: Native = Object.create(native, {
    connectInet: {
      value: (fd: number, host: string, port: number) => {
        for (let n = 0; n < 3; n++) {
          const stranger = native.socket('inet', 'stream')
          strangers.push(stranger)
          native.connectInet(stranger, host, port)
        }
        native.connectInet(fd, host, port)
      },
    },
  })
  const [ours, theirs] = loopbackPair(busy)
  expect(native.peerAddress(ours)).toEqual(native.localAddress(theirs))
  expect(native.peerAddress(theirs)).toEqual(native.localAddress(ours))
  native.sendMessage(ours, Buffer.from('hello'), [])
  await until('it arrives', () => native.receiveMessage(theirs, 10)?.data.toString() === 'hello')
  for (const stranger of strangers)
    await until('a stranger is sent away', () => native.receiveMessage(stranger, 10)?.data.length === 0)
  for (const fd of [ours, theirs, ...strangers]) native.close(fd)
})
