import { once } from 'node:events'
import { cpSync, renameSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import type { Verdict } from '../../src/control-protocol'
import { bothAnswer, expectRefused, expectUndone, type Scene } from '../support/bad-version'
import { ask, Clients, type InHand, inHand, tryConnect } from '../support/clients'
import { runCli, startLauncher, TestLauncher, temporaryDirectory } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { childrenOf, descriptorsOf } from '../support/processes'
import { inject } from '../support/strace'
import { until } from '../support/until'
import { Versions } from '../support/versions'

async function start(more: readonly string[] = []): Promise<Scene> {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2', '--ready-timeout', '20s', ...more],
    cwd: versions.directory,
  })
  return { launcher, port, versions }
}

test('a version that exits at load: its code and its last lines (A-02, D-01)', async () => {
  const scene = await start()
  scene.versions.deploy('exits-at-load 7')
  await expectRefused(scene, {
    reason: expect.stringMatching(/^the worker of slot \d \(pid \d+\) exited with code 7$/),
    stderr: ['bad version: exit 7'],
  })
})

test('a version that reaches the heap limit: named, not just a signal (A-12)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const [node, ...argv] = versions.command(port)
  const launcher = await startLauncher({
    command: [node as string, '--max-old-space-size=30', ...argv],
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  versions.deploy('leaks')
  await expectRefused(
    { launcher, port, versions },
    {
      reason: expect.stringMatching(/was ended by SIGABRT: V8's heap limit was reached \(--max-old-space-size\)$/),
    },
  )
})

test('a version that throws before it listens', async () => {
  const scene = await start()
  scene.versions.deploy('throws-later')
  await expectRefused(scene, {
    reason: expect.stringMatching(/exited with code 1$/),
    stderr: expect.arrayContaining([expect.stringContaining('this version is broken')]),
  })
})

test('a version that never listens is killed at --ready-timeout (D-07)', async () => {
  const scene = await start(['--ready-timeout', '4s'])
  scene.versions.deploy('never-listens')
  await expectRefused(scene, {
    reason: expect.stringContaining(`it did not listen on tcp *:${scene.port} within 4000 ms`),
    stderr: ['bad version: it only waits'],
  })
})

test('a version that listens on another port gets nothing of it into the open (D-06)', async () => {
  const scene = await start(['--ready-timeout', '4s'])
  const other = await freePort()
  scene.versions.deploy(`other-port ${other}`)
  let refused = 0
  const look = (async () => {
    while (scene.launcher.events.every(({ msg }) => msg !== 'reload.aborted')) {
      if ((await tryConnect(other)) === 'ECONNREFUSED') refused++
      else refused = Number.NaN
      await new Promise((done) => setTimeout(done, 10))
    }
  })()
  await expectRefused(scene, { reason: expect.stringContaining(`it did not listen on tcp *:${scene.port}`) })
  await look
  expect(refused).toBeGreaterThan(0)
})

test('a version that is no JavaScript (A-02)', async () => {
  const scene = await start()
  scene.versions.deploy('is-no-javascript')
  await expectRefused(scene, {
    reason: expect.stringMatching(/exited with code 1$/),
    stderr: expect.arrayContaining([expect.stringContaining('SyntaxError')]),
  })
})

test('a version that writes what is no text, in lines without an end: its last words are kept (L-06)', async () => {
  const scene = await start()
  scene.versions.deploy('babbles')
  const clients = new Clients(scene.port)
  const { code, stderr } = await scene.launcher.run('reload')
  expect(code).toBe(4)
  // Its pieces of 64 KiB, of each what a line may have here.
  const long = Array(4).fill('x'.repeat(1_000))
  const lines = stderr.split('\n').filter((line) => line.startsWith('    | '))
  expect(lines.map((line) => line.slice(6))).toEqual([
    ...long,
    expect.stringMatching(/^[^\x00-\x1f]*\\x00\\x1b\[2J$/),
    'the last words',
  ])
  const { stderr: kept } = await scene.launcher.event('reload.aborted')
  expect(kept).toEqual([...long, expect.any(String), 'the last words'])
  expect((await clients.stop()).failures).toEqual([])
  await scene.launcher.stop()
})

test('a version that gives a port up (D-08)', async () => {
  const [port, other, versions] = [await freePort(), await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port, other),
    options: ['-n', '2', '--ready-timeout', '4s'],
    cwd: versions.directory,
  })
  versions.deploy('fewer-ports')
  await expectRefused(
    { launcher, port, versions },
    {
      reason: expect.stringContaining(
        `it did not listen on tcp *:${other} within 4000 ms (it listens on tcp *:${port})`,
      ),
    },
  )
})

test('a version that wants one more port, which it cannot have (D-08)', async () => {
  const scene = await start()
  const other = createServer().listen(0)
  await once(other, 'listening')
  const taken = (other.address() as AddressInfo).port
  scene.versions.deploy(`more-ports ${taken}`)
  await expectRefused(scene, {
    reason: expect.stringContaining(`[::]:${taken} is in use`),
    stderr: expect.arrayContaining([expect.stringContaining('EADDRINUSE')]),
  })
  other.close()
})

test('a version whose event loop stands still once it listens (A-13)', async () => {
  const scene = await start(['--ready-timeout', '5s'])
  scene.versions.deploy('spins')
  await expectRefused(scene, {
    reason: expect.stringMatching(
      /it did not listen on .* within 5000 ms: its event loop has not turned for \d+ ms: it is busy \(/,
    ),
  })
})

test('a version that never says that it is ready (D-03)', async () => {
  const [port, versions] = [await freePort(), new Versions('says-so')]
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2', '--ready', 'message', '--ready-timeout', '4s'],
    cwd: versions.directory,
  })
  versions.deploy('never-says-so')
  const repair = (): string => versions.deploy('says-so')
  await expectRefused(
    { launcher, port, versions, repair },
    { step: 'ready', reason: expect.stringContaining('it did not say that it is ready within 4000 ms') },
  )
})

test('a version that ignores SIGTERM and is refused', async () => {
  const scene = await start(['--ready-timeout', '4s'])
  scene.versions.deploy('ignores-sigterm-and-never-listens')
  await expectRefused(scene, {
    step: 'start',
    reason: expect.stringContaining('was ended by SIGKILL: it did not listen'),
  })
})

test('a version that ignores SIGTERM and is undone (A-17)', async () => {
  const scene = await start(['--bake', '20s', '--bake-max-5xx', '1%', '--drain-timeout', '1s', '--kill-after', '300ms'])
  scene.versions.deploy('errs-for-ever')
  await expectUndone(scene, { reason: expect.stringContaining('answers were errors (5xx)') }, () => ({
    lost: 0,
    ms: 50,
  }))
  expect(scene.launcher.events).toContainEqual(expect.objectContaining({ msg: 'worker.killed', generation: 2 }))
})

test('an aborted reload says that the old version serves on only as far as it does', async () => {
  const { launcher, versions } = await start()
  versions.deploy('exits-at-load 3')
  const told = async (): Promise<string> => {
    const { code, stderr } = await launcher.run('reload')
    expect(code).toBe(4)
    return /^generation .*$/m.exec(stderr)?.[0] as string
  }
  expect(await told()).toBe('generation 1 serves on')
  const pids = await launcher.pids()
  for (const [slot, sentence] of [
    [1, 'generation 1 serves on, without a worker in slot 1'],
    [0, 'generation 1 stays, but none of its workers serves'],
  ] as const) {
    process.kill(pids[slot] as number, 'SIGKILL')
    // What would replace it ends at load, too.
    await launcher.event('slot.paused', (event) => event['slot'] === slot)
    expect(await told()).toBe(sentence)
  }
  const { stdout, stderr } = await launcher.run('reload', '--json')
  const { reason } = JSON.parse(stdout) as Verdict
  expect(stderr.split('\n')).toEqual([
    `reload aborted in step start: ${reason}`,
    '    | bad version: exit 3',
    'generation 1 stays, but none of its workers serves',
    '',
  ])
  await launcher.stop()
})

test('a command that has gone (A-01)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const program = join(versions.directory, 'server.cjs')
  cpSync(fixture('servers/versioned.cjs'), program)
  const node = join(versions.directory, 'mynode')
  cpSync('/bin/sh', node)
  const launcher = await startLauncher({
    command: ['./mynode', '-c', `exec ${TEST_NODE} ${program} ${port}`],
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  renameSync(node, `${node}~`)
  const repair = (): string => {
    renameSync(`${node}~`, node)
    return versions.deploy('good-again')
  }
  await expectRefused(
    { launcher, port, versions, repair },
    { step: 'resolve', reason: expect.stringContaining(`no such file. Looked for ${node}`) },
  )
})

test('a working directory that has gone, and is back (D-16)', async () => {
  const scene = await start()
  const { versions } = scene
  rmSync(versions.directory, { recursive: true })
  const repair = (): string => {
    new Versions('two', versions.directory)
    return 'two'
  }
  await expectRefused(
    { ...scene, repair },
    { step: 'resolve', reason: expect.stringMatching(/working directory .* ENOENT/) },
  )
})

test('bad, good, bad, good: by signal too (D-13)', async () => {
  const { launcher, port, versions } = await start()
  const clients = new Clients(port)
  for (let round = 1; round <= 6; round++) {
    versions.deploy(round % 2 === 0 ? `good-${round}` : 'exits-at-load 1')
    launcher.kill('SIGHUP')
    const end = round % 2 === 0 ? 'reload.retired' : 'reload.aborted'
    await launcher.event(end, ({ id }) => id === round)
    expect(await ask(port, '/version')).toBe(round === 1 ? 'one' : `good-${round - (round % 2)}`)
  }
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test.each([
  ['start', 'one', 'never-listens', []],
  ['ready', 'says-so', 'never-says-so', ['--ready', 'message']],
  ['probe', 'one', 'unwell hang', ['--health', '/healthz', '--health-timeout', '60s']],
] as const)(
  'a candidate that is killed in step %s: no other one is tried (A-04, A-05)',
  async (step, good, bad, options) => {
    const [port, versions] = [await freePort(), new Versions(good)]
    const launcher = await startLauncher({
      command: versions.command(port),
      options: ['-n', '2', '--ready-timeout', '20s', ...options],
      cwd: versions.directory,
    })
    const [clients, pids] = [new Clients(port), await launcher.pids()]
    versions.deploy(bad)
    const verdict = launcher.reload()
    const { reload } = await launcher.when(
      'both candidates are there',
      (status) => status.reload?.step === step && status.reload.slots.every(({ newPid }) => newPid !== null),
    )
    const killed = reload?.slots[1]?.newPid as number
    process.kill(killed, 'SIGKILL')
    expect(await verdict).toMatchObject({
      result: 'aborted',
      step,
      reason: expect.stringMatching(new RegExp(`slot 1 \\(pid ${killed}\\) was ended by SIGKILL`)),
    })
    expect(await launcher.pids()).toEqual(pids)
    expect(launcher.events.filter(({ msg, generation }) => msg === 'worker.spawned' && generation === 2)).toHaveLength(
      2,
    )
    expect((await clients.stop()).failures).toEqual([])
    await launcher.stop()
  },
)

test('a candidate that dies when it was told to accept, and its sibling does already: aborted (A-06)', async () => {
  const { launcher, port, versions } = await start()
  const [clients, pids] = [new Clients(port), await launcher.pids()]
  versions.deploy('stops-at-admit now')
  const verdict = launcher.reload('baked')
  const { slot } = await launcher.event('worker.serving', ({ generation }) => generation === 2)
  const { reload } = await launcher.status()
  process.kill(reload?.slots[1 - (slot as number)]?.newPid as number, 'SIGKILL')
  expect(await verdict).toMatchObject({
    result: 'aborted',
    step: 'handover',
    reason: expect.stringContaining('was ended by SIGKILL'),
  })
  expect(await launcher.pids()).toEqual(pids)
  await launcher.when('one generation', ({ generations }) => generations.length === 1)
  await bothAnswer(port, pids)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test.each([
  ['clone', 'EAGAIN', 1],
  ['clone', 'ENOMEM', 2],
  ['pipe2', 'EMFILE', 1],
  ['pipe2', 'ENFILE', 2],
])(
  '%s fails with %s, the time %i: refused, and nothing is left of it (G-01, G-02, G-04, G-06)',
  async (call, errno, when) => {
    const scene = await start()
    scene.versions.deploy('two')
    const strace = await inject(scene.launcher.pid, `${call}:error=${errno}:when=${when}`)
    await expectRefused(scene, { step: 'start', reason: expect.stringContaining(errno) })
    await strace.end()
  },
)

test.each([1, 3])('a new worker that cannot be watched (epoll_ctl %i fails) does not live on (G-04)', async (when) => {
  const { launcher } = await start()
  const pids = await launcher.pids()
  const fds = descriptorsOf(launcher.pid).size
  const strace = await inject(launcher.pid, `epoll_ctl:error=ENOSPC:when=${when}`)
  launcher.kill('SIGHUP')
  expect(await launcher.event('reload.aborted')).toMatchObject({ reason: expect.stringContaining('ENOSPC') })
  await strace.end()
  await until('its own children are left', () =>
    isDeepStrictEqual(new Set(childrenOf(launcher.pid).map(({ pid }) => pid)), new Set(pids)),
  )
  await until('no descriptor more', () => descriptorsOf(launcher.pid).size <= fds)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('the first start: the reason, the last lines, and the exit code of a single worker (K-14)', async () => {
  const port = await freePort()
  for (const [version, code] of [
    ['exits-at-load 42', 42],
    ['exits-at-load 0', 1],
    ['throws-later', 1],
  ] as const) {
    const versions = new Versions(version)
    const directory = join(temporaryDirectory(), 'run')
    const run = await runCli(['--runtime-dir', directory, '--name', 't', '--', ...versions.command(port)], {
      cwd: versions.directory,
    })
    expect(run).toMatchObject({ code, stderr: expect.stringContaining('start.failed') })
    expect(run.stderr).toContain(version === 'throws-later' ? '| Error: this version is broken' : '| bad version: exit')
  }
})

test('a program that leaves its parent, and goes on by itself: refused, and it does not live on (A-22)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = new TestLauncher({
    command: ['sh', '-c', `setsid ${versions.command(port).join(' ')} & exit 0`],
    cwd: versions.directory,
    exitCode: 1,
  })
  expect(await launcher.event('start.failed')).toMatchObject({ reason: expect.stringContaining('exited with code 0') })
  await launcher.leavesNothing()
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
})

test('a first start with two workers of which one fails ends the other', async () => {
  const port = await freePort()
  const versions = new Versions()
  const directory = join(temporaryDirectory(), 'run')
  const server = versions.command(port).join(' ')
  const run = await runCli(
    ['--runtime-dir', directory, '--name', 't', '-n', '2', '--', 'sh', '-c', `mkdir first && exec ${server}; exit 9`],
    { cwd: versions.directory },
  )
  expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/start\.failed .*exited with code 9/) })
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
})

test('a candidate that serves already when its sibling fails finishes what it has in hand', async () => {
  const { launcher, port, versions } = await start()
  const old = await launcher.pids()
  versions.deploy('stops-at-admit now')
  const verdict = launcher.reload('baked')
  const { workerPid } = await launcher.event('worker.serving', ({ generation }) => generation === 2)
  // Both generations accept now. The old ones answer most of these, the one that is new some.
  const all: InHand[] = []
  await until('the new one has some in hand', async () => {
    all.push(...(await Promise.all(Array.from({ length: 40 }, () => inHand(port, 4000)))))
    return all.some(({ pid }) => !old.includes(pid))
  })
  const theirs = all.filter(({ pid }) => !old.includes(pid))
  expect(new Set(theirs.map(({ pid }) => pid))).toEqual(new Set([workerPid]))
  expect(await verdict).toMatchObject({ result: 'aborted', reason: expect.stringContaining('did not answer') })
  for (const { answer } of all) expect(await answer).toMatch(/ end$/)

  await launcher.when('one generation', ({ generations }) => generations.length === 1)
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})
