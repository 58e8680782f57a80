import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients, inHand } from '../support/clients'
import { startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { factsOf } from '../support/processes'
import { InTerminal } from '../support/terminal'
import { until } from '../support/until'
import { Versions } from '../support/versions'

async function start(options: { all?: boolean; more?: readonly string[]; version?: string } = {}): Promise<{
  terminal: InTerminal
  port: number
  versions: Versions
}> {
  const port = await freePort()
  const versions = new Versions(options.version)
  const terminal = await InTerminal.start({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2', ...(options.more ?? [])],
    all: options.all ?? false,
  })
  return { terminal, port, versions }
}

test('Ctrl-C is for the launcher: each worker gets one stop signal and no other (K-01)', async () => {
  const port = await freePort()
  const file = join(temporaryDirectory(), 'signals')
  const terminal = await InTerminal.start({ command: ['node', fixture('servers/signalled.cjs'), String(port), file] })
  terminal.type('Ctrl-C')
  await terminal.launcher.leavesNothing()
  expect(readFileSync(file, 'utf8')).toBe('SIGTERM\n')
})

test('Ctrl-C once lets what is in hand be answered; twice cuts it after two seconds; three times at once (K-02)', async () => {
  const { terminal, port } = await start({ version: 'ignores-sigterm' })
  const { launcher } = terminal
  const { answer } = await inHand(port, 60_000)
  let pressedAt = 0
  for (const msg of ['launcher.stopping', 'launcher.stopping-now', 'launcher.stopped']) {
    // Presses that come sooner are one (src/ctrl-c.ts).
    await until('the last press is over', () => Date.now() - pressedAt > 550)
    pressedAt = Date.now()
    terminal.type('Ctrl-C')
    await launcher.event(msg)
  }
  expect(await answer).toBe('ECONNRESET')
  launcher.expectExit(130)
  await launcher.leavesNothing()
})

test('a terminal that closes stops in good order; SIGHUP by kill, in a terminal, reloads (K-04)', async () => {
  const { terminal, port } = await start()
  const { launcher } = terminal
  process.kill(terminal.pid, 'SIGHUP')
  await launcher.event('reload.done')
  const { answer } = await inHand(port, 700)
  terminal.shell('hang up')
  expect(await launcher.event('signal', ({ meaning }) => meaning === 'the terminal is gone: stop')).toBeDefined()
  expect(await answer).toMatch(/ end$/)
  await launcher.leavesNothing()
})

test('Ctrl-Z stops the launcher and no worker; fg and bg let it go on, and nobody hangs (K-05)', async () => {
  const { terminal, port } = await start({ more: ['--hang-timeout', '100ms', '--hang-kill', '200ms'] })
  const { launcher, pid } = terminal
  const clients = new Clients(port, 1)
  const pids = await launcher.pids()
  for (const way of ['fg', 'bg'] as const) {
    terminal.type('Ctrl-Z')
    await until('it stands still', () => factsOf(pid)?.state === 'T')
    await clients.more(100)
    const since = Date.now()
    await until('longer than a worker may hang', () => Date.now() - since > 500)
    for (const worker of pids) expect(factsOf(worker)?.state).not.toBe('T')
    const from = launcher.events.length
    terminal.shell(way)
    expect(await launcher.pids()).toEqual(pids)
    const back = Date.now()
    await until('beats have come', () => Date.now() - back > 400)
    expect(await launcher.pids()).toEqual(pids)
    expect(launcher.events.slice(from)).toEqual([])
    if (way === 'bg') break
  }
  for (const signal of ['SIGTTIN', 'SIGTTOU'] as const) {
    const from = launcher.events.length
    process.kill(pid, signal)
    expect(await launcher.event('signal', undefined, from)).toMatchObject({ meaning: 'none under a terminal' })
  }
  expect(await launcher.pids()).toEqual(pids)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('in the background of a terminal with tostop: neither the log nor what a worker prints stops anything (K-05)', async () => {
  const port = await freePort()
  const terminal = await InTerminal.start({
    command: ['node', fixture('servers/talks.cjs'), String(port)],
    options: ['-n', '2'],
    all: true,
  })
  const { launcher } = terminal
  terminal.shell('tostop')
  terminal.type('Ctrl-Z')
  await until('it stands still', () => factsOf(terminal.pid)?.state === 'T')
  terminal.shell('bg')
  for (let n = 0; n < 20; n++) expect(await ask(port)).toMatch(/^\d+$/)
  await until('a worker has printed', () => launcher.output.some((line) => line.includes('a request')))
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await until('the launcher has, too', () => launcher.output.some((line) => line.includes('"reload.done"')))
  for (const pid of [terminal.pid, ...(await launcher.pids())]) expect(factsOf(pid)?.state).not.toBe('T')
  await launcher.stop()
})

test('a stopped terminal (Ctrl-S) stalls nothing; what was said meanwhile is shown after Ctrl-Q (L-02)', async () => {
  const { terminal, port, versions } = await start({ all: true })
  const { launcher } = terminal
  const clients = new Clients(port, 1)
  terminal.type('Ctrl-S')
  // The candidates write more than a terminal takes.
  versions.deploy('talkative 200000')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  versions.deploy('exits-at-load 3')
  expect(await launcher.reload()).toMatchObject({ result: 'aborted' })
  const shown = launcher.output.length
  expect(launcher.output.some((line) => line.includes('"reload.done"'))).toBe(false)
  expect((await clients.stop()).failures).toEqual([])
  terminal.type('Ctrl-Q')
  await until('the rest is shown', () => launcher.output.slice(shown).some((line) => line.includes('"reload.aborted"')))
  await launcher.stop()
})

test('a stderr that nobody reads stalls nothing, and says how much was dropped when somebody reads again (L-01, L-05)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2'],
  })
  const clients = new Clients(port, 1)
  launcher.child.stderr?.pause()
  versions.deploy('talkative 3000000')
  for (let n = 0; n < 2; n++) expect(await launcher.reload()).toMatchObject({ result: 'done' })
  const asked = performance.now()
  await launcher.status()
  expect(performance.now() - asked).toBeLessThan(2_000)
  expect((await clients.stop()).failures).toEqual([])
  launcher.child.stderr?.resume()
  expect(await launcher.event('log.dropped')).toMatchObject({ lines: expect.toSatisfy((lines) => lines > 10) })
  await launcher.stop()
})

test('a stderr that is closed (`| head -1`) ends nothing (K-06)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', '2'],
  })
  const clients = new Clients(port, 1)
  launcher.child.stdout?.destroy()
  launcher.child.stderr?.destroy()
  versions.deploy('two')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  versions.deploy('exits-at-load 3')
  expect(await launcher.reload()).toMatchObject({ result: 'aborted', reason: expect.stringContaining('code 3') })
  expect((await clients.stop()).failures).toEqual([])
  launcher.kill('SIGTERM')
  await launcher.leavesNothing()
  expect(existsSync(launcher.directory)).toBe(false)
})

test('it leaves its stdout and stderr as they were: blocking, for whoever else has them open (L-04)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const O_NONBLOCK = 0o4000
  for (const fd of [1, 2]) {
    const info = readFileSync(`/proc/${launcher.pid}/fdinfo/${fd}`, 'utf8')
    expect(Number.parseInt(/flags:\s+(\d+)/.exec(info)?.[1] as string, 8) & O_NONBLOCK, info).toBe(0)
  }
  await launcher.stop()
})
