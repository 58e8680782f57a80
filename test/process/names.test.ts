import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask } from '../support/clients'
import { makeDirectory, type Run, runCli, startLauncher, TestLauncher, temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { childrenOf, isAlive } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

const isRoot = process.geteuid?.() === 0

/** A start that is expected to be refused: were it not, it would be stopped as soon as it serves. */
function tryStart(
  versions: Versions,
  port: number,
  words: readonly string[],
  more: { env?: Record<string, string> } = {},
): Promise<Run> {
  return runCli([...words, '--', ...versions.command(port)], {
    cwd: versions.directory,
    ...more,
    started: (child) =>
      child.stderr?.on('data', (data) => {
        if (String(data).includes('launcher.serving')) child.kill('SIGTERM')
      }),
  })
}

test('a second launcher of the same name exits 75 and touches nothing (H-05)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const first = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const files = (): string =>
    readdirSync(first.directory)
      .map(
        (name) =>
          `${name} ${statSync(join(first.directory, name)).ino} ${statSync(join(first.directory, name)).mtimeMs}`,
      )
      .join('\n')
  const before = files()
  const pids = await first.pids()
  const { code, stderr } = await tryStart(versions, port, ['--runtime-dir', first.runtimeDir, '--name', first.name])
  expect({ code, stderr }).toEqual({
    code: 75,
    stderr: expect.stringMatching(
      new RegExp(`ERR_NAME_TAKEN: .*"test" runs already \\(pid ${first.pid}, .*\\n.*reuseport-run reload`),
    ),
  })
  expect(files()).toBe(before)
  expect(await first.pids()).toEqual(pids)
  expect(await ask(port)).toBe(String(pids[0]))
  await first.stop()
})

test('a lock file that somebody has removed: a second start finds the launcher by its socket, and touches nothing (H-04)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const first = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const pids = await first.pids()
  rmSync(join(first.directory, 'lock'))
  const words = ['--runtime-dir', first.runtimeDir, '--name', first.name]
  expect(await tryStart(versions, port, words)).toMatchObject({
    code: 75,
    stderr: expect.stringContaining('ERR_NAME_TAKEN: a launcher called "test" runs already\n'),
  })
  expect(await first.pids()).toEqual(pids)
  expect(await first.reload()).toMatchObject({ result: 'done' })
  await first.stop()
  await first.leavesNothing()
})

test('of eight that start at once one wins, again and again (H-05)', async () => {
  const versions = new Versions()
  const runtime = join(temporaryDirectory(), 'run')
  for (let round = 0; round < 4; round++) {
    const port = await freePort()
    let serving = 0
    let refused = 0
    const runs = Array.from({ length: 8 }, () =>
      runCli(['--runtime-dir', runtime, '--name', 'x', '--', ...versions.command(port)], {
        cwd: versions.directory,
        started(child) {
          child.once('exit', () => {
            refused++
          })
          child.stderr?.on('data', async (data) => {
            if (!String(data).includes('launcher.serving')) return
            serving++
            // Not before the others have lost: afterwards the name would be free for them.
            await until('seven have lost', () => refused === 7)
            expect(readFileSync(join(runtime, 'x', 'pid'), 'utf8')).toBe(`${child.pid}\n`)
            child.kill('SIGTERM')
          })
        },
      }),
    )
    const ends = await Promise.all(runs)
    expect(ends.map(({ code }) => code).sort()).toEqual([0, 75, 75, 75, 75, 75, 75, 75])
    expect(serving).toBe(1)
    expect(existsSync(join(runtime, 'x'))).toBe(false)
  }
})

test('a start right at the end of another: one of them at any time, no third outcome', async () => {
  const versions = new Versions()
  const runtime = join(temporaryDirectory(), 'run')
  const codes: (number | null)[] = []
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      for (let round = 0; round < 6; round++) {
        const run = await tryStart(versions, await freePort(), ['--runtime-dir', runtime, '--name', 'x'])
        if (run.code !== 0 && run.code !== 75) expect(run).toMatchObject({ code: 75 })
        codes.push(run.code)
      }
    }),
  )
  expect(codes.filter((code) => code === 0).length).toBeGreaterThan(0)
  expect(existsSync(join(runtime, 'x'))).toBe(false)
}, 60_000)

test('the default name is taken by a launcher of another directory: both are named, and a way out', async () => {
  const port = await freePort()
  const [one, two] = [new Versions(), new Versions()]
  for (const { directory } of [one, two]) writeFileSync(join(directory, 'package.json'), '{"name":"@shop/web"}')
  const first = await startLauncher({ command: one.command(port), cwd: one.directory, name: null })
  const runtime = ['--runtime-dir', first.runtimeDir]
  expect(readdirSync(first.runtimeDir)).toEqual(['shop-web'])

  const second = await tryStart(two, await freePort(), runtime)
  expect(second.code).toBe(75)
  for (const part of [one.directory, two.directory, '--name shop-web-2']) expect(second.stderr).toContain(part)

  // A verb from there would hit the wrong one.
  for (const verb of ['reload', 'status', 'stop']) {
    const run = await runCli([verb, ...runtime], { cwd: two.directory })
    expect(run.code).toBe(75)
    for (const part of [one.directory, two.directory, '--name shop-web']) expect(run.stderr).toContain(part)
    expect(run.stdout).toBe('')
  }
  const elsewhere = await runCli(['reload', ...runtime, '--name', 'web'], { cwd: one.directory })
  expect(elsewhere).toMatchObject({ code: 3, stderr: expect.stringContaining('There is: shop-web. Give --name ') })
  expect((await runCli(['status', ...runtime], { cwd: one.directory })).code).toBe(0)
  expect((await runCli(['reload', ...runtime, '--name', 'shop-web'], { cwd: two.directory })).code).toBe(0)
  expect((await runCli(['stop', ...runtime], { cwd: one.directory })).code).toBe(0)
  await first.leavesNothing()
})

test('files that a dead launcher left are replaced, and a pid in them means nothing (B-15, H-01, H-02, K-09)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const first = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const pids = await first.pids()
  first.kill('SIGKILL')
  await first.ended
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  await until('its worker has gone', () => pids.every((pid) => !isAlive(pid)))
  expect(readdirSync(first.directory).sort()).toEqual(['channel.sock', 'control.sock', 'lock', 'notes', 'pid'])
  // The pid now belongs to somebody else.
  writeFileSync(join(first.directory, 'pid'), `${process.pid}\n`)

  const verb = await runCli(['status', '--runtime-dir', first.runtimeDir, '--name', first.name])
  expect(verb).toMatchObject({ code: 3, stderr: expect.stringContaining(first.directory) })
  // It has just been rewritten, but the lock knows whose files these are.
  expect(verb.stderr).toContain(`those of pid ${first.pid} that was killed; its workers may serve on`)

  const second = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    runtimeDir: first.runtimeDir,
  })
  expect(readFileSync(join(second.directory, 'pid'), 'utf8')).toBe(`${second.pid}\n`)
  await second.stop()
})

test('no launcher: exit 3, with every place that was searched', async () => {
  const cwd = temporaryDirectory()
  for (const verb of ['reload', 'status', 'stop']) {
    const run = await runCli([verb, '--name', 'nobody'], {
      cwd,
      env: { XDG_RUNTIME_DIR: '/run/user/77777', RUNTIME_DIRECTORY: '/run/svc:/run/other' },
    })
    expect(run).toMatchObject({ code: 3, stdout: '' })
    for (const place of [
      '/run/svc/nobody',
      '/run/user/77777/reuseport-run/nobody',
      `/tmp/reuseport-run-${process.getuid?.()}/nobody`,
    ])
      expect(run.stderr).toContain(place)
  }
})

test('a relative XDG_RUNTIME_DIR is passed over, as its rules want it (H-08)', async () => {
  const run = await runCli(['status', '--name', 'nobody'], {
    cwd: temporaryDirectory(),
    env: { XDG_RUNTIME_DIR: 'session', RUNTIME_DIRECTORY: undefined },
  })
  expect(run).toMatchObject({ code: 3, stderr: expect.stringContaining('/tmp/reuseport-run-') })
  expect(run.stderr).not.toContain('session')
})

test('names that cannot name a launcher (H-06)', async () => {
  const versions = new Versions()
  const runtime = join(temporaryDirectory(), 'run')
  for (const name of ['', '.', '..', 'a/b', '../x', 'a b', 'a\nb', 'ä', 'x'.repeat(65)]) {
    const run = await tryStart(versions, 1, ['--runtime-dir', runtime, `--name=${name}`])
    expect({ name, code: run.code }).toEqual({ name, code: 2 })
    expect(run.stderr).toContain('cannot name a launcher')
  }
  expect(existsSync(runtime)).toBe(false)
})

test('a runtime directory that others can write to, or that is none, is refused with the reason (H-07, H-12, S-01)', async () => {
  const versions = new Versions()
  const base = temporaryDirectory()
  const refused = async (place: string, reason: string): Promise<void> => {
    const run = await tryStart(versions, 1, ['--runtime-dir', place, '--name', 'x'])
    expect({ place, ...run }).toMatchObject({ code: 1, stderr: expect.stringContaining('ERR_RUNTIME_DIR') })
    expect(run.stderr).toContain(reason)
    expect(run.stderr).not.toContain('    at ')
  }
  await refused(makeDirectory(join(base, 'group'), 0o770), 'may be written by others (mode 770)')
  await refused(makeDirectory(join(base, 'sticky'), 0o1777), 'may be written by others (mode 1777)')
  symlinkSync(makeDirectory(join(base, 'real'), 0o700), join(base, 'link'))
  await refused(join(base, 'link'), 'ENOTDIR')
  writeFileSync(join(base, 'file'), '')
  await refused(join(base, 'file'), 'ENOTDIR')

  // The launcher's own directory, planted.
  const parent = makeDirectory(join(base, 'parent'), 0o700)
  symlinkSync(join(base, 'real'), join(parent, 'x'))
  await refused(parent, 'is not a directory')
  const open = makeDirectory(join(base, 'open'), 0o700)
  makeDirectory(join(open, 'x'), 0o755)
  await refused(open, 'is open to others (mode 755)')
  // Its lock, planted: a link to a file that must not be written to.
  const locked = makeDirectory(join(base, 'locked'), 0o700)
  mkdirSync(join(locked, 'x'), { mode: 0o700 })
  symlinkSync(join(base, 'file'), join(locked, 'x', 'lock'))
  await refused(locked, 'lock')
  expect(readFileSync(join(base, 'file'), 'utf8')).toBe('')
  if (!isRoot) return
  const foreign = makeDirectory(join(base, 'foreign'), 0o755)
  chownSync(foreign, 65_534, 65_534)
  await refused(foreign, 'is owned by uid 65534')
  const theirs = makeDirectory(join(base, 'theirs'), 0o700)
  chownSync(makeDirectory(join(theirs, 'x'), 0o700), 65_534, 65_534)
  await refused(theirs, 'is owned by uid 65534')
  const beside = makeDirectory(join(base, 'beside'), 0o777)
  await refused(makeDirectory(join(beside, 'ours'), 0o700), `${beside} may be written by others (mode 777)`)
  const below = makeDirectory(join(foreign, 'between'), 0o755)
  await refused(makeDirectory(join(below, 'ours'), 0o700), `${foreign} is owned by uid 65534`)
  symlinkSync(below, join(base, 'way'))
  await refused(join(base, 'way', 'ours'), `${foreign} is owned by uid 65534`)
})

test('a path that is too long for a unix socket is said so, and leaves nothing (F-07)', async () => {
  const versions = new Versions()
  const base = temporaryDirectory()
  for (const [bytes, code] of [
    [108, 1],
    [107, 0],
  ] as const) {
    // <place>/x/control.sock
    const place = join(base, 'd'.repeat(bytes - base.length - '/'.length - '/x/control.sock'.length))
    const run = await tryStart(versions, await freePort(), ['--runtime-dir', place, '--name', 'x'])
    expect({ bytes, ...run }).toMatchObject({ code })
    if (code === 1) expect(run.stderr).toMatch(/longer than 107 bytes[\s\S]*shorter --runtime-dir/)
    expect(existsSync(place) ? readdirSync(place) : []).toEqual([])
  }
})

test('a relative --runtime-dir is found by workers that are elsewhere, and by the verbs', async () => {
  const port = await freePort()
  const versions = new Versions()
  mkdirSync(join(versions.directory, 'below'))
  writeFileSync(join(versions.directory, 'below', 'version'), 'one')
  const launcher = await startLauncher({
    command: ['sh', '-c', 'cd below && exec "$@"', 'sh', ...versions.command(port)],
    cwd: versions.directory,
    options: ['--runtime-dir', 'run'],
    name: null,
  })
  const log = await launcher.event('launcher.started')
  expect(log['control']).toMatch(new RegExp(`^${versions.directory}/run/`))
  const run = await runCli(['reload', '--runtime-dir', './run'], { cwd: versions.directory })
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect((await runCli(['stop', '--runtime-dir', 'run'], { cwd: versions.directory })).code).toBe(0)
  expect(readdirSync(join(versions.directory, 'run'))).toEqual([])
})

test('its control socket is removed while it runs: signals are heard, a second start is refused (H-03)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  rmSync(join(launcher.directory, 'control.sock'))
  versions.deploy('two')
  launcher.kill('SIGHUP')
  await launcher.event('reload.retired')
  expect(await ask(port, '/version')).toBe('two')
  const place = ['--runtime-dir', launcher.runtimeDir, '--name', launcher.name]
  const second = await runCli([...place, '--', ...versions.command(port)], { cwd: versions.directory })
  expect(second).toMatchObject({ code: 75, stderr: expect.stringContaining(`runs already (pid ${launcher.pid}, `) })
  expect(await runCli(['reload', ...place], { cwd: versions.directory })).toMatchObject({ code: 3 })
  await launcher.stop()
})

test.each(['flock:error=ENOLCK', 'bind:error=EOPNOTSUPP'])(
  'a file system without locks, or without sockets: refused with what the system says (%s) (H-10)',
  async (what) => {
    const [port, versions, directory] = [await freePort(), new Versions(), join(temporaryDirectory(), 'run')]
    const run = await runCli(['--runtime-dir', directory, '--name', 'x', '--', ...versions.command(port)], {
      cwd: versions.directory,
      under: ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `inject=${what}`],
    })
    const [call, code] = what.split(':error=')
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining(`ERR_RUNTIME_DIR: cannot use ${directory}`) })
    expect(run.stderr).toMatch(new RegExp(`${call} .*${code === 'ENOLCK' ? 'No locks available' : 'not supported'}`))
  },
)

test('a read-only file system for the runtime directory is said so, wherever its path ends (G-08, M-02)', async () => {
  if (!isRoot) return
  const place = makeDirectory(join(temporaryDirectory(), 'ro'), 0o700)
  for (const below of ['', 'sub', 'sub/sub']) {
    const run = await runCli(['--runtime-dir', join(place, below), '--name', 'x', '--', 'true'], {
      under: ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o ro,mode=700 none ${place}; exec "$@"`, 'sh'],
    })
    expect({ below, ...run }).toMatchObject({ code: 1, stderr: expect.stringMatching(/ERR_RUNTIME_DIR: .*EROFS/) })
  }
})

test('the files have their modes whatever the umask (H-09, S-02)', async () => {
  const versions = new Versions()
  const others = { '000': ['640', '644', '777'], '022': ['640', '644', '755'], '077': ['600', '600', '700'] }
  for (const umask of ['000', '022', '077', '777']) {
    const port = await freePort()
    const open = temporaryDirectory()
    const files = ['log', 'pid', 'page.sock'].map((name) => join(open, name)) as [string, string, string]
    const launcher = new TestLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['--log-file', files[0], '--pid-file', files[1], '--metrics', `unix:${files[2]}`],
      under: ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'],
    })
    await until('it serves', () => existsSync(files[0]) && readFileSync(files[0], 'utf8').includes('launcher.serving'))
    const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)
    const mode = (name: string): string => modeOf(join(launcher.directory, name))
    expect({ umask, modes: ['', 'lock', 'control.sock', 'channel.sock', 'pid', 'notes'].map(mode) }).toEqual({
      umask,
      modes: ['700', '600', '600', '600', '644', '600'],
    })
    // They are for others as the umask says, and always for their owner.
    expect({ umask, modes: files.map(modeOf) }).toEqual({
      umask,
      modes: others[umask as keyof typeof others] ?? ['600', '600', '600'],
    })
    // The program's own is as it was.
    const status = readFileSync(`/proc/${(await launcher.pids())[0]}/status`, 'utf8')
    expect(status).toContain(`Umask:\t0${umask}`)
    await launcher.stop()
  }
})

test('the places are tried in order: a directory that cannot be used is passed over (G-08, H-08)', async () => {
  const versions = new Versions()
  const base = temporaryDirectory()
  chmodSync(base, 0o700)
  const bad = makeDirectory(join(base, 'bad'), 0o777)
  const session = makeDirectory(join(base, 'session'), 0o700)
  const port = await freePort()
  const env = { RUNTIME_DIRECTORY: bad, XDG_RUNTIME_DIR: session }
  const child = runCli(['--name', 'x', '--', ...versions.command(port)], {
    cwd: versions.directory,
    env,
    started: (launcher) =>
      launcher.stderr?.on('data', async (data) => {
        if (!String(data).includes('launcher.serving')) return
        expect(readdirSync(join(session, 'reuseport-run', 'x'))).toContain('lock')
        // A verb that looks in the same places finds it.
        expect((await runCli(['stop', '--name', 'x'], { cwd: versions.directory, env })).code).toBe(0)
      }),
  })
  expect((await child).code).toBe(0)
  expect(childrenOf(process.pid).filter(({ command }) => command.includes('versioned'))).toEqual([])
})

test('a full file system for the runtime directory is an error that says so, at each of its files (G-07, G-09)', async () => {
  if (!isRoot) return
  const versions = new Versions()
  const place = makeDirectory(join(temporaryDirectory(), 'full'), 0o700)
  const outcomes = new Set<number | null>()
  // Inodes: the root, <name>, lock, pid, channel.sock, control.sock; then a whole page for what is written.
  for (const inodes of [1, 2, 3, 4, 5, 6]) {
    // A mount namespace of its own; what is left is seen before it ends.
    const script = `mount -t tmpfs -o nr_inodes=${inodes},mode=700 none ${place}; "$@"; code=$?; ls -A ${place}; exit $code`
    const run = await runCli(['--runtime-dir', place, '--name', 'x', '--', ...versions.command(await freePort())], {
      cwd: versions.directory,
      under: ['unshare', '-m', 'sh', '-c', script, 'sh'],
      started: (child) =>
        child.stderr?.on('data', (data) => {
          const pid = /launcher\.started .*pid=(\d+)/.exec(String(data))?.[1]
          if (pid !== undefined) process.kill(Number(pid), 'SIGTERM')
        }),
    })
    outcomes.add(run.code)
    expect({ inodes, stdout: run.stdout }).toEqual({ inodes, stdout: '' })
    if (run.code !== 0) expect(run.stderr).toMatch(/^reuseport-run: ERR_RUNTIME_DIR: .*ENOSPC.*\n {2}Give a directory/)
  }
  expect(outcomes).toEqual(new Set([1, 0]))
})
