import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, askJson } from '../support/clients'
import { MAIN, runCli, startLauncher, type TestLauncher, temporaryDirectory, withDeadline } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { childrenOf, descriptorsOf, factsOf, isAlive, marked } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

interface Mirror {
  readonly env: Record<string, string>
  readonly argv: readonly string[]
  readonly execArgv: readonly string[]
  readonly cwd: string
  readonly file: string
  readonly input: { readonly bytes: number | string; readonly device: number; readonly isTerminal: boolean }
  readonly pid: number
  readonly group: number
}

const MIRROR = fixture('servers/mirror.cjs')

/** What the launcher itself was given. */
function environmentOf(pid: number): Record<string, string> {
  const pairs = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean)
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
}

test('a program sees what it sees in plain Node: environment, arguments, directory, input (J-01, S-18)', async () => {
  const directory = temporaryDirectory()
  const [port, path] = [await freePort(), join(directory, 'app.sock')]
  const preload = join(directory, 'my own preload.cjs')
  writeFileSync(preload, 'globalThis.mine = true\n')
  const words = ['--stack-trace-limit=5', MIRROR, 'serve', String(port), path, '--port', '-n', 'a "b"', '']
  const launcher = await startLauncher({
    command: ['node', ...words],
    options: ['-n', '2'],
    cwd: directory,
    env: { NODE_OPTIONS: `--max-http-header-size=20000 --require "${preload}"  `, EMPTY: '', PWD: directory },
  })
  const { REUSEPORT_RUN_BINDING: _, ...env } = environmentOf(launcher.pid)
  const plain = spawnSync(
    'node',
    words.map((word) => (word === 'serve' ? 'print' : word)),
    {
      cwd: directory,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
    },
  )
  const { pid: _pid, group: _group, ...expected } = JSON.parse(plain.stdout.replace('"print"', '"serve"')) as Mirror
  expect(expected.env.NODE_OPTIONS).toContain(preload)
  expect(expected.input).toMatchObject({ bytes: 0, isTerminal: false })

  // The second generation is told more than the first (the unix path that is served), and shows as little.
  for (let generation = 1; generation <= 2; generation++) {
    const { pid, group, ...seen } = await askJson<Mirror>(port, '/')
    expect(await launcher.pids()).toContain(pid)
    expect({ generation, ...seen }).toEqual({ generation, ...expected })
    expect(await launcher.reload()).toMatchObject({ result: 'done', reason: null })
  }
  await launcher.stop()
})

test('without NODE_OPTIONS of the user there are none', async () => {
  const port = await freePort()
  const launcher = await startLauncher({ command: ['node', MIRROR, 'serve', String(port)] })
  const { env } = await askJson<Mirror>(port, '/')
  expect(Object.keys(env).filter((name) => /NODE_OPTIONS|REUSEPORT/.test(name))).toEqual([])
  await launcher.stop()
})

test('each worker has a process group of its own, and nothing open but its stdio and what is its own (J-03, L-03)', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'of the parent')
  writeFileSync(file, '')
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', MIRROR, 'serve', String(port)],
    options: ['-n', '2'],
    under: ['sh', '-c', 'exec "$@" <"$0" 7<"$0"', file],
  })
  expect([0, 7].map((fd) => descriptorsOf(launcher.pid).get(fd))).toEqual([file, file])
  const pids = await launcher.pids()
  for (const pid of pids) {
    expect(factsOf(pid)?.group).toBe(pid)
    const open = [...descriptorsOf(pid)].filter(([, what]) => what.startsWith('/'))
    // Node opens /dev/null for itself, too.
    expect(open.filter(([, what]) => what !== '/dev/null')).toEqual([])
    expect(descriptorsOf(pid).get(0)).toBe('/dev/null')
    const [theirs, ours] = [descriptorsOf(pid), descriptorsOf(launcher.pid)]
    expect([theirs.get(1), theirs.get(2)]).toEqual([ours.get(1), ours.get(2)])
  }
  expect(new Set([factsOf(launcher.pid)?.group, ...pids]).size).toBe(3)
  await launcher.stop()
})

test('limits, niceness and oom score are the launcher’s; who is not admitted yet is killed first for want of memory (D-18, G-13)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    under: ['prlimit', '--core=4096:8192', '--nofile=900:900', '--nproc=5000:6000', 'nice', '-n', '3'],
  })
  const limitsOf = (pid: number): string => readFileSync(`/proc/${pid}/limits`, 'utf8')
  const nicenessOf = (pid: number): string =>
    readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[16] ?? ''
  const oomScoreOf = (pid: number): number => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'))
  const [pid] = (await launcher.pids()) as [number]
  expect(limitsOf(pid)).toBe(limitsOf(launcher.pid))
  expect(limitsOf(pid)).toMatch(/Max core file size +4096 +8192 /)
  expect([nicenessOf(pid), nicenessOf(launcher.pid)]).toEqual(Array(2).fill(String(Math.min(19, getPriority() + 3))))
  expect(oomScoreOf(pid)).toBe(oomScoreOf(launcher.pid))

  versions.deploy('never-listens')
  const verdict = launcher.reload()
  const { workerPid } = await launcher.event('worker.spawned', ({ generation }) => generation === 2)
  const more = Math.min(1_000, oomScoreOf(launcher.pid) + 200)
  await until('it is expendable', () => oomScoreOf(workerPid as number) === more)
  process.kill(workerPid as number, 'SIGKILL')
  expect(await verdict).toMatchObject({ result: 'aborted' })
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(oomScoreOf((await launcher.pids())[0] as number)).toBe(oomScoreOf(launcher.pid))
  await launcher.stop()
})

test('started in `current`: PWD says so, a reload goes where it leads by then, a respawn where its generation began', async () => {
  const base = temporaryDirectory()
  const current = join(base, 'current')
  const releases = [1, 2].map((number) => join(base, `release-${number}`)) as [string, string]
  for (const release of releases) {
    mkdirSync(release)
    cpSync(MIRROR, join(release, 'server.cjs'))
  }
  symlinkSync(releases[0], current)
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', 'server.cjs', 'serve', String(port)],
    cwd: current,
    env: { PWD: current },
  })
  const place = async (): Promise<string[]> => {
    const { cwd, env, file } = await askJson<Mirror>(port, '/')
    return [cwd, file, env.PWD as string]
  }
  expect(await place()).toEqual([releases[0], join(releases[0], 'server.cjs'), current])

  symlinkSync(releases[1], `${current}.next`)
  renameSync(`${current}.next`, current)
  const [first] = (await launcher.pids()) as [number]
  process.kill(first, 'SIGKILL')
  await launcher.when(
    'its successor serves',
    ({ state, slots }) => state === 'serving' && slots[0]?.worker?.pid !== first,
  )
  expect(await place()).toEqual([releases[0], join(releases[0], 'server.cjs'), releases[0]])

  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  expect(await place()).toEqual([releases[1], join(releases[1], 'server.cjs'), current])
  await launcher.stop()
})

/** What the terminal does at Ctrl-C: SIGINT to every process of the foreground group. `setsid` in front makes one. */
function pressControlC(launcher: TestLauncher): void {
  process.kill(-launcher.pid, 'SIGINT')
}

test.each(['node', 'sh -c', 'npm start'])(
  'Ctrl-C reaches a program behind %s as one stop signal (K-01)',
  async (wrapper) => {
    const directory = temporaryDirectory()
    const [port, file] = [await freePort(), join(directory, 'signals')]
    const script = `node '${fixture('servers/signalled.cjs')}' ${port} '${file}'`
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ name: 'p', scripts: { start: script } }))
    const commands: Record<string, string[]> = {
      node: ['node', fixture('servers/signalled.cjs'), String(port), file],
      'sh -c': ['sh', '-c', `${script}; exit $?`],
      'npm start': ['npm', 'start', '--silent', '--no-update-notifier'],
    }
    const launcher = await startLauncher({ command: commands[wrapper] as string[], cwd: directory, under: ['setsid'] })
    expect(factsOf(launcher.pid)?.group).toBe(launcher.pid)
    pressControlC(launcher)
    await launcher.leavesNothing()
    expect(readFileSync(file, 'utf8')).toBe('SIGTERM\n')
  },
)

test('Ctrl-C that npm passes on to a launcher behind it is one, not two', async () => {
  const directory = temporaryDirectory()
  const [port, file] = [await freePort(), join(directory, 'signals')]
  // The words are appended to the script; a shell that executes its last command, as bash does, makes the launcher npm's own child.
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ name: 'p', scripts: { it: 'exec env' } }))
  const launcher = await startLauncher({
    command: ['node', fixture('servers/signalled.cjs'), String(port), file],
    cwd: directory,
    under: ['setsid', 'npm', 'run', 'it', '--silent', '--no-update-notifier', '--'],
  })
  const { workerPid: pid } = await launcher.event('launcher.started')
  expect(factsOf(pid as number)?.parent).toBe(launcher.pid)
  pressControlC(launcher)
  await withDeadline(launcher.ended, 10_000, () => `its end\n${launcher.story}`)
  const signals = launcher.events.filter(({ msg }) => msg === 'signal' || msg.startsWith('launcher.stop'))
  expect(signals.map(({ msg }) => msg)).toEqual(['signal', 'launcher.stopping', 'launcher.stopped'])
  expect(readFileSync(file, 'utf8')).toBe('SIGTERM\n')
  expect(marked(launcher.mark)).toEqual([])
})

test('a launcher that the program starts is no worker of the outer one, nor are its workers (J-07)', async () => {
  const base = temporaryDirectory()
  const [outerPort, innerPort] = [await freePort(), await freePort()]
  const runtime = ['--runtime-dir', join(base, 'inner-run'), '--name', 'inner']
  // By a link, as npm installs commands.
  const link = join(base, 'reuseport-run')
  symlinkSync(MAIN, link)
  const program = ['node', MIRROR, 'serve', String(innerPort)]
  const outer = await startLauncher({
    command: ['node', fixture('servers/nests.cjs'), String(outerPort), TEST_NODE, link, ...runtime, '--', ...program],
  })
  const [worker] = (await outer.pids()) as [number]
  expect(await ask(outerPort)).toBe(String(worker))
  const { listeners } = await outer.status()
  expect(listeners.map(({ address }) => address)).toEqual([`tcp *:${outerPort}`])
  expect(outer.events.filter(({ msg }) => msg === 'channel.refused')).toEqual([])

  const [inner] = childrenOf(worker)
  const { pid, env } = await askJson<Mirror>(innerPort, '/')
  expect(factsOf(pid)?.parent).toBe(inner?.pid)
  expect(Object.keys(env).filter((name) => /NODE_OPTIONS|REUSEPORT/.test(name))).toEqual([])
  expect(await runCli(['reload', ...runtime, '--wait', 'retired'])).toMatchObject({ code: 0 })
  await until('the old inner worker has gone', () => !isAlive(pid))
  expect((await askJson<Mirror>(innerPort, '/')).pid).not.toBe(pid)
  expect(await outer.pids()).toEqual([worker])
  await outer.stop()
  expect(existsSync(join(base, 'inner-run', 'inner'))).toBe(false)
})
