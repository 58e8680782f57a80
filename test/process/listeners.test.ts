import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2, constants } from 'node:http2'
import { request as requestHttps } from 'node:https'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { ask, Clients, tryConnect } from '../support/clients'
import { runCli, startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

const many = (...words: string[]): string[] => ['node', fixture('servers/many.cjs'), ...words]

/** The worker that answers is chosen by the kernel: asks until each of `count` has. */
async function askEach(port: number, path: string, count: number): Promise<Set<string>> {
  const seen = new Set<string>()
  await until(`${count} workers answer`, async () => {
    seen.add(await ask(port, path))
    return seen.size >= count
  })
  return seen
}

async function addresses(launcher: TestLauncher): Promise<string[]> {
  const { listeners } = await launcher.status()
  return listeners.map(({ address }) => address).sort()
}

test('an app with two ports: both reload, both are managed', async () => {
  const [a, b] = [await freePort(), await freePort()]
  const launcher = await startLauncher({ command: many(`a=${a}`, `b=127.0.0.1:${b}`), options: ['-n', '2'] })
  await launcher.when(
    'both listen in both workers',
    ({ listeners }) => listeners.length === 2 && listeners.every(({ sockets }) => sockets.length === 2),
  )
  const inodes = [listeningInodes(a), listeningInodes(b)]
  const clients = [new Clients(a), new Clients(b)]
  for (let round = 0; round < 3; round++)
    expect(await launcher.reload()).toMatchObject({ result: 'done', reason: null })
  for (const one of clients) {
    await one.more(20)
    expect((await one.stop()).failures).toEqual([])
  }
  expect([listeningInodes(a), listeningInodes(b)]).toEqual(inodes)
  expect(await addresses(launcher)).toEqual([`tcp *:${a}`, `tcp 127.0.0.1:${b}`].sort())
  await launcher.stop()
})

test('a late listener is live at once, survives reloads in which it comes late again', async () => {
  const [a, late] = [await freePort(), await freePort()]
  const launcher = await startLauncher({ command: many(`a=${a}`), options: ['-n', '1'] })
  expect(await ask(a, `/do/listen/late/${late}`)).toBe('done')
  expect(await ask(late)).toMatch(/^late \d+$/)
  const inodes = listeningInodes(late)

  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  // The new version has not asked for it: it waits in the queue, it is not refused.
  const waiting = ask(late)
  await launcher.when('it waits', ({ listeners }) => listeners.some(({ sockets }) => (sockets[0]?.queue ?? 0) > 0))
  expect(await ask(a, `/do/listen/late/${late}`)).toBe('done')
  expect(await waiting).toMatch(/^late \d+$/)
  expect(listeningInodes(late)).toEqual(inodes)
  await launcher.stop()
})

test('a listener that one worker closes is adopted by the other; the last one ends it (A-15)', async () => {
  const [a, b] = [await freePort(), await freePort()]
  const launcher = await startLauncher({ command: many(`a=${a}`, `b=${b}`), options: ['-n', '2'] })
  await askEach(b, '/', 2)
  expect(await ask(a, '/do/close/b')).toBe('done')
  const { slots } = await launcher.when('one is adopted', ({ slots: all }) =>
    all.some(({ adoptedBy }) => adoptedBy !== null),
  )
  const left = slots.find(({ adoptedBy }) => adoptedBy === null)?.worker?.pid
  const answers = await Promise.all(Array.from({ length: 30 }, () => ask(b)))
  expect(new Set(answers)).toEqual(new Set([`b ${left}`]))

  // The other one is asked over its own listener b, which only it still has.
  expect(await ask(b, '/do/close/b')).toBe('done')
  await until('b is refused', async () => (await tryConnect(b)) === 'ECONNREFUSED')
  expect(listeningInodes(b)).toEqual([])
  expect(await addresses(launcher)).toEqual([`tcp *:${a}`])
  // As in plain Node it may listen again.
  expect(await ask(a, `/do/listen/b/${b}`)).toBe('done')
  expect(await ask(b)).toMatch(/^b \d+$/)
  await launcher.stop()
})

test('a second listen on the same address in one worker is EADDRINUSE', async () => {
  const a = await freePort()
  const launcher = await startLauncher({ command: many(`a=${a}`), options: ['-n', '2'] })
  expect(await ask(a, '/do/again/a')).toBe('EADDRINUSE')
  expect(await ask(a)).toMatch(/^a \d+$/)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('a program that tries a port and closes it again is not ready by that', async () => {
  const [probe, a] = [await freePort(), await freePort()]
  const launcher = await startLauncher({ command: many(`p=~${probe}`, `a=${a}`), options: ['-n', '2'] })
  await launcher.when(
    'only a is left',
    ({ listeners }) => listeners.map(({ address }) => address).join() === `tcp *:${a}`,
  )
  expect(await tryConnect(probe)).toBe('ECONNREFUSED')
  const clients = new Clients(a)
  for (let round = 0; round < 3; round++)
    expect(await launcher.reload()).toMatchObject({ result: 'done', reason: null })
  expect((await clients.stop()).failures).toEqual([])
  expect(await addresses(launcher)).toEqual([`tcp *:${a}`])
  expect(await tryConnect(probe)).toBe('ECONNREFUSED')
  await launcher.stop()
})

test('--ports leaves the others to Node', async () => {
  const [a, own] = [await freePort(), await freePort()]
  const launcher = await startLauncher({
    command: many(`a=${a}`, `own=${own}`),
    options: ['-n', '1', '--ports', String(a)],
  })
  await until('its own port answers', () => ask(own).catch(() => undefined))
  expect(await addresses(launcher)).toEqual([`tcp *:${a}`])
  const [pid] = (await launcher.pids()) as [number]
  const [inode] = listeningInodes(own)
  expect(inode).toBeGreaterThan(0)
  const { listeners } = await launcher.status()
  expect(listeners.flatMap(({ sockets }) => sockets.map((socket) => socket.inode))).not.toContain(inode)
  expect(await ask(own)).toBe(`own ${pid}`)
  await launcher.stop()
})

test('a unix listener keeps its path and its inode through reloads, also when the program unlinks it first (N-14)', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'app.sock')
  for (const word of [`a=${path}`, `a=-${path}`, 'a=./app.sock']) {
    const launcher = await startLauncher({ command: many(word), options: ['-n', '2'], cwd: directory })
    const unix = (): Promise<string> => ask(0, '/', { socketPath: path })
    expect(await unix()).toMatch(/^a \d+$/)
    const before = statSync(path).ino
    const old = await launcher.pids()
    const failures: string[] = []
    let isRunning = true
    const client = (async () => {
      while (isRunning) await unix().catch((error) => failures.push(String(error)))
    })()
    for (let round = 0; round < 3; round++)
      expect(await launcher.reload()).toMatchObject({ result: 'done', reason: null })
    isRunning = false
    await client
    expect({ word, failed: failures.length, first: failures[0] }).toEqual({ word, failed: 0, first: undefined })
    expect(statSync(path).ino).toBe(before)
    expect(old).not.toContain(Number((await unix()).split(' ')[1]))
    await launcher.stop()
    expect(readdirSync(directory)).toEqual([])
  }
})

test('a unix path may be as long as the name beside it allows; a longer one is refused with the reason (F-07)', async () => {
  const base = temporaryDirectory()
  const a = await freePort()
  // Late, so that the launcher is there and its pid is known.
  const launcher = await startLauncher({ command: many(`a=${a}`) })
  const listen = (path: string): Promise<string> =>
    ask(a, `/do/listen/u/${encodeURIComponent(path.replaceAll('/', '|'))}`)
  const longest = 107 - `.${launcher.pid.toString(36)}`.length
  const path = join(base, 's'.repeat(longest - base.length - 1))

  expect(await listen(`${path}s`)).toBe('ENAMETOOLONG')
  const { reason } = await launcher.event('listener.failed')
  expect(reason).toContain(`${path}s.${launcher.pid.toString(36)} must have at most 107 bytes`)
  expect(readdirSync(base)).toEqual([])

  expect(await listen(path)).toBe('done')
  expect(await ask(0, '/', { socketPath: path })).toMatch(/^u \d+$/)
  await launcher.stop()
  expect(readdirSync(base)).toEqual([])
})

test('a unix path that is somebody else’s is refused and stays what it is; a dead one is replaced (F-06)', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'app.sock')
  const a = await freePort()
  // `a` makes it start; the unix listener comes late and its errno is asked for.
  const launcher = await startLauncher({ command: many(`a=${a}`), cwd: directory })
  const late = (): Promise<string> => ask(a, `/do/listen/u/${encodeURIComponent(path.replaceAll('/', '|'))}`)

  writeFileSync(path, 'precious')
  expect(await late()).toBe('EADDRINUSE')
  expect(statSync(path).isFile()).toBe(true)
  rmSync(path)

  // The launcher asks whether anybody listens, and hangs up: an answer to it can fail.
  const other = createServer((socket) => socket.on('error', () => {}).end('mine'))
  await new Promise<void>((done) => other.listen(path, () => done()))
  expect(await late()).toBe('EADDRINUSE')
  const theirs = await new Promise<string>((done) => connect(path).on('data', (data) => done(String(data))))
  expect(theirs).toBe('mine')
  await new Promise((done) => other.close(done))

  // What a killed process leaves: a socket file that nobody listens on.
  spawnSync('python3', ['-c', `import socket; socket.socket(socket.AF_UNIX).bind(${JSON.stringify(path)})`])
  expect(existsSync(path)).toBe(true)
  expect(await late()).toBe('done')
  expect(await ask(0, '/', { socketPath: path })).toMatch(/^u \d+$/)
  await launcher.stop()
  expect(existsSync(path)).toBe(false)
})

test.runIf(process.geteuid?.() === 0)(
  'without IPv6: a program that names no host listens, and ::1 is refused in words (M-06)',
  async () => {
    const [port, versions] = [await freePort(), new Versions()]
    const off = 'ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; exec "$@"'
    const under = ['unshare', '--net', 'sh', '-c', off, 'sh']
    const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory, under })
    const asked = (): string => {
      const script = `fetch('http://127.0.0.1:${port}/version').then((answer) => answer.text()).then(console.log)`
      return spawnSync('nsenter', ['-t', String(launcher.pid), '-n', TEST_NODE, '-e', script], { encoding: 'utf8' })
        .stdout
    }
    expect(asked()).toBe('one\n')
    versions.deploy('two')
    expect(await launcher.reload()).toMatchObject({ result: 'done' })
    expect(asked()).toBe('two\n')
    await launcher.stop()

    const program = 'require("node:http").createServer().listen(8123, "::1")'
    const words = ['--runtime-dir', join(temporaryDirectory(), 'run'), '--', TEST_NODE, '-e', program]
    const refused = await runCli(words, { cwd: versions.directory, under })
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/\[::1\]:8123.*EADDRNOTAVAIL|EADDRNOTAVAIL.*::1/),
    })
  },
)

test('TLS, HTTP/2 and plain TCP servers reload', async () => {
  for (const [file, speak] of [
    ['worker/https.cjs', speakHttps],
    ['worker/http2-secure.cjs', speakHttp2],
    ['worker/net.cjs', speakTcp],
  ] as const) {
    const port = await freePort()
    const launcher = await startLauncher({ command: ['node', fixture(file), String(port)], options: ['-n', '2'] })
    await speak(port)
    const inodes = listeningInodes(port)
    for (let round = 0; round < 2; round++) {
      const verdict = launcher.reload('baked')
      const answers = Promise.all(Array.from({ length: 20 }, () => speak(port)))
      expect(await verdict).toMatchObject({ result: 'done', reason: null })
      expect((await answers).every((answer) => answer !== '')).toBe(true)
    }
    expect(listeningInodes(port)).toEqual(inodes)
    await launcher.stop()
  }
})

function speakHttps(port: number): Promise<string> {
  return new Promise((done, fail) => {
    const call = requestHttps({ host: '127.0.0.1', port, rejectUnauthorized: false, agent: false }, (response) => {
      response.on('data', (data) => done(String(data)))
    })
    call.on('error', fail).end()
  })
}

function speakHttp2(port: number): Promise<string> {
  return new Promise((done, fail) => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
    session.on('error', fail)
    const stream = session.request({ ':path': '/' })
    // One that crossed the GOAWAY is unprocessed, and the client's to repeat (RFC 9113 §8.7).
    stream.on('error', () =>
      stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
        ? done(speakHttp2(port))
        : fail(new Error(`reset: ${stream.rstCode}`)),
    )
    stream.on('data', (data) => {
      done(String(data))
      session.close()
    })
    stream.end()
  })
}

function speakTcp(port: number): Promise<string> {
  return new Promise((done, fail) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('hello\n'))
    socket.on('error', fail)
    socket.on('data', (data) => {
      done(String(data))
      socket.destroy()
    })
  })
}

test("options of a listener change: a backlog is the new version's, and another ipv6Only is another address (F-09)", {
  timeout: 60_000,
}, async () => {
  const [port, directory] = [await freePort(), temporaryDirectory()]
  const deploy = (options: object): void =>
    writeFileSync(
      join(directory, 'app.cjs'),
      `require('http').createServer((_, response) => response.end()).listen(${JSON.stringify({ host: '::', port, ...options })})`,
    )
  const backlog = async (): Promise<number> => {
    const { stdout } = await promisify(execFile)('ss', ['-Htln', `sport = :${port}`])
    return Number(stdout.trim().split(/\s+/)[2])
  }
  deploy({ backlog: 100 })
  const launcher = await startLauncher({
    command: ['node', 'app.cjs'],
    cwd: directory,
    // The last one never listens where it should.
    options: ['--ready-timeout', '10s'],
  })
  expect(await backlog()).toBe(100)
  const before = listeningInodes(port)
  deploy({ backlog: 30 })
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect({ backlog: await backlog(), inodes: listeningInodes(port) }).toEqual({ backlog: 30, inodes: before })
  deploy({ ipv6Only: true })
  const verdict = await launcher.reload()
  expect(verdict).toMatchObject({ result: 'aborted' })
  expect(verdict.reason).toContain(
    `it did not listen on tcp [::]:${port} within 10000 ms (it listens on tcp [::]:${port} ipv6only)`,
  )
  expect({ backlog: await backlog(), inodes: listeningInodes(port) }).toEqual({ backlog: 30, inodes: before })
  await launcher.stop()
})
