import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { askJson } from '../support/clients'
import { MAIN, type Run, runCli, startLauncher, temporaryDirectory } from '../support/launcher'
import { asNobody, UNDER_NOBODY } from '../support/nobody'
import { ROOT, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

const isRoot = process.geteuid?.() === 0

/** A command line that cannot work: exit code, one paragraph on stderr, nothing on stdout, no trace on the disk. */
async function refused(words: readonly string[], more: Parameters<typeof runCli>[1] = {}): Promise<Run> {
  const runtime = join(temporaryDirectory(), 'run')
  const cwd = more.cwd ?? temporaryDirectory()
  const run = await runCli(words, { ...more, cwd, env: { RUNTIME_DIRECTORY: runtime, ...more.env } })
  expect(run.stdout).toBe('')
  // No error of ours comes as a stack.
  expect(run.stderr).not.toMatch(/ at .*dist\/(cli|launcher)/)
  expect(existsSync(runtime) ? readdirSync(runtime) : []).toEqual([])
  return run
}

const node = [TEST_NODE, '-e', '0']

test.each([
  [
    ['--worker', '2', '--', ...node],
    /^reuseport-run: ERR_USAGE: unknown option --worker; did you mean --workers\?\n.*--help/,
  ],
  [['--ready-timout=5s', '--', ...node], /unknown option --ready-timout; did you mean --ready-timeout\?/],
  [['--xyzzy', '--', ...node], /unknown option --xyzzy\n/],
  [['-x', '--', ...node], /unknown option -x/],
  [['-p', '3000', '--', ...node], /unknown option -p/],
  [['reload', '--jsno'], /unknown option --jsno; did you mean --json\?/],
  [['reload', '--workers', '3'], /--workers is no option of reload; it belongs to start, verify/],
  [['status', '--wait=retired'], /--wait is no option of status; it belongs to reload/],
  [[], /no command to run\n.*reuseport-run -n 2 -- node app\.js/],
  [['-n', '2'], /no command to run/],
  [['-n', '2', '--'], /no command to run/],
  [['-n', '0', '--', ...node], /--workers "0" is no number of workers/],
  [['-n', '-1', '--', ...node], /-n/],
  [['-n', '2.5', '--', ...node], /--workers "2\.5"/],
  [['-n', '1e3', '--', ...node], /--workers "1e3"/],
  [['-n', '9999', '--', ...node], /--workers "9999".*\n.*1 to 1024, or max/],
  [['-n', 'two', '--', ...node], /--workers "two"/],
  [['-n'], /-n/],
  [['--ports', '0', '--', ...node], /"0" is no port/],
  [['--ports', '3000,', '--', ...node], /"" is no port/],
  [['--ports', '70000', '--', ...node], /"70000" is no port/],
  [['--ports', 'http', '--', ...node], /"http" is no port/],
  [['--ready-timeout', 'soon', '--', ...node], /--ready-timeout "soon" is no time\n.*500ms, 30s/],
  [['--ready-timeout', '-5s', '--', ...node], /ready-timeout/],
  [['--drain-timeout', '40d', '--', ...node], /--drain-timeout "40d"/],
  [['--kill-after', '999999h', '--', ...node], /--kill-after "999999h"/],
  [['--kill-after=', '--', ...node], /--kill-after ""/],
  [['--websocket', 'drop', '--', ...node], /--websocket "drop" is neither close nor keep/],
  [['--drain-spread', 'wide', '--', ...node], /--drain-spread "wide" is no time/],
  [['--stop-signal', 'SIGKILL', '--', ...node], /--stop-signal "SIGKILL" is none of SIGTERM, SIGINT/],
  [['--stop-signal', '15', '--', ...node], /--stop-signal "15" is none of/],
  [['--compat', 'pm2', '--standby', '1', '--', ...node], /--standby and --compat pm2 exclude each other/],
  [['--instance-var', '1ST', '--', ...node], /--instance-var "1ST" is no name of a variable/],
  [['--compat', 'forever', '--', ...node], /--compat "forever" is not pm2/],
  [['--log-format', 'xml', '--', ...node], /--log-format "xml" is neither text nor json/],
  [['--help=yes', '--', ...node], /help/],
  [['reload', '--wait', 'forever'], /--wait "forever" is none of admitted, baked, retired/],
  [['reload', '--no-wait=1'], /no-wait/],
  [['reload', '--no-wait', '--wait', 'retired'], /--wait and --no-wait cannot both be meant/],
  [['reload', '--timeout', 'x'], /--timeout "x" is no time/],
  [['stop', 'now'], /stop takes no argument: now\n.*reuseport-run -- stop/],
  [['reload', 'now'], /reload takes no argument: now/],
] as const)('usage: %j', async (words, message) => {
  const run = await refused(words)
  expect(run.code).toBe(2)
  expect(run.stderr).toMatch(message)
})

test('WEB_CONCURRENCY that is no number is a usage error too', async () => {
  const run = await refused(['--', ...node], { env: { WEB_CONCURRENCY: 'many' } })
  expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('WEB_CONCURRENCY "many"') })
})

test('a command that is not found is 127, one that cannot be executed 126, both with the path (A-01)', async () => {
  const cwd = temporaryDirectory()
  for (const name of ['plain', 'server.js']) writeFileSync(join(cwd, name), 'text')
  mkdirSync(join(cwd, 'bin'))
  writeFileSync(join(cwd, 'bin', 'tool'), 'text')
  writeFileSync(join(cwd, 'orphan'), '#!/no/such/interpreter\n')
  chmodSync(join(cwd, 'orphan'), 0o755)
  writeFileSync(join(cwd, 'noformat'), Buffer.from([0, 1, 2, 3]))
  chmodSync(join(cwd, 'noformat'), 0o755)
  const PATH = `${join(cwd, 'bin')}:/usr/bin:/bin`
  for (const [command, code, ...parts] of [
    ['no-such-program', 127, 'command not found', join(cwd, 'bin'), '/usr/bin'],
    // Named as if it were one: what would run it.
    ['server.js', 127, 'command not found\n  For the file that lies here: node server.js. Looked in '],
    ['plain', 127, 'For the file that lies here: ./plain. '],
    ['./missing', 127, join(cwd, 'missing')],
    ['/no/where/node', 127, '/no/where/node'],
    // As a shell would take it: a verb's name after -- is a program.
    ['reload', 127, 'command not found'],
    ['./plain', 126, join(cwd, 'plain'), 'chmod +x'],
    ['tool', 126, join(cwd, 'bin', 'tool')],
    ['./bin', 126, join(cwd, 'bin'), 'directory'],
    ['./orphan', 127, join(cwd, 'orphan')],
    ['./noformat', 126, join(cwd, 'noformat')],
  ] as const) {
    const run = await refused(['--', command], { cwd, env: { PATH } })
    expect({ command, code: run.code, stderr: run.stderr }).toMatchObject({ command, code })
    for (const part of parts) expect(run.stderr).toContain(part)
  }
})

test('a misspelt verb was taken for a program; if there is none, the verb is named', async () => {
  const words: [string, string | undefined][] = [
    ['relaod', 'reload'],
    ['statu', 'status'],
    ['verfiy', 'verify'],
    ['no-such-program', undefined],
    ['stat-us', 'status'],
  ]
  for (const [word, verb] of words) {
    const { code, stderr } = await refused([word])
    expect({ word, code }).toEqual({ word, code: 127 })
    expect(/Did you mean the verb (\w+)\? Looked in /.exec(stderr)?.[1], word).toBe(verb)
  }
})

test('a directory that stands in PATH twice is named once', async () => {
  const { stderr } = await refused(['no-such-program'], { env: { PATH: '/bin:/usr/bin:/bin' } })
  expect(stderr).toContain('Looked in /bin, /usr/bin.')
})

test('a working directory that is gone is named', async () => {
  const cwd = join(temporaryDirectory(), 'gone')
  mkdirSync(cwd)
  const script = `rmdir ${cwd}; exec "$@"`
  const run = await refused(['--', 'true'], { cwd, under: ['sh', '-c', script, 'sh'] })
  expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/ERR_WORKING_DIRECTORY: .*\/gone/) })
})

async function listening(port: number, host?: string): Promise<Server> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(port, host, () => done()))
  onTestFinished(() => new Promise<void>((done) => void server.close(() => done())))
  return server
}

test('a port that is in use: the pid and the name of who holds it (F-01)', async () => {
  const port = await freePort()
  await listening(port)
  const versions = new Versions()
  const name = readFileSync('/proc/self/comm', 'utf8').trim()
  const run = await refused(['-n', '2', '--', ...versions.command(port)], { cwd: versions.directory })
  expect(run.code).toBe(1)
  expect(run.stderr).toContain(`[::]:${port} is in use: held by pid ${process.pid} (${name})`)
  expect(run.stderr).toMatch(/start\.failed .*is in use/)
  // And what the program itself saw, as in plain Node.
  expect(run.stderr).toContain(`Error: listen EADDRINUSE: address already in use :::${port}`)
})

test('a port in use that only the new version wants: the reload says who holds it (F-01)', async () => {
  const [port, taken] = [await freePort(), await freePort()]
  await listening(taken)
  const versions = new Versions()
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  versions.deploy(`other-port ${taken}`)
  const { code, stdout, stderr } = await launcher.run('reload')
  expect({ code, stdout }).toEqual({ code: 4, stdout: '' })
  expect(stderr).toContain(`is in use: held by pid ${process.pid}`)
  expect(stderr).toContain('generation 1 serves on')
  // No arrow: nothing has gone from the one to the other.
  expect(stderr).toMatch(/slot 0: \d+, candidate \d+ {2}spawned/)
  await launcher.stop()
})

test('a port below 1024 without the right: what to do about it (F-04)', async () => {
  if (!isRoot) return
  const { place, runtime, main, server } = asNobody()
  const run = await runCli(['--runtime-dir', runtime, '--name', 't', '--', TEST_NODE, server, '81'], {
    cwd: place,
    main,
    under: UNDER_NOBODY,
  })
  expect(run).toMatchObject({ code: 1, stdout: '' })
  expect(run.stderr).toContain('this user may not listen on [::]:81')
  expect(run.stderr).toMatch(/CAP_NET_BIND_SERVICE.*ip_unprivileged_port_start=81/)
  expect(run.stderr).toContain('listen EACCES')
  expect(readdirSync(runtime)).toEqual([])
})

test('an address that this machine does not have (F-05)', async () => {
  const cwd = temporaryDirectory()
  const program = 'require("node:http").createServer().listen(8123, "192.0.2.77")'
  const run = await refused(['--', TEST_NODE, '-e', program], { cwd })
  expect(run.code).toBe(1)
  expect(run.stderr).toContain('192.0.2.77:8123')
  expect(run.stderr).toContain('EADDRNOTAVAIL')
  expect(run.stderr).toContain('no interface of this machine')
})

test('what follows the command is the command’s, its -h and --version too', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: [...versions.command(port), '-h', '--version', '--', '-n', '7', 'reload'],
    cwd: versions.directory,
  })
  expect(await askJson(port, '/argv')).toEqual([String(port), '-h', '--version', '--', '-n', '7', 'reload'])
  await launcher.stop()
})

test('without -- the first word begins the command', async () => {
  const port = await freePort()
  const versions = new Versions()
  const runtime = join(temporaryDirectory(), 'run')
  const words = ['--runtime-dir', runtime, '--name', 't', '-n', '2', ...versions.command(port), '--port', '3000', '-h']
  let argv: unknown
  const run = await runCli(words, {
    cwd: versions.directory,
    started: (child) =>
      child.stderr?.on('data', async (data) => {
        if (!String(data).includes('launcher.serving')) return
        argv = await askJson(port, '/argv')
        child.kill('SIGTERM')
      }),
  })
  expect(run).toMatchObject({ code: 0, stdout: '' })
  expect(argv).toEqual([String(port), '--port', '3000', '-h'])
})

test('help and version, for each verb', async () => {
  for (const words of [
    ['--help'],
    ['-h'],
    ['reload', '--help'],
    ['status', '-h'],
    ['stop', '--help'],
    ['verify', '-h'],
  ]) {
    const run = await runCli(words)
    expect({ words, code: run.code, stderr: run.stderr }).toEqual({ words, code: 0, stderr: '' })
    expect(run.stdout).toMatch(/reuseport-run[\s\S]*\nOther:\n/)
    for (const line of run.stdout.split('\n')) expect(line).not.toMatch(/\s$/)
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  expect(await runCli(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` })
  expect(readFileSync(MAIN, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
})
