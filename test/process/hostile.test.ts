import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { createRequire } from 'node:module'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Status } from '../../src/control-protocol'
import type { Native } from '../../src/native'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { descriptorsOf } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

const built = createRequire(import.meta.url)('../../dist/native.js') as { native(): Native }
const native = built.native()

async function start(): Promise<{ launcher: TestLauncher; port: number; fds: number }> {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  await launcher.reload()
  return { launcher, port, fds: await restingFds(launcher) }
}

/** Nothing has come of it: the same launcher, the same workers, as many descriptors, and the next reload works. */
async function expectUnharmed({ launcher, port, fds }: Awaited<ReturnType<typeof start>>): Promise<void> {
  expect(launcher.isRunning).toBe(true)
  expect(await ask(port)).toMatch(/^\d+$/)
  await until('its descriptors are closed', () => descriptorsOf(launcher.pid).size <= fds).catch(() => {})
  expect(await restingFds(launcher)).toBe(fds)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
}

async function restingFds(launcher: TestLauncher): Promise<number> {
  let last = -1
  return until('the number of descriptors rests', async () => {
    const { size } = descriptorsOf(launcher.pid)
    const rests = size === last
    last = size
    await new Promise((done) => setTimeout(done, 30))
    return rests && size
  })
}

/** Sends bytes to the control socket; gives what comes back until its end. */
function say(path: string, bytes: string | Buffer): Promise<string> {
  return new Promise((done) => {
    let text = ''
    const socket = connect(path, () => socket.write(bytes))
    socket.on('data', (data) => {
      text += data
    })
    socket.on('error', () => done(text))
    socket.on('close', () => done(text))
  })
}

test('garbage at the control socket (I-01, I-02, I-05, S-04)', async () => {
  const scene = await start()
  const path = join(scene.launcher.directory, 'control.sock')
  const answers: string[] = []
  for (const bytes of [
    'GET // HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n',
    'POST /reload?wait=%ff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n',
    'POST /reload?wait=never HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n',
    'DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /reload HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n',
    'CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /status HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    'GET /status HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n',
    'GET /status HTTP/1.1\r\nHost: x\r\nExpect: something\r\n\r\n',
    'POST /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    '\0\x01\xff'.repeat(1000),
    '{"type":"reload"}\n\n',
  ])
    answers.push((await say(path, bytes)).split('\r\n')[0] as string)
  // The two of them that ask for the status as a client may; the second one's answer begins with "100 Continue".
  expect(answers.slice(0, 7).map((line) => Number(line.split(' ')[1]))).toEqual([400, 400, 400, 400, 405, 405, 404])
  expect(answers.slice(9, 11)).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 100 Continue'])
  expect(answers.filter((line) => line.startsWith('HTTP/1.1 2'))).toHaveLength(1)
  await expectUnharmed(scene)
})

test('clients of the control socket that never speak, or go away half-way (I-06)', async () => {
  const scene = await start()
  const path = join(scene.launcher.directory, 'control.sock')
  const silent: Socket[] = Array.from({ length: 100 }, () => connect(path).on('error', () => {}))
  await Promise.all(silent.map((socket) => new Promise((done) => socket.once('connect', done))))
  for (const socket of silent.slice(50)) socket.write('POST /rel')
  expect((await scene.launcher.status()).state).toBe('serving')
  for (const socket of silent) socket.destroy()
  for (let n = 0; n < 20; n++) {
    const socket = connect(path)
    socket.on('error', () => {})
    socket.write('POST /reload?wait=retired HTTP/1.1\r\nHost: x\r\n\r\n', () => socket.destroy())
    await new Promise((done) => socket.once('close', done))
  }
  await scene.launcher.when(
    'the reloads are through',
    ({ state, generations }) => state === 'serving' && generations.length === 1,
  )
  await expectUnharmed(scene)
})

test('two hundred clients that say nothing, or a byte now and then: who has something to say is heard all the same, and they are sent away in time (I-06, S-05)', {
  timeout: 60_000,
}, async () => {
  const scene = await start()
  const path = join(scene.launcher.directory, 'control.sock')
  // A first order loads what answers it.
  await scene.launcher.status()
  const before = residentBytes(scene.launcher.pid)
  let closed = 0
  const silent = Array.from({ length: 200 }, () =>
    connect(path)
      .on('error', () => {})
      .on('close', () => closed++),
  )
  await Promise.all(silent.map((socket) => new Promise((done) => socket.once('connect', done))))
  const drip = setInterval(() => {
    for (const socket of silent.slice(100)) if (!socket.destroyed) socket.write('x')
  }, 500)
  onTestFinished(() => clearInterval(drip))
  await until('there is room for 128', () => closed >= 200 - 128)
  // One that waits for its answer is not silent: it keeps its place.
  const waiting = say(path, 'POST /reload?wait=retired HTTP/1.1\r\nHost: x\r\n\r\n')
  for (let n = 0; n < 10; n++) expect((await scene.launcher.status()).pid).toBe(scene.launcher.pid)
  expect(residentBytes(scene.launcher.pid) - before).toBeLessThan(16e6)
  await until('the rest is sent away', () => closed === 200)
  expect((await waiting).split('\r\n')[0]).toBe('HTTP/1.1 200 OK')
  await expectUnharmed(scene)
})

test('a thousand clients that stay: no more than 128 are kept, a reload by signal goes on, nobody else notices, and orders are heard afterwards (I-07, S-05)', async () => {
  const scene = await start()
  const path = join(scene.launcher.directory, 'control.sock')
  const clients = new Clients(scene.port, 2)
  const before = residentBytes(scene.launcher.pid)
  let closed = 0
  const silent = Array.from({ length: 1_000 }, (_, index) =>
    connect(path, function (this: Socket) {
      // Some have begun to say something.
      if (index % 2 === 0) this.write('POST /rel')
    })
      .on('error', () => {})
      .on('close', () => closed++),
  )
  await until('the rest is sent away', () => closed >= 1_000 - 128)
  expect(descriptorsOf(scene.launcher.pid).size).toBeLessThanOrEqual(scene.fds + 128)
  expect(residentBytes(scene.launcher.pid) - before).toBeLessThan(16e6)
  scene.launcher.kill('SIGHUP')
  await scene.launcher.event('reload.retired', ({ id }) => id === 2)
  for (const socket of silent) socket.destroy()
  await until('its descriptors are closed', () => descriptorsOf(scene.launcher.pid).size <= scene.fds)
  expect((await clients.stop()).failures).toEqual([])
  await expectUnharmed(scene)
})

test('orders without a pause, from eight clients at once: a reload goes on, and no client of the program notices (I-17)', async () => {
  const { launcher, port } = await start()
  const clients = new Clients(port)
  let isOver = false
  let asked = 0
  const storm = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      expect((await say(join(launcher.directory, 'control.sock'), STATUS)).startsWith('HTTP/1.1 200 OK')).toBe(true)
      asked += 1
    }
  })
  for (const id of [2, 3]) expect(await launcher.reload()).toMatchObject({ id, result: 'done' })
  await until('many have asked', () => asked > 100)
  isOver = true
  await Promise.all(storm)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

const STATUS = 'GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'

test('a client that never speaks does not keep the launcher from ending', async () => {
  const { launcher } = await start()
  const silent = connect(join(launcher.directory, 'control.sock'))
  await new Promise((done) => silent.once('connect', done))
  const began = Date.now()
  await launcher.run('stop')
  expect(Date.now() - began).toBeLessThan(3000)
  await launcher.leavesNothing()
})

/** A stranger at the channel. */
function stranger(launcher: TestLauncher): {
  say(data: string | Buffer, fds?: number[]): void
  answers(): string[]
  end(): void
} {
  const fd = native.socket('unix', 'seqpacket')
  native.connectUnix(fd, join(launcher.directory, 'channel.sock'))
  return {
    say: (data, fds = []) => void native.sendMessage(fd, Buffer.from(data), fds),
    answers() {
      const list: string[] = []
      for (
        let one = native.receiveMessage(fd, 65536);
        one !== null && one.data.length > 0;
        one = native.receiveMessage(fd, 65536)
      )
        list.push(one.data.toString())
      return list
    },
    end: () => native.close(fd),
  }
}

test('garbage at the channel (B-11, I-01, I-02, I-03, I-04, I-10, S-05)', async () => {
  const scene = await start()
  const hello = { type: 'hello', version: 1, token: '', node: 'v0', thread: 0 }
  for (const data of [
    'x',
    '\0',
    '{',
    'null',
    '[]',
    '7',
    '{"type":7}',
    '{"type":"claim","id":1,"address":{"kind":"tcp","host":null,"port":1,"ipv6Only":false},"backlog":5}',
    '{"type":"nonsense"}',
    JSON.stringify(hello),
    JSON.stringify({ ...hello, version: 99 }),
    JSON.stringify({ ...hello, version: {} }),
    JSON.stringify({ ...hello, token: 7 }),
    JSON.stringify({ ...hello, token: { toString: 1 } }),
    '{"type":"hello","__proto__":{"token":"a"}}',
    `[${'['.repeat(30_000)}`,
    'a'.repeat(65_536),
    Buffer.alloc(100_000, 'a'),
  ]) {
    const peer = stranger(scene.launcher)
    peer.say(data)
    peer.end()
  }
  // Descriptors that nobody asked for, with a message and without a meaning: closed.
  for (let n = 0; n < 50; n++) {
    const peer = stranger(scene.launcher)
    peer.say(
      n % 2 === 0 ? JSON.stringify(hello) : '{"type":"sockets","seq":1,"fds":[],"last":true}',
      Array(200).fill(0),
    )
    peer.end()
  }
  await scene.launcher.event('channel.refused', ({ code }) => code === 'token')
  await scene.launcher.event('channel.refused', ({ code }) => code === 'version')
  await expectUnharmed(scene)
})

test('strangers that stay connected keep nobody out', async () => {
  const scene = await start()
  const peers = Array.from({ length: 300 }, () => stranger(scene.launcher))
  expect(await scene.launcher.reload()).toMatchObject({ result: 'done' })
  for (const peer of peers) peer.end()
  await expectUnharmed(scene)
})

test('a worker whose program speaks nonsense in its name (I-05)', async () => {
  const port = await freePort()
  const launcher = await startLauncher({ command: ['node', fixture('servers/evil-worker.cjs'), String(port)] })
  await launcher.event('worker.serving')
  expect(await ask(port, '/talk')).toBe('said')
  expect((await launcher.status()).state).toMatch(/serving|degraded/)
  await launcher.when('it serves', ({ state }) => state === 'serving')
  expect(await ask(port)).toMatch(/^\d+$/)
  await launcher.stop()
})

test('a worker whose program talks without a pause: the launcher hears the others all the time, and does not grow (I-18, S-17)', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', fixture('servers/evil-worker.cjs'), String(port)],
    options: ['-n', '2'],
  })
  const before = residentBytes(launcher.pid)
  const enough = join(temporaryDirectory(), 'enough')
  let isOver = false
  const flooded = ask(port, `/flood?until=${enough}`).finally(() => {
    isOver = true
  })
  await launcher.event('worker.warning')
  await launcher.status()
  const most = residentBytes(launcher.pid)
  expect(isOver).toBe(false)
  writeFileSync(enough, '')
  expect(await flooded).toBe('beginsover')
  // V8 lets its young generation grow to three times 16 MB, and the old one by what it holds, before it looks for garbage.
  expect(most - before).toBeLessThan(128e6)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('a worker that says it is of another slot and generation, by its own token or by its sibling’s: it stays what it is (I-19, S-06, S-07)', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', fixture('servers/evil-worker.cjs'), String(port)],
    options: ['-n', '2'],
  })
  const before = await launcher.status()
  const evil = new Agent({ keepAlive: true, maxSockets: 1 })
  const own = await ask(port, '/token', { agent: evil })
  const other = await until('the sibling answers', async () => {
    const token = await ask(port, '/token')
    return token !== own && token
  })
  const claim = async (token: string): Promise<unknown> =>
    JSON.parse(await ask(port, `/claim?token=${token}`, { agent: evil }))
  const pid = Number(await ask(port, '/', { agent: evil }))
  const slot = before.slots.find(({ worker }) => worker?.pid === pid)?.slot
  expect(await claim(own)).toMatchObject({ type: 'welcome', slot, generation: 1, term: 1, working: 1 })
  expect(await claim(other)).toMatchObject({ type: 'refused', code: 'not-the-worker' })
  expect(await claim('0'.repeat(other.length))).toMatchObject({ type: 'refused', code: 'token' })
  evil.destroy()
  const { slots, term, working } = await launcher.status()
  const places = (all: Status['slots']): unknown[] => all.map(({ worker }) => [worker?.pid, worker?.generation])
  expect([places(slots), term, working]).toEqual([places(before.slots), 1, 1])
  expect(await launcher.reload()).toMatchObject({ result: 'done', from: 1, to: 2 })
  await launcher.stop()
})

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

test('a worker that is gone before its greeting is read (A-03, I-16)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const [node, ...argv] = versions.command(port)
  const launcher = await startLauncher({
    // Behind a shell: it is reaped there, and its pid means nobody any more.
    command: ['sh', '-c', `${node} ${argv.join(' ')}; exit $?`],
    cwd: versions.directory,
  })
  versions.deploy('announces-itself')
  const verdict = launcher.reload()
  const pid = Number(
    await until('the candidate is about to listen', () => {
      try {
        return readFileSync(join(versions.directory, 'about-to-listen'), 'utf8')
      } catch {
        return undefined
      }
    }),
  )
  launcher.kill('SIGSTOP')
  const sockets = (): number => [...descriptorsOf(pid).values()].filter((name) => name.startsWith('socket:')).length
  await until('it waits for its answer', () => sockets() > 0)
  process.kill(pid, 'SIGKILL')
  await until('it is reaped', () => !existsSync(`/proc/${pid}`))
  launcher.kill('SIGCONT')
  expect(await verdict).toMatchObject({ result: 'aborted' })
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('a launcher that runs out of descriptors goes on (G-03)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
    under: ['prlimit', '--nofile=60:60'],
  })
  const peers: ReturnType<typeof stranger>[] = []
  for (let n = 0; n < 60; n++) peers.push(stranger(launcher))
  await until('it is full', () => descriptorsOf(launcher.pid).size >= 58)
  expect(await ask(port)).toMatch(/^\d+$/)
  const before = cpuTicks(launcher.pid)
  await new Promise((done) => setTimeout(done, 500))
  // 100 ticks are a second (USER_HZ): it does not spin over connections that it cannot accept.
  expect(cpuTicks(launcher.pid) - before).toBeLessThan(20)
  for (const peer of peers) peer.end()
  await launcher.when('it answers again', ({ state }) => state === 'serving')
  // Those that still wait are accepted, in their order, before one that comes now, and take descriptors for a moment.
  const last = stranger(launcher)
  last.say('x')
  await launcher.event('channel.dropped')
  last.end()
  await until('the strangers have gone', () => descriptorsOf(launcher.pid).size < 45)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}
