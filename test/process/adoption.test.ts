import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients, inHand } from '../support/clients'
import { startLauncher, TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { childrenOf, descriptorsOf, factsOf, isAlive, listeningInodes, signal } from '../support/processes'
import { inject } from '../support/strace'
import { until } from '../support/until'
import { Versions } from '../support/versions'

interface Scene {
  readonly launcher: TestLauncher
  readonly port: number
  readonly versions: Versions
}

async function start(options: readonly string[] = [], workers = 2): Promise<Scene> {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', String(workers), ...options],
    cwd: versions.directory,
  })
  return { launcher, port, versions }
}

const gone = (pids: readonly number[]): Promise<boolean> => until('they have gone', () => !pids.some(isAlive))

test('killed twice in a row under load: the next one has all workers within a second, nobody notices anything, and it reloads (B-01, B-02)', async () => {
  const { launcher, port, versions } = await start(['--bake', '200ms'])
  const [pids, inodes] = [await launcher.pids(), listeningInodes(port)]
  const clients = new Clients(port)
  await clients.more(50)
  let current = launcher
  for (let round = 0; round < 2; round++) {
    await current.die()
    await clients.more(100)
    current = await current.next()
    expect(await current.status()).toMatchObject({ state: 'serving', working: 1, term: 1 })
    expect(await current.pids()).toEqual(pids)
    const { ms } = await current.event('adoption.collected')
    expect(ms).toBeLessThan(2_000)
    expect(
      current.events
        .filter(({ msg }) => msg === 'worker.adopted')
        .map(({ workerPid }) => workerPid)
        .sort(),
    ).toEqual([...pids].sort())
    await clients.more(100)
  }
  expect(listeningInodes(port)).toEqual(inodes)
  versions.deploy('two')
  expect(await current.reload()).toMatchObject({ result: 'done', from: 1, to: 2 })
  expect(await ask(port, '/version')).toBe('two')
  expect(listeningInodes(port)).toEqual(inodes)
  expect((await clients.stop()).failures).toEqual([])
  // One line of each about each loss, and no more.
  expect(launcher.errors.filter((line) => line.includes('the launcher is gone'))).toHaveLength(2)
  await gone(pids)
})

test('another command line and another number: taken over as they are, said so, and applied by the next reload (B-02)', async () => {
  const { launcher, port, versions } = await start()
  const pids = await launcher.pids()
  await launcher.die()
  const next = await launcher.next({ command: [...versions.command(port), 'another'], options: ['-n', '3'] })
  const { text } = await next.event('adoption.not-applied')
  expect(text).toContain(versions.command(port).join(' '))
  const { slots, warnings } = await next.when(
    'a third one serves',
    ({ state, slots: all }) => state === 'serving' && all.length === 3,
  )
  expect(slots.slice(0, 2).map(({ worker }) => worker?.pid)).toEqual(pids)
  expect(warnings).toContainEqual({ code: 'not-applied', text })
  expect(JSON.parse(await ask(port, '/argv'))).not.toContain('another')
  expect(await next.reload()).toMatchObject({ result: 'done' })
  expect(JSON.parse(await ask(port, '/argv'))).toContain('another')
  expect((await next.status()).warnings.map(({ code }) => code)).not.toContain('not-applied')
})

test.each([
  ['boots', [], 'never-listens', 'start'],
  ['is probed', ['--health', '/healthz', '--health-timeout', '60s'], 'unwell hang', 'probe'],
] as const)(
  'killed while a new version %s: that one is ended, the old one goes on (B-04)',
  async (_, options, version, step) => {
    const { launcher, port, versions } = await start(options)
    const pids = await launcher.pids()
    const clients = new Clients(port)
    versions.deploy(version)
    const verdict = launcher.reload().catch(String)
    const { reload } = await launcher.when(
      'the new ones are there',
      (status) => status.reload?.step === step && status.reload.slots.every(({ newPid }) => newPid !== null),
    )
    const candidates = reload?.slots.map(({ newPid }) => newPid as number) ?? []
    await clients.more(20)
    await launcher.die()
    expect(await verdict).toContain('did not answer')
    const next = await launcher.next()
    await gone(candidates)
    expect(await next.status()).toMatchObject({ state: 'serving', working: 1 })
    expect(await next.pids()).toEqual(pids)
    versions.deploy('three')
    expect(await next.reload()).toMatchObject({ result: 'done' })
    expect((await clients.stop()).failures).toEqual([])
    expect(await ask(port, '/version')).toBe('three')
  },
)

test('killed before its first workers are ready: the next one ends them, and begins anew (B-03)', async () => {
  const [port, versions] = [await freePort(), new Versions('never-listens')]
  const launcher = new TestLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  await launcher.event('worker.spawned', ({ slot }) => slot === 1)
  const half = childrenOf(launcher.pid).map(({ pid }) => pid)
  expect(half).toHaveLength(2)
  await until('both wait', () => launcher.errors.filter((line) => line.includes('it only waits')).length === 2)
  await launcher.die()
  versions.deploy('one')
  const next = await launcher.beside()
  await gone(half)
  expect(await next.pids()).toHaveLength(2)
  expect(await ask(port, '/version')).toBe('one')
  await next.stop()
})

test('killed after its notes could not be written for a while: all of its workers are known all the same (G-07)', async () => {
  const { launcher, port, versions } = await start()
  const full = await inject(launcher.pid, 'rename:error=ENOSPC:when=1+')
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(await launcher.event('notes.failed')).toMatchObject({ reason: expect.stringContaining('ENOSPC') })
  // What was there is whole.
  const notes = join(launcher.directory, 'notes')
  const { ino } = statSync(notes)
  expect(JSON.parse(readFileSync(notes, 'utf8'))).toMatchObject({ asked: 2 })
  await full.end()
  await until('they are written', () => statSync(notes).ino !== ino)
  expect(launcher.events.filter(({ msg }) => msg === 'notes.failed')).toHaveLength(1)
  const pids = await launcher.pids()
  await launcher.die()
  const next = await launcher.next()
  expect(await next.pids()).toEqual(pids)
  expect(await ask(port, '/version')).toBe('two')
})

test('killed in the bake: it bakes once more, and the old ones go then (B-05)', async () => {
  const { launcher, port, versions } = await start(['--bake', '60s'])
  const old = await launcher.pids()
  const clients = new Clients(port)
  versions.deploy('two')
  await launcher.reload('admitted')
  const pids = await launcher.pids()
  await clients.more(20)
  await launcher.die()
  await clients.more(20)
  const next = await launcher.next({ options: ['-n', '2', '--bake', '3s'] })
  await next.event('reload.baking', ({ ms }) => ms === 3_000)
  expect(await next.status()).toMatchObject({ working: 2, term: 2 })
  expect(old.every(isAlive)).toBe(true)
  await next.event('reload.retired')
  await gone(old)
  expect(await next.pids()).toEqual(pids)
  expect((await clients.stop()).failures).toEqual([])
  expect((await next.status()).lastReload).toMatchObject({ result: 'done', from: 1, to: 2 })
})

test('killed in the bake, and a new worker dies after it: undone to the old ones', async () => {
  const { launcher, port, versions } = await start(['--bake', '60s'])
  const old = await launcher.pids()
  versions.deploy('two')
  await launcher.reload('admitted')
  const [victim] = await launcher.pids()
  await launcher.die()
  const next = await launcher.next()
  await next.when('it bakes', ({ state }) => state === 'baking')
  process.kill(victim as number, 'SIGKILL')
  await next.event('reload.undone')
  await next.when('they serve', ({ state }) => state === 'serving')
  expect(await next.pids()).toEqual(old)
  expect(await ask(port, '/version')).toBe('one')
  expect(await next.status()).toMatchObject({ working: 1, term: 3 })
})

test('killed while old workers drain: what they have in hand is finished (B-05)', async () => {
  const { launcher, port, versions } = await start([], 1)
  const slow = await inHand(port, 8_000)
  versions.deploy('two')
  await launcher.reload('baked')
  await launcher.when('it drains', ({ leaving }) => leaving.length === 1)
  const [pid] = await launcher.pids()
  await launcher.die()
  const next = await launcher.next()
  expect(await next.status()).toMatchObject({ working: 2, leaving: [{ pid: slow.pid, state: 'draining' }] })
  expect(await next.pids()).toEqual([pid])
  expect(await slow.answer).toMatch(/end$/)
  await gone([slow.pid])
})

test('killed while another worker is being added: it is added after all', async () => {
  const { launcher, port, versions } = await start()
  const pids = await launcher.pids()
  versions.deploy('never-listens')
  const scaled = (await launcher.control()).scale({ to: 3 }).catch(String)
  await launcher.event('worker.spawned', ({ slot }) => slot === 2)
  await launcher.die()
  expect(await scaled).toContain('did not answer')
  versions.deploy('one')
  const next = await launcher.next()
  await next.when(
    'three serve',
    ({ state, slots, scale }) => state === 'serving' && slots.length === 3 && scale === null,
  )
  expect((await next.pids()).slice(0, 2)).toEqual(pids)
  expect(listeningInodes(port)).toHaveLength(3)
})

test('killed together with a worker: its slot is started again, and its queue was not lost (B-06)', async () => {
  const { launcher, port } = await start()
  const [survivor, victim] = (await launcher.pids()) as [number, number]
  process.kill(victim, 'SIGSTOP')
  await until('it is stopped', () => factsOf(victim)?.state === 'T')
  let answered = 0
  const clients = Array.from({ length: 64 }, async () => {
    const pid = await ask(port).catch(String)
    answered += 1
    return pid
  })
  await launcher.when('the rest waits for it', ({ listeners: [one] }) => {
    const waiting = one?.sockets[1]?.queue ?? 0
    return waiting > 0 && waiting + answered === 64
  })
  const inodes = listeningInodes(port)
  process.kill(victim, 'SIGKILL')
  await launcher.die()
  await gone([victim])
  const next = await launcher.next()
  expect(new Set((await Promise.all(clients)).map((pid) => /^\d+$/.test(pid)))).toEqual(new Set([true]))
  await next.when('both slots serve', ({ state }) => state === 'serving')
  expect((await next.pids())[0]).toBe(survivor)
  expect(listeningInodes(port)).toEqual(inodes)
})

test('one that stands still meanwhile is named, its slot is started again, and it leaves when it turns again', async () => {
  const { launcher, port } = await start()
  const [still, other] = (await launcher.pids()) as [number, number]
  await launcher.die()
  process.kill(still, 'SIGSTOP')
  const next = await launcher.next()
  expect(await next.event('adoption.missing')).toMatchObject({ workerPids: [String(still)] })
  await next.when('both slots serve', ({ state }) => state === 'serving')
  const pids = await next.pids()
  expect(pids[0]).not.toBe(still)
  expect(pids[1]).toBe(other)
  const clients = new Clients(port)
  await clients.more(20)
  process.kill(still, 'SIGCONT')
  await next.event('worker.late', ({ workerPid }) => workerPid === still)
  await gone([still])
  await clients.more(20)
  expect((await clients.stop()).failures).toEqual([])
})

test('who has a copy of a socket, and is no worker, is not waited for (J-04)', async () => {
  const port = await freePort()
  const script = `let child
    const server = require('http').createServer((_, response) => response.end(String(child.pid))).listen(${port}, () => {
      child = require('child_process').spawn('sleep', ['60'], { stdio: [0, 1, 2, server._handle.fd] })
    })`
  const launcher = await startLauncher({ command: ['node', '-e', script] })
  const [inode] = listeningInodes(port)
  const [pid] = (await launcher.pids()) as [number]
  const child = Number(await ask(port))
  await launcher.die()
  const next = await launcher.next()
  expect([...descriptorsOf(child).values()]).toContain(`socket:[${inode}]`)
  expect(next.events.map(({ msg }) => msg)).not.toContain('adoption.missing')
  expect(await next.pids()).toEqual([pid])
  expect([...descriptorsOf(next.pid).values()]).toContain(`socket:[${inode}]`)
  signal(child, 'SIGKILL')
})
