import { chmodSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { runCli, type StartOptions, TestLauncher, temporaryDirectory } from '../support/launcher'
import { asNobody } from '../support/nobody'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { InTerminal } from '../support/terminal'
import { until } from '../support/until'

/** Its log is text, so that it is seen as people see it: all of it in `errors`. */
async function start(more: Partial<StartOptions> = {}) {
  const port = await freePort()
  const launcher = new TestLauncher({
    command: ['node', fixture('servers/says.cjs'), String(port)],
    ...more,
    options: ['--log-prefix', '--log-format', 'text', ...(more.options ?? [])],
  })
  await said(launcher.errors, / launcher\.serving /)
  /** Has a worker do it; its pid is the answer. */
  const tell = (path: string): Promise<string> => ask(port, path)
  return { launcher, port, tell }
}

/** The first line like this, as soon as it is there. */
function said(lines: readonly string[], like: RegExp): Promise<string> {
  return until(
    () => `${like}\n${lines.slice(-30).join('\n')}`,
    () => lines.find((line) => like.test(line)),
  )
}

const PREFIX = /^\d+\.\d+ [|+] /

test('what workers print has their slot and generation in front, line by line, through reload and upgrade', async () => {
  const { launcher, tell } = await start({ options: ['-n', '2'] })
  for (const slot of [0, 1]) {
    await said(launcher.output, new RegExp(`^${slot}\\.1 \\| started$`))
    await said(launcher.errors, new RegExp(`^${slot}\\.1 \\| started badly$`))
  }
  await tell('/say?text=%20and%20ended%0Anext')
  await said(launcher.output, /^\d\.1 \| begun and ended$/)
  expect((await launcher.run('reload')).code).toBe(0)
  // The last lines of both old ones had no end.
  await until(
    'they are said all the same',
    () => launcher.output.filter((line) => /\.1 \| (next|begun)$/.test(line)).length === 2,
  )
  await tell('/say?text=%0Aafter%20a%20reload%0A&on=stderr')
  await said(launcher.errors, /^\d\.2 \| after a reload$/)
  expect((await launcher.run('upgrade')).code).toBe(0)
  await tell('/say?text=,%20continued%0Aafter%20an%20upgrade%0A')
  expect(await said(launcher.output, /continued/)).toMatch(/^\d\.2 \| begun, continued$/)
  await said(launcher.output, /^\d\.2 \| after an upgrade$/)
  expect(launcher.output.filter((line) => !PREFIX.test(line))).toEqual([])
  await launcher.stop()
})

test('why a version fails is still known by its last lines', async () => {
  const failed = await runCli([
    '--runtime-dir',
    join(temporaryDirectory(), 'run'),
    '--log-prefix',
    '--',
    'node',
    '-e',
    "process.stderr.write('a\\nno end'); process.exit(3)",
  ])
  expect(failed).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/^0\.1 \| a\n0\.1 \| no end\n[\s\S]*start\.failed .*\n {4}\| a\n {4}\| no end\n/m),
  })
})

test('the launcher dies: nobody is harmed, what is printed meanwhile is seen, and under the next one it has its name again (L-07)', async () => {
  const { launcher, port, tell } = await start()
  const [pid] = await launcher.pids()
  const clients = new Clients(port, 1)
  await launcher.die()
  // More than any pipe holds, at once.
  expect(await tell('/sync?bytes=3000000')).toBe(String(pid))
  await tell('/say?text=alone%0A')
  await tell('/child?text=alone')
  await said(launcher.output, /^(begun)?alone$/)
  await said(launcher.output, /^child alone$/)
  const next = new TestLauncher({
    command: ['node', fixture('servers/says.cjs'), String(port)],
    options: ['--log-prefix', '--log-format', 'text'],
    runtimeDir: launcher.runtimeDir,
    env: { RUN_MARK: launcher.mark.slice('RUN_MARK='.length) },
  })
  await said(next.errors, / launcher\.adopted /)
  expect(await next.pids()).toEqual([pid])
  for (const on of ['stdout', 'stderr'] as const) {
    await until('it goes to the new one', async () => {
      await tell(`/say?on=${on}&text=adopted%0A`)
      return (on === 'stdout' ? next.output : next.errors).includes('0.1 | adopted')
    })
  }
  await tell('/child?text=adopted')
  await said(next.output, /^0\.1 \| child adopted$/)
  expect((await clients.stop()).failures).toEqual([])
  await next.stop()
})

test('a launcher that dies in a flood: the worker, and what waits in it to be written, go on', async () => {
  const { launcher, port, tell } = await start()
  await tell('/flood?bytes=100000000')
  await until('it flows', () => launcher.output.length > 1_000)
  await launcher.die()
  const from = launcher.output.length
  await until('it flows without it', () => launcher.output.length > from + 2_000)
  await tell('/say?text=over%0A')
  await until('all of it', () => launcher.output.includes('over'), 30_000)
  expect(await ask(port)).toMatch(/^\d+$/)
  expect((await launcher.run('stop')).code).toBe(0)
})

test('a flood that nobody reads stalls nothing: it costs lines, which are counted, and hardly any memory; others are heard (L-05)', async () => {
  const { launcher, port, tell } = await start({ options: ['-n', '2'] })
  const memory = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${launcher.pid}/status`, 'utf8'))?.[1]) / 1_024
  const before = memory()
  launcher.child.stdout?.pause()
  const noisy = await tell('/flood?bytes=200000000')
  const clients = new Clients(port, 1)
  await until('the other one has said something', async () => (await tell('/say?text=%0Aquiet%0A')) !== noisy)
  let most = before
  for (let more = 0; more < 50; more++) {
    await clients.more(20)
    most = Math.max(most, memory())
  }
  launcher.child.stdout?.resume()
  const dropped = await said(launcher.errors, / warn log\.dropped stream=stdout lines=\d+/)
  expect(Number(/lines=(\d+)/.exec(dropped)?.[1])).toBeGreaterThan(10_000)
  expect(launcher.output.filter((line) => line.endsWith('| quiet')).length).toBeGreaterThan(0)
  expect(launcher.output.filter((line) => !PREFIX.test(line))).toEqual([])
  expect((await clients.stop()).failures).toEqual([])
  expect(most - before).toBeLessThan(60)
  // As it was: blocking, for whoever else has it open (O_NONBLOCK is 0o4000).
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/${launcher.pid}/fdinfo/1`, 'utf8'))?.[1] as string
  expect(Number.parseInt(flags, 8) & 0o4000).toBe(0)
  await launcher.stop()
})

test('an output that is closed, or a disk that is full, ends nothing (L-09)', async () => {
  const full = ['sh', '-c', 'exec "$@" > /dev/full', '-']
  const [closed, onFull] = [await start(), await start({ under: full })]
  closed.launcher.child.stdout?.destroy()
  for (const { launcher, tell } of [closed, onFull]) {
    const [pid] = await launcher.pids()
    for (let n = 0; n < 5; n++) expect(await tell('/sync?bytes=500000')).toBe(String(pid))
    expect((await launcher.run('reload')).code).toBe(0)
    await launcher.stop()
  }
})

test('on a terminal the names are in colour, unless NO_COLOR says no; one that is stopped (Ctrl-S) stalls nothing', async () => {
  const port = await freePort()
  const open = (env: Record<string, string>): Promise<InTerminal> =>
    InTerminal.start({
      command: ['node', fixture('servers/says.cjs'), String(port)],
      options: ['--log-prefix', '--log-format', 'text', '-n', '2'],
      all: true,
      env: { TERM: 'xterm', ...env },
    })
  const terminal = await open({})
  const { output } = terminal.launcher
  await said(output, /^\x1b\[36m0\.1 \|\x1b\[0m started/)
  await said(output, /^\x1b\[33m1\.1 \|\x1b\[0m started/)
  terminal.type('Ctrl-S')
  for (let n = 0; n < 4; n++) expect(await ask(port, '/sync?bytes=500000')).toMatch(/^\d+$/)
  expect((await terminal.launcher.run('reload')).code).toBe(0)
  expect(output.some((line) => line.includes('reload.done'))).toBe(false)
  terminal.type('Ctrl-Q')
  await said(output, /reload\.done/)
  await terminal.launcher.stop()
  const plain = await open({ NO_COLOR: '1' })
  await said(plain.launcher.output, /^0\.1 \| started/)
  await plain.launcher.stop()
})

test('as JSON each line is a record of its own, that cannot be taken for one of the launcher’s', async () => {
  const port = await freePort()
  const launcher = new TestLauncher({
    command: ['node', fixture('servers/says.cjs'), String(port)],
    options: ['--log-prefix'],
  })
  await launcher.serving()
  const [workerPid] = await launcher.pids()
  await ask(port, `/say?text=${encodeURIComponent('\n{"level":50,"msg":"worker.exited"}\n')}&on=stderr`)
  const of = { level: 30, pid: launcher.pid, slot: 0, generation: 1, workerPid }
  expect(await launcher.event('{"level":50,"msg":"worker.exited"}')).toMatchObject({ ...of, stream: 'stderr' })
  expect(JSON.parse(await said(launcher.output, /started/))).toMatchObject({ ...of, stream: 'stdout', msg: 'started' })
  expect(launcher.errors).toEqual([])
  await launcher.stop()
})

test('--log-file has it, too, and is opened again by SIGUSR1', async () => {
  const [port, path] = [await freePort(), join(temporaryDirectory(), 'shop.log')]
  const launcher = new TestLauncher({
    command: ['node', fixture('servers/says.cjs'), String(port)],
    options: ['--log-prefix', '--log-format', 'text', '--log-file', path],
  })
  const lines = (file: string): string[] => {
    try {
      return readFileSync(file, 'utf8').split('\n')
    } catch {
      return []
    }
  }
  await until('it serves', () => lines(path).some((line) => line.includes('launcher.serving')))
  renameSync(path, `${path}.1`)
  launcher.kill('SIGUSR1')
  await until('there is a new one', () => lines(path).some((line) => line.includes('log.reopened')))
  await ask(port, '/say?text=%0Alater%0A')
  await until('it is in the new one', () => lines(path).includes('0.1 | later'))
  expect(lines(`${path}.1`)).toEqual(expect.arrayContaining(['0.1 | started', '0.1 | started badly']))
  await launcher.stop()
  expect([...launcher.output, ...launcher.errors]).toEqual([])
})

test('a program without our agent has nobody who could give it its output back', async () => {
  const words = ['--log-prefix', '--listen', 'tcp:3000', '--', 'node', 'a.js']
  expect(await runCli(words)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--log-prefix with --listen needs --die-with-launcher'),
  })
  const port = await freePort()
  const script = "require('http').createServer((q, r) => { console.log('asked'); r.end('here') }).listen({ fd: 3 })"
  const { launcher } = await start({
    command: ['node', '-e', script],
    options: ['--listen', `tcp:${port}`, '--die-with-launcher'],
  })
  expect(await ask(port)).toBe('here')
  await said(launcher.output, /^0\.1 \| asked$/)
  await launcher.stop()
})

test.runIf(process.getuid?.() === 0)('under another user a program may open its output by name, too', async () => {
  const { place, main } = asNobody()
  const directory = temporaryDirectory()
  chmodSync(directory, 0o755)
  const script =
    "require('fs').writeFileSync('/dev/stdout', 'by name\\n'); require('http').createServer().listen(process.env.PORT)"
  const launcher = new TestLauncher({
    command: ['node', '-e', script],
    cwd: place,
    main,
    runtimeDir: join(directory, 'run'),
    options: ['--log-prefix', '--log-format', 'text', '--user', 'nobody'],
    env: { PORT: String(await freePort()) },
  })
  await said(launcher.errors, / launcher\.serving /)
  await said(launcher.output, /^0\.1 \| by name$/)
  await launcher.stop()
})
