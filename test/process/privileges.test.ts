import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { wasInHand } from '../support/bad-version'
import { ask, askJson, Clients, tryConnect } from '../support/clients'
import { runCli, startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { asNobody, UNDER_NOBODY } from '../support/nobody'
import { TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { until } from '../support/until'

/*
 * A launcher of root whose workers are somebody else: nobody, uid and gid 65534, who is on every machine.
 */

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

interface Started {
  readonly launcher: TestLauncher
  readonly port: number
  readonly place: string
  readonly deploy: (version: string) => void
}

function openDirectory(): string {
  const directory = temporaryDirectory()
  chmodSync(directory, 0o755)
  return directory
}

async function start(
  options: readonly string[] = [],
  { env = {}, under = [] as readonly string[] } = {},
): Promise<Started> {
  const port = await freePort()
  const { place, main, server, deploy } = asNobody()
  const launcher = await startLauncher({
    command: ['node', server, String(port)],
    cwd: place,
    main,
    runtimeDir: join(openDirectory(), 'run'),
    options: ['-n', '2', '--user', 'nobody', ...options],
    env,
    under,
  })
  return { launcher, port, place, deploy }
}

/** "Uid" of /proc/PID/status: real, effective, saved, of the file system. */
function statusOf(pid: number, field: string): string[] {
  const line = new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  return (line?.[1] ?? '').split(/\s+/).filter((word) => word !== '')
}

const modeOf = (path: string): string => {
  const { uid, gid, mode } = statSync(path)
  return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`
}

test.runIf(isRoot)(
  'workers are that user, with its groups and environment, and for good; the launcher is root (S-08)',
  async () => {
    const { launcher, port } = await start([], { env: { HOME: '/root', USER: 'root', LOGNAME: 'root', OTHER: 'kept' } })
    expect(statusOf(launcher.pid, 'Uid')).toEqual(['0', '0', '0', '0'])
    for (const pid of await launcher.pids()) {
      for (const field of ['Uid', 'Gid']) expect(statusOf(pid, field)).toEqual(Array(4).fill(String(NOBODY)))
      expect(statusOf(pid, 'Groups')).toEqual([String(NOBODY)])
      for (const field of ['CapPrm', 'CapEff', 'CapInh', 'CapAmb'])
        expect(statusOf(pid, field)).toEqual(['0000000000000000'])
    }
    const { HOME, USER, LOGNAME, OTHER } = await askJson<NodeJS.ProcessEnv>(port, '/env')
    expect({ HOME, USER, LOGNAME, OTHER }).toEqual({
      HOME: '/nonexistent',
      USER: 'nobody',
      LOGNAME: 'nobody',
      OTHER: 'kept',
    })
    expect(await ask(port, '/become-root')).toBe('EPERM EPERM EPERM')

    // What is for the workers, and what is not.
    expect(modeOf(launcher.runtimeDir)).toBe('711 0:0')
    const { directory } = launcher
    expect(modeOf(directory)).toBe(`710 0:${NOBODY}`)
    expect(modeOf(join(directory, 'w'))).toBe(`710 0:${NOBODY}`)
    expect(modeOf(join(directory, 'w', 'channel.sock'))).toBe(`660 0:${NOBODY}`)
    for (const file of ['control.sock', 'lock']) expect(modeOf(join(directory, file))).toBe('600 0:0')
    for (const path of [join(directory, 'control.sock'), join(directory, 'lock'), directory])
      expect(await ask(port, `/open?path=${path}`), path).toBe('EACCES')
    expect(await ask(port, `/connect?path=${join(directory, 'control.sock')}`)).toBe('EACCES')
    await launcher.stop()
  },
)

test.runIf(isRoot)('start, reload, respawn, scale, undo, canary, stop: nobody notices anything', async () => {
  const { launcher, port, deploy } = await start(['--bake', '800ms', '--park', '100ms'])
  // Without clients: what a version that ends has in hand is lost with it.
  deploy('exits-in 600')
  expect(await launcher.reload()).toMatchObject({ result: 'undone' })
  const clients = new Clients(port, 2)
  deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  deploy('three')
  expect((await launcher.run('reload', '--canary', '30%', '--for', '200ms')).code).toBe(0)
  expect((await launcher.run('scale', '3')).code).toBe(0)
  expect((await launcher.run('scale', '1')).code).toBe(0)
  await launcher.event('socket.closed')
  await clients.more(50)
  expect((await clients.stop()).failures).toEqual([])
  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGKILL')
  await launcher.when(
    'another serves',
    ({ slots }) => slots[0]?.worker?.state === 'serving' && slots[0].worker.pid !== pid,
  )
  expect(statusOf(((await launcher.pids()) as [number])[0], 'Uid')[0]).toBe(String(NOBODY))
  await launcher.stop()
})

test.runIf(isRoot)('a health command is run as that user, and reaches its worker', async () => {
  const port = await freePort()
  const { place, main, server } = asNobody()
  const check = `require('node:http').get({ socketPath: process.env.HEALTH_SOCKET, path: '/version' }, (answer) =>
    answer.on('data', (data) => { process.exitCode = String(data) === 'one' && process.getuid() === ${NOBODY} ? 0 : 3 }))`
  writeFileSync(join(place, 'check.cjs'), check)
  const launcher = await startLauncher({
    command: ['node', server, String(port)],
    cwd: place,
    main,
    runtimeDir: join(openDirectory(), 'run'),
    options: ['--user', 'nobody', '--health-command', 'node check.cjs', '--health-timeout', '5s'],
  })
  expect(await ask(port, '/version')).toBe('one')
  await launcher.stop()
})

test.runIf(isRoot)('--ready notify: the workers reach the socket', async () => {
  const port = await freePort()
  const { place, main, server } = asNobody()
  const launcher = await startLauncher({
    command: ['sh', '-c', `systemd-notify --status="I am $(id -un)" --ready && exec node ${server} ${port}`],
    cwd: place,
    main,
    runtimeDir: join(openDirectory(), 'run'),
    options: ['--user', 'nobody', '--ready', 'notify'],
  })
  expect((await launcher.status()).slots[0]?.worker?.text).toBe('I am nobody')
  expect(modeOf(join(launcher.directory, 'w', 'notify.sock'))).toBe(`660 0:${NOBODY}`)
  await launcher.stop()
})

test.runIf(isRoot)(
  'a unix path of the program belongs to that user, in a directory of that user too (S-09)',
  async () => {
    const { place, main } = asNobody()
    const own = join(place, 'own')
    mkdirSync(own)
    chownSync(own, NOBODY, NOBODY)
    const path = join(own, 'app.sock')
    writeFileSync(
      join(place, 'unix.cjs'),
      "require('node:http').createServer((q, s) => s.end('' + process.pid)).listen(process.argv[2])",
    )
    const given = {
      command: ['node', 'unix.cjs', path],
      cwd: place,
      main,
      options: ['--user', 'nobody'],
      runtimeDir: join(openDirectory(), 'run'),
    }
    const launcher = await startLauncher(given)
    expect(modeOf(path)).toMatch(new RegExp(` ${NOBODY}:${NOBODY}$`))
    const first = await ask(0, '/', { socketPath: path })
    expect(await launcher.reload()).toMatchObject({ result: 'done' })
    expect(await ask(0, '/', { socketPath: path })).not.toBe(first)
    await launcher.stop()

    // Where the program itself could not, the launcher does not for it.
    mkdirSync(join(place, 'roots'))
    const { code, stderr } = await runCli(
      [
        '--runtime-dir',
        given.runtimeDir,
        '--user',
        'nobody',
        '--',
        'node',
        'unix.cjs',
        join(place, 'roots', 'app.sock'),
      ],
      { cwd: place, main },
    )
    expect(code).toBe(1)
    expect(stderr).toMatch(/listener\.failed .*EACCES/)
  },
)

test.runIf(isRoot)('a program that is given its sockets, on a port of root’s', async () => {
  const port = await freePrivilegedPort()
  const { place, main } = asNobody()
  writeFileSync(
    join(place, 'given.cjs'),
    "require('node:http').createServer((q, s) => s.end('' + process.getuid())).listen({ fd: 3 })",
  )
  const launcher = await startLauncher({
    command: ['node', 'given.cjs'],
    cwd: place,
    main,
    options: ['--user', 'nobody', '-n', '2', '--listen', `tcp:127.0.0.1:${port}`, '--ready', 'alive:100ms'],
    runtimeDir: join(openDirectory(), 'run'),
  })
  expect(await ask(port)).toBe(String(NOBODY))
  await launcher.stop()
})

test.runIf(isRoot)('under no_new_privs, which its workers get too', async () => {
  const { launcher } = await start([], { under: ['setpriv', '--no-new-privs'] })
  for (const pid of await launcher.pids()) expect(statusOf(pid, 'NoNewPrivs')).toEqual(['1'])
  await launcher.stop()
})

test.runIf(isRoot)('by number, with another group, and in no group but that', async () => {
  const { place, main, server } = asNobody()
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', server, String(port)],
    cwd: place,
    main,
    options: ['--user', '12345', '--group', '23456'],
    env: { HOME: '/root', USER: 'root', LOGNAME: 'root', SHELL: '/bin/sh' },
    runtimeDir: join(openDirectory(), 'run'),
  })
  const [pid] = (await launcher.pids()) as [number]
  expect([statusOf(pid, 'Uid')[0], statusOf(pid, 'Gid')[0], statusOf(pid, 'Groups')]).toEqual([
    '12345',
    '23456',
    ['23456'],
  ])
  const { HOME, USER, LOGNAME, SHELL } = await askJson<NodeJS.ProcessEnv>(port, '/env')
  expect({ HOME, USER, LOGNAME, SHELL }).toEqual({ HOME: '/' })
  await launcher.stop()
})

test.runIf(isRoot)('--die-with-launcher: they do, as another user too (B-12)', async () => {
  const { launcher, port } = await start(['--die-with-launcher'])
  const pids = await launcher.pids()
  await launcher.die()
  await until('they have gone', () => !pids.some(isAlive))
  await until('their sockets are closed', async () => (await tryConnect(port)) === 'ECONNREFUSED')
})

test.runIf(isRoot)('who is not that user and not root does not speak as a worker (I-08, S-03)', async () => {
  const { launcher, place } = await start()
  const script = `
    const addon = require(process.argv[1])
    const channel = addon.socket('unix', 'seqpacket')
    addon.connectUnix(channel, process.argv[2])
    addon.sendMessage(channel, Buffer.from('{"type":"hello","version":1,"token":"x"}'), [])
    addon.pollSync(channel, 1, 10_000)
    console.log(addon.receiveMessage(channel, 1_000).data.length)`
  const under = ['--reuid=12345', `--regid=${NOBODY}`, '--clear-groups', TEST_NODE, '-e', script]
  const paths = [join(place, 'build', 'Release', 'reuseport.node'), join(launcher.directory, 'w', 'channel.sock')]
  const { stdout, stderr } = spawnSync('setpriv', [...under, ...paths], { encoding: 'utf8', timeout: 10_000 })
  expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' })
  expect(await launcher.event('channel.dropped')).toMatchObject({ reason: 'it is of uid 12345' })
  await launcher.stop()
})

test.runIf(isRoot)('a launcher without root’s rights may open a port of root’s with CAP_NET_BIND_SERVICE', async () => {
  const port = await freePrivilegedPort()
  const { place, main, server, runtime } = asNobody()
  const launcher = await startLauncher({
    command: ['node', server, String(port)],
    cwd: place,
    main,
    runtimeDir: runtime,
    under: [
      ...['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all,+net_bind_service'],
      ...['--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service'],
    ],
    options: ['-n', '2'],
  })
  expect(await ask(port, '/version')).toBe('one')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('in a user namespace, as a rootless container has it (M-09)', async () => {
  const port = await freePort()
  const { place, main, server, runtime } = asNobody()
  const launcher = await startLauncher({
    command: ['node', server, String(port)],
    cwd: place,
    main,
    runtimeDir: runtime,
    under: [...UNDER_NOBODY, 'unshare', '--user', '--map-root-user'],
    options: ['-n', '2'],
  })
  const clients = new Clients(port)
  const [pid] = (await launcher.pids()) as [number]
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  process.kill((await launcher.pids())[0] as number, 'SIGKILL')
  await launcher.when('it is whole again', ({ state, slots }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !wasInHand(failure))).toEqual([])
  await launcher.stop()
})

const REFUSALS: readonly (readonly [what: string, words: readonly string[], text: RegExp])[] = [
  [
    'no such user',
    ['--user', 'no-such-user'],
    /ERR_USER: there is no user called "no-such-user"\n {2}See `getent passwd`/,
  ],
  [
    'no such group',
    ['--user', 'nobody', '--group', 'no-such-group'],
    /ERR_USER: there is no group called "no-such-group"/,
  ],
  ['a number without a group', ['--user', '12345'], /ERR_USER: uid 12345 is not in the user database.*\n.*--group/],
  ['a group alone', ['--group', 'nogroup'], /ERR_USAGE: --group needs --user/],
  ['a number that is none', ['--user', '4294967295'], /ERR_USER: 4294967295 is no user/],
]

test.each(REFUSALS)('refused before anything starts: %s', async (_, words, text) => {
  const runtimeDir = join(temporaryDirectory(), 'run')
  const { code, stderr } = await runCli(['--runtime-dir', runtimeDir, ...words, '--', 'node', 'nothing.js'])
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(text) })
})

test('refused: somebody else, without being root; oneself is no change', async () => {
  const { place, main, server, runtime } = asNobody()
  const run = (...words: string[]) =>
    runCli(['--runtime-dir', runtime, ...words], { cwd: place, main, under: UNDER_NOBODY })
  const own = UNDER_NOBODY.length > 0 ? 'nobody' : String(process.getuid?.())
  const refusal = await run('--user', 'root', '--', 'node', server)
  expect(refusal).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/only root can change that\n {2}Start it as root/),
  })
  const launcher = await startLauncher({
    command: ['node', server, String(await freePort())],
    cwd: place,
    main,
    runtimeDir: runtime,
    under: UNDER_NOBODY,
    options: ['--user', own],
  })
  expect(modeOf(launcher.directory)).toMatch(/^700 /)
  await launcher.stop()
})

test.runIf(isRoot)('refused: root without the rights to change it', async () => {
  const { code, stderr } = await runCli(['--user', 'nobody', '--', 'node', 'nothing.js'], {
    under: ['setpriv', '--bounding-set=-setuid,-kill', '--inh-caps=-setuid,-kill'],
  })
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/root without CAP_KILL, CAP_SETUID\n.*--cap-add/),
  })
})

test.runIf(isRoot)('refused: a way back that the kernel would leave open (S-08)', async () => {
  const { place, main, server } = asNobody()
  const { code, stderr } = await runCli(
    ['--runtime-dir', join(openDirectory(), 'run'), '--user', 'nobody', '--', 'node', server, '1'],
    { cwd: place, main, under: ['setpriv', '--securebits=+no_setuid_fixup'] },
  )
  expect({ code, stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/setresuid EPERM.* \(as nobody \(uid 65534\)\)/),
  })
})

test.runIf(isRoot)('refused: what that user cannot reach, each by its name, at the start and at a reload', async () => {
  const { place, main, server } = asNobody()
  const secret = temporaryDirectory()
  writeFileSync(join(secret, 'app.cjs'), '')
  const run = (cwd: string, runtimeDir: string, ...command: string[]) =>
    runCli(['--runtime-dir', runtimeDir, '--user', 'nobody', '--', ...command], { cwd, main })
  const open = join(openDirectory(), 'run')
  for (const [answer, text] of [
    [await run(secret, open, 'node', server), /nobody \(uid 65534\) may not enter the directory/],
    [await run(place, open, 'node', join(secret, 'app.cjs')), /may not read .*app\.cjs: EACCES/],
    [
      await run(place, join(secret, 'a', 'run'), 'node', server),
      /ERR_RUNTIME_DIR: .*nobody \(uid 65534\) cannot pass through it/,
    ],
    [
      await runCli(['--runtime-dir', open, '--user', 'nobody', '--', 'node', server], {
        cwd: place,
        main: ownCopy(secret),
      }),
      /may not read .*preload\.js/,
    ],
  ] as const)
    expect(answer).toMatchObject({
      code: expect.toSatisfy((code) => code === 1 || code === 2),
      stderr: expect.stringMatching(text),
    })

  const { launcher, ...started } = await start()
  chmodSync(started.place, 0o700)
  const verdict = await launcher.reload()
  expect(verdict).toMatchObject({ result: 'aborted', reason: expect.stringContaining('may not enter the directory') })
  chmodSync(started.place, 0o755)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

/** Ours, where nobody else can read it. */
function ownCopy(secret: string): string {
  const { place } = asNobody()
  spawnSync('cp', ['-r', place, join(secret, 'copy')])
  return join(secret, 'copy', 'dist', 'cli', 'main.js')
}

async function freePrivilegedPort(): Promise<number> {
  return until('a port below 1024', () => {
    const port = 512 + Math.floor(Math.random() * 500)
    const server = createServer()
    return new Promise<number | false>((done) => {
      server.once('error', () => done(false))
      server.listen(port, '127.0.0.1', () => server.close(() => done(port)))
    })
  })
}
