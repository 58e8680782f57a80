import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { openToAppend } from '../../src/launcher/log-file'
import type { Native } from '../../src/native'
import { removePidFile, writePidFile } from '../../src/pid-file'
import { ask, askJson } from '../support/clients'
import { makeDirectory, runCli, startLauncher, TestLauncher, temporaryDirectory } from '../support/launcher'
import { asNobody, UNDER_NOBODY } from '../support/nobody'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { descriptorsOf } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { drained, Row } from '../support/worker/row'

/*
 * What others can do to a launcher and to its files, by the rules of docs/reliability.md, "Security". Each id there is at the end of a title.
 */

const built = createRequire(import.meta.url)('../../dist/native.js') as { native(): Native }
const native = built.native()

const isRoot = process.getuid?.() === 0
const NOBODY = 65_534
/** Of no name, and in no group of anybody's. */
const STRANGER = 12_345

/** How a program of test/fixtures/intruder is started as another user. */
function asUser(uid: number, name: string, argv: readonly string[]): [string, string[]] {
  const script = readFileSync(fixture(`intruder/${name}.cjs`), 'utf8')
  const as = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--bounding-set=-all', '--inh-caps=-all']
  return ['setpriv', [...(uid === 0 ? [] : as), TEST_NODE, '-e', script, '--', ...argv]]
}

/** To its end; what it prints, as JSON. */
async function intrude(uid: number, name: string, argv: readonly string[]): Promise<unknown> {
  const { stdout } = await promisify(execFile)(...asUser(uid, name, argv), { timeout: 15_000, cwd: '/' })
  return JSON.parse(stdout)
}

/** It has begun. `end`: how often it has succeeded. */
async function racing(uid: number, argv: readonly string[]): Promise<{ end(): Promise<number> }> {
  const child = spawn(...asUser(uid, 'racer', argv), { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stdout.on('data', (data) => (said += data))
  await until('it has begun', () => said.startsWith('begun\n'))
  const end = async (): Promise<number> => {
    child.stdin.end()
    await once(child, 'close')
    return Number(said.split('\n')[1])
  }
  return { end }
}

/** A directory that others may look into. */
const LISTED = ['read', 'list']

/** A directory and all that is in it. */
function everythingIn(directory: string): string[] {
  return [directory, ...readdirSync(directory, { recursive: true }).map((name) => join(directory, String(name)))]
}

function openDirectory(): string {
  const directory = temporaryDirectory()
  chmodSync(directory, 0o755)
  return directory
}

test.runIf(isRoot)(
  'of all that a launcher makes strangers can do nothing to anything, and workers with a user of their own only come to what is for them (S-01, S-03, S-07)',
  async () => {
    const port = await freePort()
    const { place, main, server } = asNobody()
    const open = openDirectory()
    const log = join(open, 'log')
    const launcher = new TestLauncher({
      command: ['sh', '-c', `systemd-notify --ready && exec node ${server} ${port}`],
      cwd: place,
      main,
      runtimeDir: join(openDirectory(), 'run'),
      options: [
        ...['-n', '2', '--user', 'nobody', '--ready', 'notify', '--health-command', 'true', '--log-file', log],
        ...['--metrics', `unix:${open}/metrics.sock`, '--status-page', `unix:${open}/status.sock`],
      ],
      under: ['sh', '-c', 'umask 022; exec "$@"', 'sh'],
    })
    await until('it serves', () => existsSync(log) && readFileSync(log, 'utf8').includes('launcher.serving'))
    const all = [...everythingIn(launcher.runtimeDir), ...everythingIn(open)]
    const [own, forWorkers] = [launcher.directory, join(launcher.directory, 'w')]
    for (const file of ['control.sock', 'lock', 'notes', 'pid', 'w/channel.sock', 'w/notify.sock', 'w/health'])
      expect(all).toContain(join(own, file))
    expect(await intrude(STRANGER, 'deeds', all)).toEqual({ [open]: LISTED })
    expect(await intrude(NOBODY, 'deeds', all)).toEqual({
      [open]: LISTED,
      [join(own, 'pid')]: ['read'],
      [join(forWorkers, 'channel.sock')]: ['connect to'],
      [join(forWorkers, 'notify.sock')]: ['connect to'],
    })
    await launcher.stop()
  },
)

const ORDERS = [
  ...['GET /status', 'GET /events', 'POST /scale?to=1', 'POST /promote', 'POST /abort', 'POST /reload?wait=none'],
  ...['POST /upgrade', 'POST /nothing', 'PUT /reload', 'GET /stop'],
]
/** Of whoever may give orders. */
const ANSWERS = [200, 200, 200, 409, 409, 200, 200, 404, 405, 405]

test.runIf(isRoot)(
  'every order, by everybody: the owner and root are heard, strangers do not even connect, and who may read may not order (I-08, S-02, S-03, S-04)',
  async () => {
    const port = await freePort()
    const { place, main, server, runtime } = asNobody()
    const reading = join(place, 'reading')
    chownSync(makeDirectory(reading, 0o755), NOBODY, NOBODY)
    const launcher = await startLauncher({
      command: ['node', server, String(port)],
      cwd: place,
      main,
      runtimeDir: runtime,
      under: ['sh', '-c', 'umask 000; exec "$@"', 'sh', ...UNDER_NOBODY],
      options: ['--metrics', `unix:${reading}/page.sock`],
    })
    const socket = join(launcher.directory, 'control.sock')
    const asked = (answers: readonly unknown[]): object =>
      Object.fromEntries(ORDERS.map((order, index) => [order, answers[index]]))
    for (const uid of [NOBODY, 0])
      expect({ uid, answers: await intrude(uid, 'orders', [socket, ...ORDERS]) }).toEqual({
        uid,
        answers: asked(ANSWERS),
      })
    const stop = 'POST /stop'
    expect(await intrude(STRANGER, 'orders', [socket, ...ORDERS, stop])).toEqual({
      ...asked(ORDERS.map(() => 'EACCES')),
      [stop]: 'EACCES',
    })
    expect(await intrude(STRANGER, 'deeds', everythingIn(launcher.runtimeDir))).toEqual({
      [launcher.runtimeDir]: LISTED,
    })
    expect(
      await intrude(STRANGER, 'orders', [join(reading, 'page.sock'), 'GET /metrics', 'POST /metrics', stop]),
    ).toEqual({
      'GET /metrics': 200,
      'POST /metrics': 405,
      [stop]: 404,
    })
    expect(await ask(port, '/version')).toBe('one')
    await launcher.stop()
  },
)

test.runIf(isRoot)(
  'the modes of the control socket are opened for all: who is not its user or root is not heard by it, and that is said (I-08, S-03)',
  async () => {
    const port = await freePort()
    const { place, main, server } = asNobody()
    const launcher = await startLauncher({
      command: ['node', server, String(port)],
      cwd: place,
      main,
      runtimeDir: join(place, 'roots'),
    })
    const socket = join(launcher.directory, 'control.sock')
    for (const directory of [launcher.runtimeDir, launcher.directory]) chmodSync(directory, 0o755)
    chmodSync(socket, 0o666)
    const all = [...ORDERS, 'POST /stop']
    expect(await intrude(STRANGER, 'orders', [socket, ...all])).toEqual(
      Object.fromEntries(all.map((order) => [order, expect.stringMatching(/^(ECONNRESET|EPIPE)$/)])),
    )
    expect(await intrude(0, 'orders', [socket, 'GET /status'])).toEqual({ 'GET /status': 200 })
    expect(await launcher.event('control.refused')).toMatchObject({ uid: STRANGER })
    expect(await launcher.event('control.refused', ({ clients }) => clients !== undefined)).toMatchObject({
      clients: expect.any(Number),
    })
    chmodSync(launcher.directory, 0o700)
    await launcher.stop()
  },
)

/** All that could have been changed by way of a link. */
function stateOf(directory: string): string[] {
  return everythingIn(directory).map((path) => {
    const { ino, uid, gid, mode, nlink, mtimeMs, ctimeMs } = lstatSync(path)
    const text = statSync(path).isFile() ? readFileSync(path, 'latin1') : ''
    return [path, ino, uid, gid, mode.toString(8), nlink, mtimeMs, ctimeMs, text].join(' ')
  })
}

test.runIf(isRoot)(
  'in a directory that is open to all, somebody puts links where files of a launcher go, again and again, while it starts and ends: what they lead to stays as it is (H-12, S-01, S-09)',
  { timeout: 60_000 },
  async () => {
    const base = openDirectory()
    const canary = join(base, 'canary')
    const own = ['lock', 'pid', 'notes', 'notes~', 'metrics', 'control.sock', 'channel.sock', 'notify.sock']
    mkdirSync(join(canary, 'x', 'w'), { recursive: true })
    mkdirSync(join(canary, 'x', 'health'))
    for (const file of [...own, 'w/a', 'health/a']) writeFileSync(join(canary, 'x', file), `the ${file} of somebody`)
    // As a directory of the launcher's own would be.
    chmodSync(join(canary, 'x'), 0o700)
    const before = stateOf(canary)
    const shared = makeDirectory(join(base, 'shared'), 0o1777)
    // A new one each time: one that the launcher has made is there to stay, and nobody else's.
    const places = Array.from({ length: 5 }, (_, round) => join(shared, `run${round}`))
    const racer = await racing(STRANGER, [canary, ...places])
    for (const place of places) {
      const { code, stderr } = await runCli(['--runtime-dir', place, '--name', 'x', '--', 'true'], {
        // Time for the other one, after each step.
        under: [
          'strace',
          '-qq',
          '-o',
          '/dev/null',
          '-e',
          'inject=mkdir,fchmod,flock,bind,chmod,rename:delay_exit=3000',
        ],
      })
      // Refused, or it was there first: that its program ends at once is no matter here.
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/ERR_RUNTIME_DIR|start\.failed/) })
    }
    expect(await racer.end()).toBeGreaterThan(100)
    expect(stateOf(canary)).toEqual(before)
  },
)

test.runIf(isRoot)(
  'in a directory of theirs somebody puts links where root’s log and pidfile go, and on the way there, again and again: nothing comes to what they lead to (H-12, S-09)',
  { timeout: 60_000 },
  async () => {
    const base = openDirectory()
    const canary = join(base, 'canary')
    mkdirSync(canary)
    writeFileSync(join(canary, 'x'), 'the x of root')
    const before = stateOf(canary)
    const theirs = makeDirectory(join(base, 'theirs'), 0o755)
    chownSync(theirs, STRANGER, STRANGER)
    const racer = await racing(STRANGER, [canary, join(theirs, 'logs')])
    const path = join(theirs, 'logs', 'x')
    const ends = new Map<string, number>()
    await until(
      'both ends were seen, many times',
      () => {
        for (let round = 0; round < 100; round++)
          for (const deed of [
            () => closeSync(openToAppend(path)),
            () => writePidFile(path),
            () => removePidFile(path),
          ]) {
            let end = 'done'
            try {
              deed()
            } catch (error) {
              end = / is a link of uid 12345/.test((error as Error).message) ? 'refused' : 'lost'
            }
            ends.set(end, (ends.get(end) ?? 0) + 1)
          }
        return (ends.get('done') ?? 0) > 100 && (ends.get('refused') ?? 0) > 20
      },
      40_000,
    )
    expect(await racer.end()).toBeGreaterThan(10)
    expect(stateOf(canary)).toEqual(before)
  },
)

/** Each message with as many descriptors as fit, until the kernel takes no more, again and again; then it is gone. */
function flood(type: 'stream' | 'seqpacket', path: string, data: string): void {
  for (let n = 0; n < 10; n++) {
    const fd = native.socket('unix', type)
    try {
      native.connectUnix(fd, path)
      for (let more = 0; more < 5 && native.sendMessage(fd, Buffer.from(data), Array(253).fill(0)); more++);
    } catch (error) {
      // It was sent away meanwhile, or so many wait already.
      expect((error as NodeJS.ErrnoException).code).toMatch(/^(EPIPE|ECONNRESET|EAGAIN)$/)
    } finally {
      native.close(fd)
    }
  }
}

test('descriptors by the thousand, to each socket that there is: none stays (I-10, S-05, S-14)', async () => {
  const [port, open] = [await freePort(), openDirectory()]
  const versions = new Versions()
  const launcher = await startLauncher({
    command: ['sh', '-c', `systemd-notify --ready && exec ${versions.command(port).join(' ')}`],
    cwd: versions.directory,
    options: ['-n', '2', '--ready', 'notify', '--metrics', `unix:${open}/metrics.sock`],
  })
  const count = (): number => descriptorsOf(launcher.pid).size
  const before = count()
  const at = (name: string): string => join(launcher.directory, name)
  const request = 'GET /status HTTP/1.1\r\nHost: x\r\n\r\n'
  flood('stream', at('control.sock'), request)
  flood('stream', join(open, 'metrics.sock'), request)
  flood('seqpacket', at('channel.sock'), '{"type":"hello","version":1,"token":"x"}')
  const fd = native.socket('unix', 'datagram')
  let sent = 0
  for (let n = 0; n < 50; n++)
    if (native.sendDatagram(fd, at('notify.sock'), Buffer.from('X=1'), Array(253).fill(0))) sent++
  native.close(fd)
  expect(sent).toBeGreaterThan(0)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await until(
    () => `its descriptors are closed: ${count()} instead of ${before}`,
    () => count() <= before,
  )
  await launcher.stop()
})

test('descriptors by the thousand at a handover path: none stays, and the next process takes over (S-05, S-16)', async () => {
  const row = new Row()
  const config = { http: await freePort() }
  const old = await row.next(config)
  const count = (): number => descriptorsOf(old.pid).size
  const before = count()
  for (const data of [
    '{"type":"hello","version":1}',
    '{"type":"ready","takes":[]}',
    '{"type":"hello","version":1,"fds":["a"]}',
    'x',
  ])
    flood('seqpacket', row.path, data)
  await until(
    () => `its descriptors are closed: ${count()} instead of ${before}`,
    () => count() <= before,
  )
  const next = await row.next(config)
  await drained(old)
  expect(await ask(config.http)).toBe(String(next.pid))
})

test('a worker that says what looks like lines, fields and colours of the launcher: each line of the log is the launcher’s own, and so is each event (L-08, S-11)', async () => {
  for (const format of ['text', 'json']) {
    const [port, log] = [await freePort(), join(temporaryDirectory(), 'log')]
    const launcher = new TestLauncher({
      command: ['node', fixture('servers/evil-worker.cjs'), String(port)],
      options: ['--log-format', format, '--log-file', log],
    })
    const lines = (): string[] => (existsSync(log) ? readFileSync(log, 'utf8').split('\n') : [])
    await until('it serves', () => lines().some((line) => line.includes('launcher.serving')))
    const controls = (text: string): string[] => text.match(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]/g) ?? []
    // What it is told of itself, it may read as it is.
    expect(await ask(port, '/forge')).toContain('"refused"')
    await until('the last of it was heard', () =>
      lines().some((line) => line.includes('"version"') || / code=version /.test(line)),
    )
    const status = JSON.stringify(await launcher.status())
    expect(controls(status)).toEqual([])
    const table = (await launcher.run('status')).stdout
    expect(controls(table)).toEqual([])
    expect(table).not.toMatch(/^\S* ?launcher\.forged/m)
    await launcher.stop()
    const all = lines()
    expect(all.pop()).toBe('')
    expect(all.join('\n')).toContain('launcher.forged')
    expect(controls(all.join('\n'))).toEqual([])
    const events = all.map((line) =>
      format === 'json'
        ? (JSON.parse(line) as { msg: string }).msg
        : /^\d\d:\d\d:\d\d\.\d{3} (?:(?:warn|error) )?([a-z.-]+)(?: [A-Za-z]+=(?:[^\s"=]+|"(?:[^"\\]|\\.)*"))*$/.exec(
            line,
          )?.[1],
    )
    expect(events).not.toContain(undefined)
    expect(events).not.toContain('launcher.forged')
    expect(events.filter((event) => event === 'worker.warning')).toHaveLength(1)
  }
})

/** Of this spawn, as the kernel knows it. */
function tokenOf(pid: number): string {
  const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
  return /REUSEPORT_AGENT_TOKEN=([0-9a-f]{32})/.exec(environment)?.[1] as string
}

const wordsOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'latin1')

const SECRETS = {
  SECRET_OF_ENVIRONMENT: 'hunter2-environment',
  SECRET_OF_FILE: 'hunter2-file',
  header: 'hunter2-header',
}

test('secrets of the environment, of its files and of a health header are nowhere but in the notes, which are the owner’s alone and go with the launcher (J-09, S-12, S-18)', async () => {
  const [port, open] = [await freePort(), openDirectory()]
  const versions = new Versions()
  writeFileSync(join(versions.directory, '.env'), `SECRET_OF_FILE=${SECRETS.SECRET_OF_FILE}\n`)
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    env: { SECRET_OF_ENVIRONMENT: SECRETS.SECRET_OF_ENVIRONMENT },
    options: [
      ...[
        '-n',
        '2',
        '--env-file',
        '.env',
        '--ready-timeout',
        '2s',
        '--health',
        '/healthz',
        '--health-header',
        `Authorization: ${SECRETS.header}`,
      ],
      ...['--metrics', `unix:${open}/page.sock`, '--status-page', `unix:${open}/page.sock`],
    ],
  })
  const said: string[] = []
  const events = request({ socketPath: join(launcher.directory, 'control.sock'), path: '/events' }, (response) =>
    response.on('data', (data) => said.push(String(data))),
  )
  events.on('error', () => {}).end()
  const { SECRET_OF_ENVIRONMENT, SECRET_OF_FILE } = await askJson<NodeJS.ProcessEnv>(port, '/env')
  expect({ SECRET_OF_ENVIRONMENT, SECRET_OF_FILE, header: SECRETS.header }).toEqual(SECRETS)
  const tokens = (await launcher.pids()).map(tokenOf)
  // All kinds of ends.
  for (const version of ['exits-at-load 3', 'unwell 500', 'two']) {
    versions.deploy(version)
    said.push(JSON.stringify(await launcher.reload()))
  }
  writeFileSync(join(versions.directory, '.env'), 'SECRET_OF_FILE=changed\n')
  said.push((await launcher.run('reload')).stdout, (await launcher.run('status', '--json')).stdout)
  process.kill((await launcher.pids())[0] as number, 'SIGKILL')
  await launcher.event('worker.exited', ({ signal }) => signal === 'SIGKILL')
  await launcher.when('it is whole again', ({ state }) => state === 'serving')
  tokens.push(...(await launcher.pids()).map(tokenOf))
  const socketPath = join(open, 'page.sock')
  for (const path of ['/', '/metrics', '/readyz']) said.push(await ask(0, path, { socketPath }))
  said.push((await launcher.run('status')).stdout, launcher.story, launcher.output.join('\n'))
  said.push(...(await launcher.pids()).map(wordsOf))
  expect(said.join('\n').length).toBeGreaterThan(10_000)
  for (const secret of [...Object.values(SECRETS), ...tokens]) expect(said.join('\n')).not.toContain(secret)
  expect(new Set(tokens).size).toBe(4)
  const files = everythingIn(launcher.runtimeDir).filter((path) => statSync(path).isFile())
  const holds = (path: string): boolean => /hunter2/.test(readFileSync(path, 'latin1'))
  expect(files.filter(holds)).toEqual([join(launcher.directory, 'notes')])
  expect(statSync(join(launcher.directory, 'notes')).mode & 0o777).toBe(0o600)
  events.destroy()
  await launcher.stop()
})
