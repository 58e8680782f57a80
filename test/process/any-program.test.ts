import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { ask, Clients, tryConnect } from '../support/clients'
import { runCli, startLauncher, TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'
import { native } from '../support/worker/addon'

/** A program in C that knows nothing of us but the protocol. */
let given: string
let built: string

beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'rrt-c-'))
  given = join(built, 'given')
  execFileSync('cc', ['-O1', '-o', given, fixture('programs/given.c')])
})
afterAll(() => rmSync(built, { recursive: true }))

const READY = ['--ready', 'alive:50ms'] as const

async function start(
  listens: readonly string[],
  options: readonly string[] = [],
  versions = new Versions('good'),
): Promise<TestLauncher> {
  return startLauncher({
    command: [given],
    options: [...listens.flatMap((listen) => ['--listen', listen]), ...READY, ...options],
    cwd: versions.directory,
  })
}

/** What a program says that it was given: its own lines, by the word that they begin with. */
async function givenTo(port: number): Promise<{ pid: number; lines: string[] }> {
  const [first = '', ...lines] = (await ask(port, '/env')).trim().split('\n')
  return { pid: Number(first.split(' ')[1]), lines }
}

/** Clients, each with one datagram there and back at a time: gives who has answered. One that gets no answer asks no more. */
function askByDatagrams(port: number): { stop(): Promise<string[]> } {
  let isStopped = false
  const who = new Set<string>()
  const clients = Array.from({ length: 8 }, async () => {
    const socket = createSocket('udp4')
    try {
      while (!isStopped) {
        const answer = once(socket, 'message', { signal: AbortSignal.timeout(5_000) })
        socket.send('who', port, '127.0.0.1')
        const [data] = (await answer) as [Buffer]
        who.add(data.toString())
        await new Promise((done) => setTimeout(done, 1))
      }
    } finally {
      socket.close()
    }
  })
  const all = Promise.all(clients)
  // Told by stop().
  all.catch(() => {})
  return {
    async stop() {
      isStopped = true
      await all
      return [...who]
    },
  }
}

test('it is given its sockets, and nothing else (J-02)', async () => {
  const [one, two] = [await freePort(), await freePort()]
  const path = join(temporaryDirectory(), 'app.sock')
  const launcher = await startLauncher({
    command: [given],
    options: ['--listen', `web=tcp:127.0.0.1:${one}`, '--listen', `udp:${two}`, '--listen', `unix:${path}`, ...READY],
    cwd: new Versions('good').directory,
    env: { LISTEN_FDS: '7', LISTEN_FDNAMES: 'stale', FOO: 'kept' },
  })
  const { pid, lines } = await givenTo(one)
  expect([pid]).toEqual(await launcher.pids())
  expect(
    lines.filter((line) => /^(LISTEN|SERVER_STARTER|REUSEPORT|NODE_OPTIONS|NOTIFY|FOO)/.test(line)).sort(),
  ).toEqual([
    'FOO=kept',
    'LISTEN_FDNAMES=web:unknown:unknown',
    'LISTEN_FDS=3',
    `LISTEN_PID=${pid}`,
    'SERVER_STARTER_GENERATION=1',
    `SERVER_STARTER_PORT=127.0.0.1:${one}=3;${path}=5`,
  ])
  expect(lines.filter((line) => /^fd /.test(line)).sort()).toEqual([0, 1, 2, 3, 4, 5].map((fd) => `fd ${fd}`))
  // As systemd gives them: for programs that call accept() and wait.
  expect(lines.filter((line) => /^blocking/.test(line))).toEqual(['blocking 1', 'blocking 1', 'blocking 1'])
  expect(await ask(0, '/', { socketPath: path })).toBe(`good ${pid}`)
  const { listeners } = await launcher.status()
  expect(listeners.map(({ address, shared, activated }) => ({ address, shared, activated }))).toEqual([
    { address: `tcp 127.0.0.1:${one}`, shared: false, activated: false },
    { address: `udp *:${two}`, shared: false, activated: false },
    { address: `unix ${path}`, shared: true, activated: false },
  ])
  await launcher.stop()
  expect(existsSync(path)).toBe(false)
})

test('reloads under new connections lose none, and hand the same sockets on', async () => {
  const [port, datagrams] = [await freePort(), await freePort()]
  const versions = new Versions('good')
  const launcher = await start([`tcp:${port}`, `udp:${datagrams}`], ['-n', '2'], versions)
  const sockets = async (): Promise<unknown> =>
    (await launcher.status()).listeners.map((listener) => listener.sockets.map(({ slot, inode }) => ({ slot, inode })))
  const before = await sockets()
  expect(listeningInodes(port)).toHaveLength(2)
  const clients = new Clients(port, 2, false)
  const udp = askByDatagrams(datagrams)
  const pids = new Set<number>()
  for (let round = 0; round < 5; round++) {
    for (const pid of await launcher.pids()) pids.add(pid)
    await clients.more(100)
    const verdict = await launcher.reload('retired')
    expect({ ...verdict, story: verdict.result === 'done' ? '' : launcher.story }).toMatchObject({
      result: 'done',
      draining: 0,
      story: '',
    })
  }
  await clients.more(100)
  // What became of a program's own connections only the program knows.
  expect((await launcher.run('reload', '--wait', 'retired')).stdout).not.toContain('connections:')
  // Every generation has had some, and nobody waits for an answer.
  expect((await udp.stop()).length).toBeGreaterThanOrEqual(6)
  const { failures } = await clients.stop()
  expect(failures).toEqual([])
  for (const pid of await launcher.pids()) pids.add(pid)
  expect(pids.size).toBe(12)
  expect(await sockets()).toEqual(before)
  expect(launcher.events.filter(({ msg }) => msg === 'worker.exited').map(({ code }) => code)).toEqual(
    Array(12).fill(0),
  )
  await launcher.stop()
})

test('what waits for a worker that was killed is answered by its successor', async () => {
  const port = await freePort()
  const launcher = await start([`tcp:${port}`])
  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGSTOP')
  const waiting = ask(port)
  await until('it waits', async () => (await launcher.status()).listeners[0]?.sockets[0]?.queue === 1)
  process.kill(pid, 'SIGKILL')
  const answer = await waiting
  expect(answer).toMatch(/^good \d+$/)
  expect(answer).not.toBe(`good ${pid}`)
  await launcher.stop()
})

test('new connections go to the others while a worker is started again', async () => {
  const port = await freePort()
  const versions = new Versions('good')
  const launcher = await start([`tcp:${port}`], ['-n', '2', '--ready', 'alive:1s'], versions)
  const [first, second] = (await launcher.pids()) as [number, number]
  // The respawn ends at once, again and again.
  versions.deploy('early')
  const from = launcher.events.length
  process.kill(first, 'SIGKILL')
  // By then nobody is sent there any more.
  await launcher.event('worker.spawned', undefined, from)
  for (let n = 0; n < 40; n++) expect(await ask(port)).toBe(`good ${second}`)
  expect(launcher.events.filter(({ msg }) => msg === 'socket.adopted')).toEqual([])
  versions.deploy('good')
  await launcher.when('slot 0 serves', ({ slots }) => slots[0]?.worker?.state === 'serving')
  await until('both answer', async () => {
    const seen = new Set(await Promise.all(Array.from({ length: 20 }, () => ask(port))))
    return seen.size === 2 && !seen.has(`good ${first}`)
  })
  await launcher.stop()
})

test('a version that does not stay alive is aborted; the old one serves', async () => {
  const port = await freePort()
  const versions = new Versions('good')
  const launcher = await start([`tcp:${port}`], ['-n', '2', '--ready', 'alive:1s'], versions)
  const pids = await launcher.pids()
  versions.deploy('early')
  const run = await launcher.run('reload')
  expect(run.code).toBe(4)
  expect(run.stderr + run.stdout).toContain('exited with code 3')
  expect(launcher.errors).toContain('I do not like it here')
  expect(await launcher.pids()).toEqual(pids)
  for (let n = 0; n < 10; n++) expect(pids.map((pid) => `good ${pid}`)).toContain(await ask(port))
  await launcher.stop()
})

test('READY=1 is waited for; who has not said it in time may finish what it has', async () => {
  const port = await freePort()
  const versions = new Versions('good')
  const launcher = await start([`tcp:${port}`], ['--ready', 'notify', '--ready-timeout', '500ms'], versions)
  const [pid] = (await launcher.pids()) as [number]
  versions.deploy('mute')
  const verdict = await launcher.reload()
  expect(verdict).toMatchObject({
    result: 'aborted',
    reason: expect.stringContaining('it did not say that it is ready within 500 ms'),
  })
  // By its stop signal, not by SIGKILL: it may have accepted something.
  const exited = await launcher.event('worker.exited')
  expect(exited).toMatchObject({ generation: 2, code: 0, signal: null })
  expect(await launcher.pids()).toEqual([pid])
  await launcher.stop()
})

test('a version that ends in the bake is undone; the old one has accepted all the time', async () => {
  const port = await freePort()
  const versions = new Versions('good')
  const launcher = await start([`tcp:${port}`], ['--bake', '10s'], versions)
  const [pid] = (await launcher.pids()) as [number]
  versions.deploy('late')
  const reload = launcher.reload('baked')
  await launcher.event('reload.baking')
  expect(await reload).toMatchObject({ result: 'undone', step: 'bake', reason: expect.stringContaining('code 4') })
  expect(await launcher.pids()).toEqual([pid])
  expect(await ask(port)).toBe(`good ${pid}`)
  await launcher.stop()
})

test('a health check goes to a socket that only one worker has', async () => {
  const port = await freePort()
  const versions = new Versions('good')
  const health = [
    '--health',
    '/healthz',
    '--health-interval',
    '50ms',
    '--health-timeout',
    '300ms',
    '--ready-timeout',
    '1s',
    '--bake',
    '10s',
  ]
  const launcher = await start([`web=tcp:${port}`], ['-n', '2', ...health], versions)
  const { lines } = await givenTo(port)
  expect(lines.find((line) => line.startsWith('SERVER_STARTER_PORT='))).toMatch(/;127\.0\.0\.1:\d+=4$/)
  const open = (): number => readdirSync(`/proc/${launcher.pid}/fd`).length
  const before = open()
  expect(lines).toEqual(
    expect.arrayContaining(['LISTEN_FDS=2', 'LISTEN_FDNAMES=web:health', 'fd 3', 'fd 4', 'blocking 1']),
  )
  expect(lines).not.toContain('fd 5')
  const pids = await launcher.pids()

  versions.deploy('unwell')
  expect(await launcher.reload('baked')).toMatchObject({
    result: 'aborted',
    step: 'probe',
    reason: expect.stringContaining('it answered GET /healthz with 503'),
  })
  versions.deploy('single')
  expect(await launcher.reload('baked')).toMatchObject({
    result: 'aborted',
    reason: expect.stringContaining('it does not accept from the socket named health'),
  })
  versions.deploy('ill')
  expect(await launcher.reload('baked')).toMatchObject({
    result: 'undone',
    step: 'bake',
    reason: expect.stringContaining('its health check failed: it answered GET /healthz with 503'),
  })
  expect(await launcher.pids()).toEqual(pids)
  // What was made for those workers has gone with them.
  await until(
    'as many descriptors as before',
    async () => (await launcher.status()).leaving.length === 0 && open() <= before,
  )
  await launcher.stop()
})

test('the path of a unix socket outlives whoever takes it away', async () => {
  const path = join(temporaryDirectory(), 'app.sock')
  const launcher = await start([`unix:${path}`], ['-n', '2'], new Versions('tidy'))
  expect((await launcher.reload('retired')).result).toBe('done')
  expect(await ask(0, '/', { socketPath: path })).toMatch(/^tidy/)
  rmSync(path)
  process.kill((await launcher.pids())[0] as number, 'SIGKILL')
  await until('it is back', () => existsSync(path))
  expect(await ask(0, '/', { socketPath: path })).toMatch(/^tidy/)
  await launcher.stop()
  expect(existsSync(path)).toBe(false)
})

test('who does not heed the stop signal is killed at the deadlines', async () => {
  const port = await freePort()
  const launcher = await start(
    [`tcp:${port}`],
    ['--drain-timeout', '100ms', '--kill-after', '100ms'],
    new Versions('deaf'),
  )
  launcher.kill('SIGTERM')
  await launcher.event('worker.killed')
  await launcher.leavesNothing()
})

test('other numbers of workers are refused, in words', async () => {
  const launcher = await start([`tcp:${await freePort()}`])
  const run = await launcher.run('scale', '2')
  expect(run.code).toBe(2)
  expect(run.stderr).toContain('with --listen the number of workers is that of the start')
  launcher.kill('SIGTTIN')
  await launcher.event('scale.refused')
  await launcher.stop()
})

test('a Node program is any program, too', async () => {
  const port = await freePort()
  const cwd = temporaryDirectory()
  writeFileSync(
    join(cwd, 'app.cjs'),
    `require('node:http').createServer((_, response) => response.end([process.pid, process.env.LISTEN_PID, process.env.NODE_OPTIONS].join(' '))).listen({ fd: 3 })`,
  )
  const launcher = await startLauncher({
    command: ['node', 'app.cjs'],
    options: ['--listen', `tcp:${port}`, '--ready', 'alive:500ms'],
    cwd,
  })
  const [pid] = (await launcher.pids()) as [number]
  expect(await ask(port)).toBe(`${pid} ${pid} `)
  expect((await launcher.reload()).result).toBe('done')
  expect(await ask(port)).not.toBe(`${pid} ${pid} `)
  // It has no handler: the signal ends it, and that is what was asked for.
  expect(await launcher.event('worker.exited')).toMatchObject({ signal: 'SIGTERM' })
  await launcher.stop()
})

test('an address that is taken, or a socket that was not given, is said before anything is started (F-10)', async () => {
  const port = await freePort()
  const holder = createServer().listen(port)
  await once(holder, 'listening')
  onTestFinished(() => void holder.close())
  const words = (...listen: string[]): string[] => [
    '--runtime-dir',
    join(temporaryDirectory(), 'run'),
    ...listen.flatMap((one) => ['--listen', one]),
    given,
  ]
  const taken = await runCli(words(`tcp:${port}`))
  expect(taken.code).toBe(1)
  expect(taken.stderr).toMatch(new RegExp(`ERR_ADDRESS_IN_USE.*${port}.*pid ${process.pid}`))
  expect(taken.stderr).not.toContain('worker.spawned')
  const missing = await runCli(words('fd:web'))
  expect(missing.code).toBe(1)
  expect(missing.stderr).toContain('ERR_ADDRESS: no socket named "web" was given to the launcher')
})

/** What systemd does with a socket unit: the launcher is started by the first connection. */
function activated(
  where: number | string,
  command: readonly string[],
  options: readonly string[],
  cwd: string,
): TestLauncher {
  const address = typeof where === 'string' ? where : `127.0.0.1:${where}`
  const under = ['systemd-socket-activate', `--listen=${address}`, '--fdname=web', '-E', 'RUN_MARK', '-E', 'PATH']
  return new TestLauncher({ command, options, cwd, under })
}

test('a socket that the launcher is given is that of the program which listens there, shared by its workers', async () => {
  const port = await freePort()
  const cwd = temporaryDirectory()
  writeFileSync(
    join(cwd, 'app.cjs'),
    `require('node:http').createServer((_, response) => response.end(JSON.stringify(process.env))).listen(${port}, '127.0.0.1')`,
  )
  const launcher = activated(port, ['node', 'app.cjs'], ['-n', '2'], cwd)
  await until('systemd listens', () => listeningInodes(port).length === 1)
  const inodes = listeningInodes(port)
  const first = ask(port)
  await launcher.serving()
  expect(Object.keys(JSON.parse(await first)).filter((name) => name.startsWith('LISTEN'))).toEqual([])
  await launcher.event('activation.taken', (event) => event['address'] === `tcp 127.0.0.1:${port}`)
  const clients = new Clients(port, 2)
  await clients.more(50)
  expect((await launcher.reload()).result).toBe('done')
  const [one] = (await launcher.pids()) as [number]
  await clients.more(50)
  expect((await clients.stop()).failures).toEqual([])
  expect((await launcher.status()).listeners).toMatchObject([
    { address: `tcp 127.0.0.1:${port}`, shared: true, activated: true, sockets: [{ slot: 0 }] },
  ])
  expect((await launcher.run('status')).stdout).toContain('given by socket activation, shared by all workers')
  // Nobody adopts, for there is one queue: whoever lives accepts from it.
  process.kill(one, 'SIGKILL')
  for (let n = 0; n < 10; n++) await ask(port)
  expect(launcher.events.filter(({ msg }) => msg === 'socket.adopted')).toEqual([])
  expect(listeningInodes(port)).toEqual(inodes)
  await launcher.stop()
})

test('a path that was given stays, though the program takes it away before it listens', async () => {
  const cwd = temporaryDirectory()
  const path = join(cwd, 'app.sock')
  writeFileSync(
    join(cwd, 'app.cjs'),
    `require('node:fs').rmSync(${JSON.stringify(path)}, { force: true })
     require('node:http').createServer((_, response) => response.end(String(process.pid))).listen(${JSON.stringify(path)})`,
  )
  const launcher = activated(path, ['node', 'app.cjs'], ['-n', '2'], cwd)
  // The path is there before anybody listens: __SO_ACCEPTCON (proc(5), /proc/net/unix).
  const listens = new RegExp(` 00010000 .* ${path}$`, 'm')
  await until('systemd listens', () => listens.test(readFileSync('/proc/net/unix', 'latin1')))
  const first = ask(0, '/', { socketPath: path })
  await launcher.serving()
  expect(await launcher.pids()).toContain(Number(await first))
  expect((await launcher.reload()).result).toBe('done')
  expect(await launcher.pids()).toContain(Number(await ask(0, '/', { socketPath: path })))
  await launcher.stop()
  expect(existsSync(path)).toBe(true)
})

test('or by its name, that of any program', async () => {
  const port = await freePort()
  const launcher = activated(port, [given], ['--listen', 'fd:web', '-n', '2', ...READY], new Versions('good').directory)
  await until('systemd listens', () => listeningInodes(port).length === 1)
  const early = ask(port)
  await launcher.serving()
  expect(await early).toMatch(/^good/)
  const { lines } = await givenTo(port)
  expect(lines).toEqual(expect.arrayContaining(['LISTEN_FDS=1', 'LISTEN_FDNAMES=web']))
  const clients = new Clients(port, 2, false)
  await clients.more(50)
  expect((await launcher.reload()).result).toBe('done')
  await clients.more(50)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('sockets that are meant for another process are said to be of no use (F-10, J-02)', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: [given],
    options: ['--listen', `tcp:${port}`, ...READY],
    cwd: new Versions('good').directory,
    env: { LISTEN_FDS: '1', LISTEN_PID: '1' },
  })
  expect(await launcher.event('activation.refused')).toMatchObject({
    reason: expect.stringContaining('LISTEN_PID is 1'),
  })
  await launcher.stop()
})

test('what was given and is no listening socket is said to be of no use (F-10)', async () => {
  const file = openSync('/dev/null', 'r')
  const bound = native.socket('inet', 'stream')
  native.bindInet(bound, '127.0.0.1', 0)
  onTestFinished(() => {
    closeSync(file)
    native.close(bound)
  })
  const launcher = await startLauncher({
    command: [given],
    options: ['--listen', `tcp:${await freePort()}`, ...READY],
    cwd: new Versions('good').directory,
    under: ['sh', '-c', 'LISTEN_FDS=2 LISTEN_PID=$$ exec "$@"', 'sh'],
    fds: [file, bound],
  })
  const refused = ['ENOTSOCK', 'it does not listen'].map((reason) =>
    launcher.event('activation.refused', (event) => String(event['reason']).includes(reason)),
  )
  expect(await Promise.all(refused)).toHaveLength(2)
  await launcher.stop()
})

test('early clients wait for the first worker', async () => {
  const port = await freePort()
  const launcher = new TestLauncher({
    command: ['sh', '-c', `read -r _ < go; exec ${given}`],
    options: ['--listen', `tcp:${port}`, '--ready', 'alive:50ms'],
    cwd: makeGate(),
  })
  await until('the launcher listens', async () => (await tryConnect(port)) === 'connected')
  const answer = ask(port)
  const held = connect(port, '127.0.0.1')
  await once(held, 'connect')
  held.destroy()
  await launcher.serving()
  writeFileSync(join(gate, 'go'), '\n')
  expect(await answer).toMatch(/^good/)
  await launcher.stop()
})

let gate: string
function makeGate(): string {
  gate = temporaryDirectory()
  execFileSync('mkfifo', [join(gate, 'go')])
  return gate
}
