import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { bothAnswer, expectUndone, type Scene, wasInHand } from '../support/bad-version'
import { ask, Clients } from '../support/clients'
import { MAIN, startLauncher } from '../support/launcher'
import { TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { Versions } from '../support/versions'

async function start(options: readonly string[] = [], workers = 2): Promise<Scene> {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', String(workers), '--bake', '20s', ...options],
    cwd: versions.directory,
  })
  return { launcher, port, versions }
}

const baking = ({ launcher }: Scene): Promise<unknown> =>
  launcher.when('it bakes', ({ state, reload }) => state === 'baking' && reload?.step === 'bake')

test('a version that exits after 3 s, in the bake of 5 s that is the default (A-07, D-02)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    bake: null,
    cwd: versions.directory,
  })
  versions.deploy('exits-in 3000')
  await expectUndone(
    { launcher, port, versions },
    { reason: expect.stringMatching(/^the worker of slot \d \(pid \d+\) exited with code 7$/) },
    // Both workers of it exit: each client had one connection at most to them.
    (clients) => ({ lost: clients.size, ms: 50 }),
  )
  expect(launcher.events).toContainEqual(expect.objectContaining({ msg: 'reload.baking', id: 1, ms: 5_000 }))
})

test('a new worker is killed at any moment of the bake: only what it had in hand is lost (A-07)', async () => {
  const { launcher, port, versions } = await start()
  const old = await launcher.pids()
  const clients = new Clients(port, 4)
  for (let round = 0; round < 10; round++) {
    versions.deploy(`two-${round}`)
    const verdict = launcher.reload('baked')
    await launcher.event('reload.baking', ({ id }) => id === round + 1)
    // So many answers into the bake: another moment each time.
    await clients.more(round * 7).catch((error) => {
      if (clients.failures.length === 0) throw error
    })
    const { reload } = await launcher.status()
    process.kill(reload?.slots[round % 2]?.newPid as number, 'SIGKILL')
    expect(await verdict).toMatchObject({
      result: 'undone',
      reason: expect.stringMatching(/was ended by SIGKILL/),
      undo: { ms: expect.any(Number) },
    })
    await launcher.when('the new ones have gone', ({ generations }) => generations.length === 1)
    expect(await launcher.pids()).toEqual(old)
  }
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !wasInHand(failure))).toEqual([])
  expect(failures.length).toBeLessThanOrEqual(10 * 8)
  await launcher.stop()
})

test('too many 5xx answers undo a bake, and nothing is lost', async () => {
  const { launcher, port, versions } = await start(['--bake-max-5xx', '1%'])
  const old = await launcher.pids()
  const clients = new Clients(port)
  versions.deploy('errs')
  const verdict = await launcher.reload('baked')
  expect(verdict).toMatchObject({
    result: 'undone',
    step: 'bake',
    reason: expect.stringMatching(/^\d+ of \d+ answers were errors \(5xx\); at most 1 % may be$/),
  })
  const counted = verdict.workers.flatMap(({ answered }) => answered ?? [])
  expect(counted.length).toBeGreaterThan(0)
  for (const { responses, errors } of counted) expect(errors).toBe(responses)
  expect(await launcher.pids()).toEqual(old)

  // What is asked of the old one again is not counted: nothing per request but in a bake.
  versions.deploy('good')
  const good = launcher.reload('baked')
  await launcher.event('reload.baking', ({ id }) => id === 2)
  await clients.more(50)
  expect((await launcher.status()).state).toBe('baking')
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
  expect(await good).toMatchObject({ result: 'stopped' })
})

test('an event loop that stands still in the bake undoes it (A-13)', async () => {
  const { launcher, port, versions } = await start(['--drain-timeout', '1s', '--kill-after', '500ms'])
  const old = await launcher.pids()
  versions.deploy('spins-in 500')
  expect(await launcher.reload('baked')).toMatchObject({
    result: 'undone',
    reason: expect.stringMatching(/its event loop has not turned for \d+ ms/),
  })
  await bothAnswer(port, old)
  await launcher.stop()
})

test('a bake that passes: the old ones are paused until then, and gone after', async () => {
  const scene = await start(['--bake', '1500ms'])
  const { launcher, port, versions } = scene
  const old = await launcher.pids()
  versions.deploy('two')
  const verdict = launcher.reload('retired')
  await baking(scene)
  expect(old.filter(isAlive)).toEqual(old)
  const { generations } = await launcher.status()
  expect(generations.map(({ number, state }) => [number, state])).toEqual([
    [1, 'paused'],
    [2, 'working'],
  ])
  const seen = new Set(await Promise.all(Array.from({ length: 20 }, () => ask(port))))
  expect(old.filter((pid) => seen.has(String(pid)))).toEqual([])
  const done = await verdict
  expect(done).toMatchObject({ result: 'done', undo: null, notes: [] })
  for (const { ms } of done.workers) expect((ms.exited as number) - (ms.paused as number)).toBeGreaterThan(1_400)
  expect(old.filter(isAlive)).toEqual([])
  await launcher.stop()
})

test('a reload that is asked for in the bake waits for it, and each caller hears of its own (D-10)', async () => {
  const scene = await start(['--bake', '1500ms'])
  const { launcher, port, versions } = scene
  versions.deploy('two')
  const first = launcher.reload('baked')
  const admitted = await launcher.event('reload.baking')
  expect(admitted['ms']).toBe(1_500)
  versions.deploy('three')
  const more = [launcher.reload('baked'), launcher.reload('baked')]
  expect(await first).toMatchObject({ id: 1, result: 'done' })
  expect((await Promise.all(more)).map(({ id, result }) => [id, result])).toEqual([
    [2, 'done'],
    [2, 'done'],
  ])
  expect(await ask(port, '/version')).toBe('three')
  await launcher.stop()
})

test('an old worker that dies in the bake is not missed; at the undo its sockets are adopted and its slot started again (D-14)', async () => {
  const scene = await start()
  const { launcher, port, versions } = scene
  const [first, second] = (await launcher.pids()) as [number, number]
  const clients = new Clients(port)
  versions.deploy('two')
  const verdict = launcher.reload('baked')
  await baking(scene)
  process.kill(first, 'SIGKILL')
  await launcher.event('worker.exited', ({ workerPid }) => workerPid === first)
  await clients.more(50)
  expect((await launcher.status()).state).toBe('baking')
  // What is started again is the old version: its directory holds it.
  versions.deploy('one')
  const { reload } = await launcher.status()
  process.kill(reload?.slots[1]?.newPid as number, 'SIGKILL')
  expect(await verdict).toMatchObject({
    result: 'undone',
    notes: [expect.stringMatching(/^slot 0: rolled back by restart/)],
  })
  const { slots } = await launcher.when('it is whole', ({ state }) => state === 'serving')
  expect(slots[1]?.worker?.pid).toBe(second)
  expect(slots.map(({ worker }) => worker?.generation)).toEqual([1, 1])
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !wasInHand(failure))).toEqual([])
  await launcher.stop()
})

test('with no old worker left there is no undo: the new one stays, is started again, and the verdict says so', async () => {
  const scene = await start(['--bake', '3s'])
  const { launcher, port, versions } = scene
  const old = await launcher.pids()
  versions.deploy('two')
  const verdict = launcher.reload('baked')
  await baking(scene)
  for (const pid of old) {
    process.kill(pid, 'SIGKILL')
    await launcher.event('worker.exited', ({ workerPid }) => workerPid === pid)
  }
  const { reload } = await launcher.status()
  process.kill(reload?.slots[0]?.newPid as number, 'SIGKILL')
  expect(await verdict).toMatchObject({
    result: 'done',
    notes: [expect.stringMatching(/^not undone: .* no healthy worker left to go back to$/)],
  })
  await launcher.when('it is whole', ({ state }) => state === 'serving')
  expect(await ask(port, '/version')).toBe('two')
  await launcher.stop()
})

test('rolling: never more than one worker beyond the usual, and a failure of the second slot undoes the first too', async () => {
  const scene = await start(['--strategy', 'rolling', '--bake', '1s', '--ready-timeout', '20s'], 3)
  const { launcher, port, versions } = scene
  const clients = new Clients(port)
  let most = 0
  versions.deploy('two')
  const good = launcher.reload('baked')
  await launcher.when('it is over', ({ generations, reload, working }) => {
    most = Math.max(
      most,
      generations.reduce((sum, { workers }) => sum + workers.length, 0),
    )
    return working === 2 && reload === null
  })
  expect(await good).toMatchObject({ result: 'done', from: 1, to: 2 })
  expect(most).toBe(4)
  expect(await ask(port, '/version')).toBe('two')

  const bad = launcher.reload('baked')
  await launcher.event('worker.serving', ({ generation, slot }) => generation === 3 && slot === 0)
  versions.deploy('exits-at-load 9')
  // Slot 1 has begun only after slot 0 has baked, so it starts what was deployed last.
  await launcher.event('worker.exited', ({ generation, slot, code }) => generation === 3 && slot === 1 && code === 9)
  versions.deploy('two')
  expect(await bad).toMatchObject({
    result: 'undone',
    reason: expect.stringMatching(/slot 1 .*exited with code 9/),
    stderr: ['bad version: exit 9'],
    notes: [expect.stringMatching(/^slot 0: rolled back by restart/)],
  })
  const { slots } = await launcher.when('it is whole', ({ state }) => state === 'serving')
  expect(slots.map(({ worker }) => worker?.generation)).toEqual([2, 2, 2])
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('on a terminal the reload is shown while it goes on: one line per worker, and then the verdict alone', async () => {
  const { launcher, versions } = await start(['--bake', '1500ms'])
  versions.deploy('two')
  const words = [TEST_NODE, MAIN, 'reload', '--runtime-dir', launcher.runtimeDir, '--name', launcher.name]
  const terminal = spawn('script', ['-qec', words.join(' '), '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let shown = ''
  terminal.stdout.on('data', (data) => {
    shown += data
  })
  const [code] = await once(terminal, 'close')
  expect(code).toBe(0)
  expect(shown).toMatch(
    /reload 1: bake, \d+\.\d s, generation 1 → 2\r\n {2}slot 0: \d+ → \d+ {2}baking\r\n {2}slot 1: /,
  )
  const left = shown.slice(shown.lastIndexOf('\x1b[J') + 3)
  expect(left).toMatch(/^generation 2 serves; generation 1 has handed over\r\n/)
  await launcher.stop()
})
