import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { type LogEvent, startLauncher } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { childrenOf, isAlive, listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/** A failure that a killed worker explains: it had this connection in hand. */
const inHand = (failure: string): boolean => /ECONNRESET|socket hang up/.test(failure)

test('the sibling adopts the socket of a killed worker until the respawn takes it back (N-17)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  const inodes = listeningInodes(port)
  const [first, second] = (await launcher.pids()) as [number, number]
  // The respawn cannot listen yet: the time in between is under test.
  versions.deploy('never-listens')
  process.kill(first, 'SIGKILL')
  const { slots } = await launcher.when(
    'slot 0 is adopted',
    ({ slots: [slot] }) => slot?.adoptedBy === 1 && slot.worker !== null,
  )
  expect(slots[0]?.worker?.state).toMatch(/spawned|claimed/)

  // Half of these go to the dead worker's socket.
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(port)))
  expect(new Set(answers)).toEqual(new Set([String(second)]))

  versions.deploy('one')
  process.kill((await launcher.status()).slots[0]?.worker?.pid as number, 'SIGKILL')
  const after = await launcher.when('slot 0 serves', (status) => status.slots[0]?.worker?.state === 'serving')
  expect(after.slots[0]?.adoptedBy).toBe(null)
  const third = after.slots[0]?.worker?.pid as number
  await until('both answer', async () => {
    const seen = new Set(await Promise.all(Array.from({ length: 20 }, () => ask(port))))
    return seen.has(String(second)) && seen.has(String(third))
  })
  expect(listeningInodes(port)).toEqual(inodes)
  expect(await launcher.status()).toMatchObject({ state: 'serving', working: 1 })
  await launcher.stop()
})

test('workers are killed one after the other under load: only what each had in hand is lost (A-08)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  const clients = new Clients(port, 2)
  for (let round = 0; round < 4; round++) {
    await clients.more(40).catch((error) => {
      if (clients.failures.length === 0) throw error
    })
    const [pid] = (await launcher.pids()) as [number]
    process.kill(pid, 'SIGKILL')
    await launcher.when('it is whole again', ({ slots, state }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
  }
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !inHand(failure))).toEqual([])
  // Four connections are open at any time, so that is what one worker can have in hand.
  expect(failures.length).toBeLessThanOrEqual(4 * 4)
  await launcher.stop()
})

test('with one worker the queue waits for the respawn (A-08)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const [pid] = (await launcher.pids()) as [number]
  // What connects while it is stopped lies in the accept queue.
  process.kill(pid, 'SIGSTOP')
  const waiting = Promise.all(Array.from({ length: 20 }, () => ask(port)))
  waiting.catch(() => {})
  await launcher.when('twenty wait', ({ listeners }) => listeners[0]?.sockets[0]?.queue === 20)
  process.kill(pid, 'SIGKILL')
  await launcher.when('the respawn serves', ({ state, slots }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
  const [next] = (await launcher.pids()) as [number]
  expect(new Set(await waiting)).toEqual(new Set([String(next)]))
  await launcher.stop()
})

test('a queue that is full is shown; who was not let in comes in when there is room (N-11)', async () => {
  const port = await freePort()
  const script = `require('http').createServer((_, response) => response.end('here')).listen({ port: ${port}, backlog: 4 })`
  const launcher = await startLauncher({ command: ['node', '-e', script] })
  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGSTOP')
  // The kernel takes one more than was asked for, and drops the first packets of the others: they try again (tcp(7)).
  const answers = Promise.all(Array.from({ length: 12 }, () => ask(port)))
  answers.catch(() => {})
  await launcher.when('it is full', ({ listeners: [one] }) => one?.sockets[0]?.queue === 5)
  expect((await launcher.status()).listeners[0]).toMatchObject({ backlog: 4 })
  process.kill(pid, 'SIGCONT')
  expect(await answers).toEqual(Array(12).fill('here'))
  expect(await launcher.pids()).toEqual([pid])
  await launcher.stop()
})

test('a crash loop is answered with growing pauses, and the sibling serves all (A-24, S-17)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  const clients = new Clients(port)
  versions.deploy('exits-at-load 3')
  const [first] = (await launcher.pids()) as [number, number]
  process.kill(first, 'SIGKILL')
  const pauses: LogEvent[] = []
  for (const ms of [1000, 2000]) pauses.push(await launcher.event('slot.paused', (event) => event['ms'] === ms))
  expect(pauses.map(({ slot }) => slot)).toEqual([0, 0])
  const spawned = launcher.events.filter(({ msg, slot }) => msg === 'worker.spawned' && slot === 0)
  // The first one, five at once, one after each pause that is over.
  expect(spawned).toHaveLength(7)
  expect((await launcher.status()).state).toBe('degraded')

  versions.deploy('two')
  await launcher.when('it has recovered', ({ state }) => state === 'serving')
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !inHand(failure))).toEqual([])
  await launcher.stop()
}, 60_000)

test('a reload ends a crash loop at once', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  versions.deploy('exits-at-load 3')
  process.kill((await launcher.pids())[0] as number, 'SIGKILL')
  await launcher.event('slot.paused')
  versions.deploy('two')
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done' })
  expect((await launcher.status()).state).toBe('serving')
  // The new version starts without the old one's record, and without waiting for the old one's pause.
  const [pid] = (await launcher.pids()) as [number]
  process.kill(pid, 'SIGKILL')
  const exited = await launcher.event('worker.exited', ({ workerPid }) => workerPid === pid)
  await launcher.when('it is back', ({ state, slots }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
  const respawned = launcher.events.slice(launcher.events.indexOf(exited)).find(({ msg }) => msg === 'worker.spawned')
  expect((respawned?.['time'] as number) - (exited['time'] as number)).toBeLessThan(1_000)
  expect(launcher.events.filter(({ msg }) => msg === 'slot.paused')).toHaveLength(1)
  await launcher.stop()
}, 60_000)

test('an exit of a serving worker is no success either (A-19)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const [pid] = (await launcher.pids()) as [number]
  await ask(port, '/exit?code=0').catch(() => {})
  const exited = await launcher.event('worker.exited')
  expect(exited).toMatchObject({ workerPid: pid, code: 0, level: 50 })
  await launcher.when('the respawn serves', ({ state, slots }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
  await launcher.stop()
})

test.each(['/throw', '/reject'])('a bug that nobody catches (%s): said, and another comes (A-10)', async (path) => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  const pids = await launcher.pids()
  await expect(ask(port, path)).rejects.toThrow(/ECONNRESET|socket hang up/)
  const { workerPid, ...exited } = await launcher.event('worker.exited')
  expect(exited).toMatchObject({ code: 1, signal: null, level: 50 })
  // Its stderr is the launcher's by then.
  expect(launcher.errors.filter((line) => line.startsWith('Error: a bug of this version'))).toHaveLength(1)
  const { slots } = await launcher.when('two serve', ({ state }) => state === 'serving')
  const now = slots.map(({ worker }) => worker?.pid)
  expect(now).not.toContain(workerPid)
  expect(pids.filter((pid) => now.includes(pid))).toHaveLength(1)
  await launcher.stop()
})

for (const [name, command] of [
  ['sh -c', (script: string) => ['sh', '-c', `${script}; exit $?`]],
  ['npm start', () => ['npm', 'start', '--silent']],
] as const) {
  test(`a worker behind ${name} is killed: its wrapper goes too, and another comes (A-22)`, async () => {
    const port = await freePort()
    const versions = new Versions()
    const script = `${TEST_NODE} ${fixture('servers/versioned.cjs')} ${port}`
    writeFileSync(`${versions.directory}/package.json`, JSON.stringify({ name: 'p', scripts: { start: script } }))
    const launcher = await startLauncher({
      command: command(script),
      options: ['-n', '2'],
      cwd: versions.directory,
    })
    const [pid] = (await launcher.pids()) as [number]
    const wrapper = launcher.events.find(({ msg, slot }) => msg === 'worker.spawned' && slot === 0)?.workerPid as number
    expect(wrapper).not.toBe(pid)
    expect(await ask(port)).toMatch(/^\d+$/)

    process.kill(pid, 'SIGKILL')
    await launcher.when('another serves', ({ state, slots }) => state === 'serving' && slots[0]?.worker?.pid !== pid)
    expect(isAlive(wrapper)).toBe(false)
    expect(await launcher.reload()).toMatchObject({ result: 'done' })
    expect(childrenOf(launcher.pid).filter(({ state }) => state === 'Z')).toEqual([])
    await launcher.stop()
  })
}

test('a warm spare takes the slot of a killed worker, of the only one too', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '1', '--standby', '1'],
    cwd: versions.directory,
  })
  const { standby } = await launcher.when('the spare is ready', (status) => status.standby[0]?.isReady === true)
  const [pid] = (await launcher.pids()) as [number]
  expect((await launcher.run('status')).stdout).toContain(`standby: pid ${standby[0]?.pid}, generation 1, ready`)
  // Whatever is started now never serves: only the spare can.
  versions.deploy('never-listens')
  process.kill(pid, 'SIGKILL')
  expect(await ask(port)).toBe(String(standby[0]?.pid))
  expect(await launcher.event('standby.used')).toMatchObject({ slot: 0, workerPid: standby[0]?.pid })
  expect(await launcher.pids()).toEqual([standby[0]?.pid])
  await launcher.when('the next one is started', (status) => status.standby[0]?.isReady === false)
  await launcher.stop()
})

test('a warm spare takes any slot, with its socket', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '3', '--standby', '1'],
    cwd: versions.directory,
  })
  const { standby } = await launcher.when('the spare is ready', (status) => status.standby[0]?.isReady === true)
  const pids = await launcher.pids()
  const inodes = listeningInodes(port)
  const clients = new Clients(port, 2)
  await clients.more(30)
  process.kill(pids[2] as number, 'SIGKILL')
  await launcher.when('it serves', ({ slots }) => slots[2]?.worker?.pid === standby[0]?.pid)
  await until('it answers', async () => (await ask(port)) === String(standby[0]?.pid))
  await clients.more(100).catch((error) => {
    if (clients.failures.length === 0) throw error
  })
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !inHand(failure))).toEqual([])
  expect(failures.length).toBeLessThanOrEqual(clients.size)
  expect(listeningInodes(port)).toEqual(inodes)
  versions.deploy('two')
  expect(await launcher.reload('retired')).toMatchObject({ result: 'done', draining: 0 })
  await launcher.when('the spare is of the new version', (status) => status.standby[0]?.generation === 2)
  await launcher.stop()
})
