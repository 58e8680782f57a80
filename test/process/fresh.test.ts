import { chmodSync, copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Verdict } from '../../src/control-protocol'
import { ask, askJson, Clients } from '../support/clients'
import { runCli, startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/** Turns a symlink as deploy tools do: another one beside it, renamed over it. */
function point(link: string, target: string): void {
  symlinkSync(target, `${link}~`)
  renameSync(`${link}~`, link)
}

test('a switched `current` symlink: the new generation runs there, and a respawn of the old one where it began (D-15)', async () => {
  const [port, root] = [await freePort(), temporaryDirectory()]
  const [one, two] = [new Versions('one', join(root, 'r1')), new Versions('two', join(root, 'r2'))]
  const current = join(root, 'current')
  point(current, one.directory)
  const launcher = await startLauncher({
    command: one.command(port),
    cwd: current,
    env: { PWD: current },
    options: ['-n', '2'],
  })
  const clients = new Clients(port)

  point(current, two.directory)
  const [pid] = await launcher.pids()
  const from = launcher.events.length
  process.kill(pid as number, 'SIGKILL')
  await launcher.event('worker.serving', ({ generation }) => generation === 1, from)
  const places = await Promise.all(Array.from({ length: 20 }, () => askJson<{ cwd: string }>(port, '/cwd')))
  expect(new Set(places.map(({ cwd }) => cwd))).toEqual(new Set([one.directory]))

  const verdict = await launcher.reload()
  expect(verdict).toMatchObject({
    result: 'done',
    changes: [{ what: 'directory', from: one.directory, to: two.directory }],
  })
  expect(await ask(port, '/version')).toBe('two')
  expect(await askJson(port, '/cwd')).toEqual({ cwd: two.directory, pwd: current })
  // What the killed one had in hand, and nothing else.
  expect((await clients.stop()).failures.length).toBeLessThanOrEqual(4)
  await launcher.stop()
})

test('an environment file is read again; what changed is told by name, never by value (J-09)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const file = join(versions.directory, '.env')
  writeFileSync(join(versions.directory, '.env.local'), 'LOCAL=1\n')
  writeFileSync(file, 'COLOUR=secret-red\nGONE=1\nSAME=1\nTAKEN=file\n')
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    env: { TAKEN: 'launcher' },
    options: ['--env-file', '.env', '--env-file', '.env.local'],
  })
  expect(await askJson(port, '/env')).toMatchObject({ COLOUR: 'secret-red', GONE: '1', LOCAL: '1', TAKEN: 'launcher' })
  expect(await launcher.event('env-file.shadowed')).toMatchObject({ variables: ['TAKEN'] })

  writeFileSync(file, 'COLOUR=secret-blue\nSAME=1\nNEW="a\nb"\n')
  const { code, stdout } = await launcher.run('reload', '--json', '--wait', 'retired')
  expect(code).toBe(0)
  expect((JSON.parse(stdout) as Verdict).changes).toEqual(
    expect.arrayContaining([
      { what: 'environment COLOUR', from: 'set', to: 'another value' },
      { what: 'environment GONE', from: 'set', to: null },
      { what: 'environment NEW', from: null, to: 'set' },
    ]),
  )
  expect((JSON.parse(stdout) as Verdict).changes).toHaveLength(3)
  expect(stdout).not.toContain('secret')
  const env = await askJson<Record<string, string>>(port, '/env')
  expect(env).toMatchObject({ COLOUR: 'secret-blue', NEW: 'a\nb', LOCAL: '1', TAKEN: 'launcher' })
  expect(env).not.toHaveProperty('GONE')
  expect(await launcher.reload()).toMatchObject({ result: 'done', changes: [] })
  await launcher.stop()
})

test('after an undo the old directory and the old environment run, in respawns too', async () => {
  const [port, root] = [await freePort(), temporaryDirectory()]
  const [one, two] = [new Versions('one', join(root, 'r1')), new Versions('two', join(root, 'r2'))]
  const current = join(root, 'current')
  point(current, one.directory)
  for (const { directory } of [one, two]) writeFileSync(join(directory, '.env'), `RELEASE=${directory}`)
  const launcher = await startLauncher({
    command: one.command(port),
    cwd: current,
    env: { PWD: current },
    options: ['-n', '2', '--env-file', '.env', '--bake', '25s'],
  })
  const old = await launcher.pids()
  point(current, two.directory)
  const verdict = launcher.reload('baked')
  const { workerPid } = await launcher.event('worker.serving', ({ generation }) => generation === 2)
  await launcher.event('reload.baking')
  process.kill(workerPid as number, 'SIGKILL')
  expect(await verdict).toMatchObject({
    result: 'undone',
    changes: [
      { what: 'directory', from: one.directory, to: two.directory },
      { what: 'environment RELEASE', from: 'set', to: 'another value' },
    ],
  })
  expect(await launcher.pids()).toEqual(old)

  for (const pid of old) {
    const from = launcher.events.length
    process.kill(pid, 'SIGKILL')
    await launcher.event('worker.serving', ({ generation }) => generation === 1, from)
  }
  const answers = await Promise.all(Array.from({ length: 20 }, () => askJson<{ cwd: string }>(port, '/cwd')))
  expect(new Set(answers.map(({ cwd }) => cwd))).toEqual(new Set([one.directory]))
  expect(await askJson(port, '/env')).toMatchObject({ RELEASE: one.directory })
  expect((await launcher.pids()).filter((pid) => old.includes(pid))).toEqual([])
  await launcher.stop()
})

test('a bad environment file refuses the reload with file and line, and nothing is lost', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const file = join(versions.directory, '.env')
  writeFileSync(file, 'A=1\n')
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2', '--env-file', '.env'],
  })
  const clients = new Clients(port)
  const pids = await launcher.pids()
  const spawned = (): number => launcher.events.filter(({ msg }) => msg === 'worker.spawned').length
  for (const [make, reason] of [
    [() => writeFileSync(file, 'A=1\nhunter2\n'), `line 2 of the environment file ${file} is neither`],
    [() => rmSync(file), `the environment file ${file} cannot be read: ENOENT`],
  ] as const) {
    make()
    const { code, stdout } = await launcher.run('reload', '--json')
    expect({ code, verdict: JSON.parse(stdout) }).toMatchObject({
      code: 4,
      verdict: { result: 'aborted', step: 'resolve', reason: expect.stringContaining(reason) },
    })
    expect(stdout).not.toContain('hunter2')
  }
  await clients.more(100)
  expect(spawned()).toBe(2)
  expect(await launcher.pids()).toEqual(pids)

  // A respawn is of the generation that serves: it takes what that one began with.
  process.kill(pids[0] as number, 'SIGKILL')
  await until('the respawn', () => spawned() === 3)
  await launcher.when('it serves', ({ slots }) => slots.every(({ worker }) => worker?.state === 'serving'))
  const env = await Promise.all(Array.from({ length: 20 }, () => askJson<Record<string, string>>(port, '/env')))
  expect(new Set(env.map((one) => one['A']))).toEqual(new Set(['1']))

  writeFileSync(file, 'A=2\n')
  expect(await launcher.reload()).toMatchObject({ result: 'done', changes: [{ what: 'environment A' }] })
  expect((await clients.stop()).failures.length).toBeLessThanOrEqual(4)
  await launcher.stop()
})

test('a bad environment file at the start is a usage error', async () => {
  const versions = new Versions()
  writeFileSync(join(versions.directory, '.env'), 'A 1')
  const own = ['--runtime-dir', join(temporaryDirectory(), 'run'), '--name', 't', '--env-file', '.env']
  expect(await runCli([...own, '--', 'node', 'x'], { cwd: versions.directory })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('ERR_ENV_FILE: line 1 of the environment file'),
  })
})

test('another node binary: behind a symlink, and replaced under its name (D-17)', async () => {
  const [port, versions, root] = [await freePort(), new Versions(), temporaryDirectory()]
  for (const name of ['v1', 'v2']) {
    mkdirSync(join(root, name))
    copyFileSync(TEST_NODE, join(root, name, 'node'))
    chmodSync(join(root, name, 'node'), 0o755)
  }
  const current = join(root, 'current')
  point(current, join(root, 'v1'))
  const launcher = await startLauncher({
    command: ['node', fixture('servers/versioned.cjs'), String(port)],
    cwd: versions.directory,
    env: { PATH: `${current}:${process.env['PATH']}` },
  })
  const running = async (): Promise<string> => ask(port, '/executable')
  expect(await running()).toBe(join(root, 'v1', 'node'))

  point(current, join(root, 'v2'))
  const [pid] = await launcher.pids()
  process.kill(pid as number, 'SIGKILL')
  await launcher.event('worker.serving', ({ workerPid }) => workerPid !== pid)
  expect(await running(), 'a respawn of the old generation').toBe(join(root, 'v1', 'node'))

  expect(await launcher.reload()).toMatchObject({
    result: 'done',
    changes: [{ what: 'program', from: join(root, 'v1', 'node'), to: join(root, 'v2', 'node') }],
  })
  expect(await running()).toBe(join(root, 'v2', 'node'))

  copyFileSync(TEST_NODE, join(root, 'v2', 'node~'))
  chmodSync(join(root, 'v2', 'node~'), 0o755)
  renameSync(join(root, 'v2', 'node~'), join(root, 'v2', 'node'))
  const { changes } = await launcher.reload()
  expect(changes).toEqual([
    {
      what: 'program',
      from: expect.stringContaining('/v2/node (inode'),
      to: expect.stringContaining('/v2/node (inode'),
    },
  ])
  expect(changes[0]?.from).not.toBe(changes[0]?.to)
  await launcher.stop()
})
