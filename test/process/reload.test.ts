import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import type { Status, Verdict } from '../../src/control-protocol'
import { ask, Clients, type InHand, inHand } from '../support/clients'
import { runCli, startLauncher, type TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive, type ListeningSocket, listeningInodes, listeningSockets } from '../support/processes'
import { inject } from '../support/strace'
import { until } from '../support/until'
import { Versions } from '../support/versions'

async function start(options: { workers?: number; version?: string; more?: string[] } = {}): Promise<{
  launcher: TestLauncher
  port: number
  versions: Versions
}> {
  const port = await freePort()
  const versions = new Versions(options.version)
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', String(options.workers ?? 2), ...(options.more ?? [])],
    cwd: versions.directory,
  })
  return { launcher, port, versions }
}

test.each([1, 2])('%i workers: HUP and the verb replace every one while no client notices (D-20)', async (workers) => {
  const { launcher, port, versions } = await start({ workers })
  const clients = new Clients(port)
  await clients.more(50)
  const first = await launcher.pids()

  versions.deploy('two')
  launcher.kill('SIGHUP')
  await launcher.event('reload.retired')
  const second = await launcher.pids()
  expect(second.filter((pid) => first.includes(pid))).toEqual([])
  expect(first.filter(isAlive)).toEqual([])
  expect(await ask(port, '/version')).toBe('two')

  versions.deploy('three')
  const { code, stdout } = await launcher.run('reload')
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('generation 3 serves') })
  expect(await ask(port, '/version')).toBe('three')
  await clients.more(50)

  const { failures, count } = await clients.stop()
  expect(failures).toEqual([])
  expect(count).toBeGreaterThan(100)
  await launcher.stop()
})

test('ten reloads keep the sockets: N of them, the same inodes, held by launcher and workers', async () => {
  const { launcher, port } = await start()
  const inodes = listeningInodes(port)
  expect(inodes).toHaveLength(2)
  // The launcher's own copy, and in each worker its own slot's or a spare one.
  const holders = async (): Promise<number[]> => [launcher.pid, ...(await launcher.pids())].sort((a, b) => a - b)
  const whole = async (): Promise<ListeningSocket[]> => {
    const pids = await holders()
    return inodes.map((inode) => ({ inode, holders: pids }))
  }
  const first = await whole()
  await until('each worker has its spare copy', async () => isDeepStrictEqual(await listeningSockets(port), first))

  const all = new Set(await holders())
  const looks: ListeningSocket[][] = []
  for (let round = 0; round < 10; round++) {
    let isReloading = true
    const verdict = launcher.reload('baked').finally(() => {
      isReloading = false
    })
    while (isReloading) looks.push(await listeningSockets(port))
    expect(await verdict).toMatchObject({ result: 'done', reason: null })
    for (const pid of await holders()) all.add(pid)
  }

  expect(all.size).toBe(1 + 2 + 10 * 2)
  for (const sockets of looks) {
    expect(sockets.map(({ inode }) => inode)).toEqual(inodes)
    for (const socket of sockets) {
      expect(socket.holders).toContain(launcher.pid)
      expect(socket.holders.length).toBeGreaterThan(1)
      expect(socket.holders.filter((pid) => !all.has(pid))).toEqual([])
    }
  }

  await launcher.event('reload.retired', ({ id }) => id === 10)
  expect(await listeningSockets(port)).toEqual(await whole())
  const status = await launcher.status()
  expect(status.listeners.flatMap(({ sockets }) => sockets.map(({ inode }) => inode)).sort((a, b) => a - b)).toEqual(
    inodes,
  )
  await launcher.stop()
  expect(await listeningSockets(port)).toEqual([])
})

test('the verdict names every worker, its times and the way it went', async () => {
  const { launcher } = await start()
  const old = await launcher.pids()
  const { code, stdout } = await launcher.run('reload', '--json', '--wait=retired')
  expect(code).toBe(0)
  const verdict = JSON.parse(stdout) as Verdict
  const next = await launcher.pids()
  const time = expect.any(Number)
  expect(verdict).toEqual({
    id: 1,
    canary: null,
    result: 'done',
    step: 'retire',
    reason: null,
    stderr: [],
    changes: [],
    from: 1,
    to: 2,
    undo: null,
    notes: [],
    workers: [0, 1].map((slot) => ({
      slot,
      oldPid: old[slot],
      newPid: next[slot],
      ms: { spawned: time, claimed: time, ready: time, admitted: time, paused: time, drained: time, exited: time },
      kept: 0,
      answered: null,
      warmup: null,
      moved: 0,
      closed: 0,
      cut: 0,
      kinds: {},
      requests: [],
      moreRequests: 0,
    })),
    draining: 0,
    kernel: { shared: true, OutRsts: time, ListenDrops: time, ListenOverflows: time },
  })
  for (const { ms } of verdict.workers) {
    const { spawned, claimed, ready, admitted, paused, drained, exited } = ms as Record<string, number>
    const order = [spawned, claimed, ready, admitted, paused, drained, exited]
    expect(order).toEqual([...order].sort((a, b) => (a as number) - (b as number)))
  }
  expect((await launcher.status()).lastReload).toEqual(verdict)
  await launcher.stop()
})

test('a hundred HUPs within a second and a hundred callers: two runs cover them all, and no client notices (D-09)', async () => {
  const [port, versions] = [await freePort(), new Versions('one')]
  writeFileSync(join(versions.directory, 'ready-one'), '')
  const launcher = await startLauncher({
    command: ['node', fixture('servers/patient.cjs'), String(port), 'message'],
    options: ['-n', '2', '--ready', 'message', '--bake', '300ms'],
    cwd: versions.directory,
  })
  const clients = new Clients(port)
  let most = 0
  const look = (what: string, fits: (status: Status) => boolean): Promise<Status> =>
    launcher.when(what, (status) => {
      most = Math.max(most, status.generations.length)
      return fits(status)
    })

  // The first run has read what lies there when the rest ask, and does not end before all of them have.
  versions.deploy('two')
  launcher.kill('SIGHUP')
  await look('both candidates listen', ({ reload }) => reload?.slots.every(({ phase }) => phase === 'claimed') ?? false)
  versions.deploy('three')
  writeFileSync(join(versions.directory, 'ready-three'), '')
  const commands = Array.from({ length: 4 }, () => launcher.run('reload', '--json'))
  const control = await launcher.control()
  const calls: Promise<Verdict>[] = []
  const began = performance.now()
  for (let n = 1; n < 100; n++) {
    launcher.kill('SIGHUP')
    if (n <= 96) calls.push(control.reload())
    await new Promise((done) => setTimeout(done, began + n * 10 - performance.now()))
  }
  // Of signals that come while one of them is not looked at yet the kernel keeps one: those that have arrived are in the log.
  const signals = (): number => launcher.events.filter(({ msg }) => msg === 'signal').length
  await look('all have asked', ({ reload }) => reload?.waiting === signals() - 1 + 100)
  expect(signals()).toBeGreaterThan(1)
  writeFileSync(join(versions.directory, 'ready-two'), '')

  const verdicts = await Promise.all(calls)
  for (const { code, stdout } of await Promise.all(commands)) {
    expect(code).toBe(0)
    verdicts.push(JSON.parse(stdout) as Verdict)
  }
  // Nobody who asked after the first run had begun is told how that one ended.
  expect(verdicts.map(({ id, result, to }) => `${id} ${result} ${to}`)).toEqual(Array(100).fill('2 done 3'))
  expect(await ask(port, '/version')).toBe('three')
  await look('it is worked off', ({ state, generations }) => state === 'serving' && generations.length === 1)
  expect(launcher.events.filter(({ msg }) => msg === 'reload.started').map(({ id }) => id)).toEqual([1, 2])
  expect(most).toBeLessThanOrEqual(3)
  const { failures, count } = await clients.stop()
  expect(failures).toEqual([])
  expect(count).toBeGreaterThan(100)
  await launcher.stop()
})

test.each([1, 3, 6])('message %i that the kernel has no memory for is sent a moment later (G-06)', async (when) => {
  const { launcher, port } = await start()
  const clients = new Clients(port)
  const strace = await inject(launcher.pid, `sendmsg:error=ENOBUFS:when=${when}`)
  expect(await launcher.reload()).toMatchObject({ result: 'done', notes: [] })
  await strace.end()
  await clients.more(50)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('clients that reset their connections all the time disturb nobody (N-13)', async () => {
  const { launcher, port } = await start()
  const clients = new Clients(port)
  let isOver = false
  let resets = 0
  const storm = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      await once(socket, 'connect')
      // Half of them in the middle of a request.
      if (resets % 2 === 0) socket.write('GET / HTTP/1.1\r\nHost:')
      socket.resetAndDestroy()
      resets += 1
    }
  })
  for (const id of [1, 2, 3]) expect(await launcher.reload()).toMatchObject({ id, result: 'done' })
  await until('there were many', () => resets > 500)
  isOver = true
  await Promise.all(storm)
  await clients.more(20)
  expect((await clients.stop()).failures).toEqual([])
  expect(launcher.events.filter(({ level }) => level > 30)).toEqual([])
  await launcher.stop()
})

test('--no-wait returns when the reload is queued', async () => {
  const { launcher, versions } = await start({ version: 'one' })
  versions.deploy('two')
  const { code, stdout } = await launcher.run('reload', '--no-wait')
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'reload queued\n' })
  await launcher.event('reload.done')
  expect((await launcher.run('reload', '--no-wait', '--json')).stdout).toBe('{"queued":true}\n')
  await launcher.event('reload.done', ({ id }) => id === 2)
  await launcher.stop()
})

test('--wait=retired waits for the last old worker; the default does not', async () => {
  const { launcher, port } = await start({ workers: 1 })
  const first = await inHand(port, 1500)
  const baked = JSON.parse((await launcher.run('reload', '--json')).stdout) as Verdict
  expect(baked).toMatchObject({ result: 'done', draining: 1 })
  expect(isAlive(first.pid)).toBe(true)
  expect(await first.answer).toMatch(/end$/)

  const second = await inHand(port, 1500)
  const { code, stdout } = await launcher.run('reload', '--wait=retired')
  expect(code).toBe(0)
  expect(stdout).toContain('0 moved, 1 closed (1 http), 0 cut')
  expect(isAlive(second.pid)).toBe(false)
  expect(await second.answer).toMatch(/end$/)
  await launcher.stop()
})

test('--timeout gives up with exit 5, at once, and the launcher goes on', async () => {
  const { launcher, versions } = await start({ workers: 1, more: ['--ready-timeout', '20s'] })
  versions.deploy('never-listens')
  // Its own start is part of its time: on a slow machine that may be over before it has asked for anything.
  for (let ms = 300; !launcher.events.some(({ msg }) => msg === 'reload.started'); ms *= 2) {
    const began = Date.now()
    const { code, stderr } = await launcher.run('reload', '--timeout', `${ms}ms`)
    expect({ code, stderr }).toEqual({ code: 5, stderr: expect.stringContaining('ERR_TIMED_OUT') })
    expect(Date.now() - began).toBeLessThan(10_000)
  }
  expect((await launcher.status()).state).toBe('reloading')
  await launcher.stop()
})

test('--timeout holds against a launcher that is stopped', async () => {
  const { launcher } = await start({ workers: 1 })
  launcher.kill('SIGSTOP')
  const reload = await launcher.run('reload', '--timeout', '300ms')
  // It does not wait for ever for what takes milliseconds.
  const status = await launcher.run('status')
  launcher.kill('SIGCONT')
  expect(reload).toMatchObject({ code: 5, stderr: expect.stringContaining('no reload was ordered') })
  expect(status).toMatchObject({ code: 5, stdout: '', stderr: expect.stringContaining('ERR_TIMED_OUT') })
  await launcher.stop()
})

test('a reload whose client is killed half-way goes on; status has the verdict (D-21)', async () => {
  const { launcher, versions } = await start()
  versions.deploy('two')
  await launcher.run('status')
  const words = ['reload', '--runtime-dir', launcher.runtimeDir, '--name', launcher.name]
  const killed = runCli(words, {
    started: (child) => void launcher.event('reload.started').then(() => child.kill('SIGKILL')),
  })
  expect((await killed).signal).toBe('SIGKILL')
  await launcher.event('reload.retired')
  expect((await launcher.status()).lastReload).toMatchObject({ id: 1, result: 'done' })
  await launcher.stop()
})

test('a reload in the middle of a drain cuts the oldest generation when it is the fourth (D-19, N-18)', async () => {
  const { launcher, port } = await start({ workers: 1 })
  const slow: InHand[] = []
  for (let round = 0; round < 2; round++) {
    slow.push(await inHand(port, 60_000))
    expect(await launcher.reload('baked')).toMatchObject({ result: 'done', reason: null })
  }
  expect((await launcher.status()).generations).toHaveLength(3)
  // The third has something in hand too, else it has gone before anybody looks.
  await inHand(port, 60_000)
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done', reason: null })
  await launcher.event('generation.cut', ({ generation }) => generation === 1)
  expect(await slow[0]?.answer).toBe('ECONNRESET')
  // The third has nothing in hand and may have gone too; the second drains on.
  const { generations } = await launcher.when('the first is gone', (status) =>
    status.generations.every(({ number }) => number !== 1),
  )
  expect(generations.map(({ number }) => number)).toEqual(expect.arrayContaining([2, 4]))
  launcher.kill('SIGQUIT')
  launcher.expectExit(131)
  await launcher.leavesNothing()
})
