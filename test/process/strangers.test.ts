import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Native } from '../../src/native'
import { runCli, startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { listeningInodes } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

const { native } = createRequire(import.meta.url)('../../dist/native.js') as { native: () => Native }

/** This process becomes the stranger. */
function listenBeside(host: string, port: number): { leave: () => void } {
  const fd = native().socket(host.includes(':') ? 'inet6' : 'inet', 'stream')
  let isOpen = true
  const leave = (): void => {
    if (isOpen) native().close(fd)
    isOpen = false
  }
  onTestFinished(leave)
  native().setOption(fd, 'reusePort', 1)
  native().bindInet(fd, host, port)
  native().listen(fd, 16)
  return { leave }
}

function start(port: number, options: readonly string[] = []): Promise<TestLauncher> {
  const versions = new Versions()
  return startLauncher({ command: versions.command(port), cwd: versions.directory, options: ['-n', '2', ...options] })
}

const me = `pid ${process.pid} \\(.*\\) listens on port \\d+, too, and`

test('who listens beside us is named in status, for as long as it does (E-08, F-03)', async () => {
  const port = await freePort()
  const launcher = await start(port)
  const codes = async (): Promise<string[]> => (await launcher.status()).warnings.map(({ code }) => code)
  expect(await codes()).toEqual(['readiness-weak'])
  const member = listenBeside('::', port)
  const another = listenBeside('::', port)
  const inside = listenBeside('127.0.0.1', port)
  const warnings = (await launcher.status()).warnings.filter(({ code }) => code !== 'readiness-weak')
  expect(warnings.map(({ code }) => code)).toEqual(['port-shared', 'port-shared'])
  expect(warnings.map(({ text }) => text).sort()).toEqual([
    expect.stringMatching(new RegExp(`${me} gets a share of the new connections`)),
    expect.stringMatching(new RegExp(`${me} gets every connection to the address that is named there`)),
  ])
  for (const { leave } of [member, another, inside]) leave()
  expect(await codes()).toEqual(['readiness-weak'])
  await launcher.stop()
  expect(launcher.events.filter(({ msg }) => msg === 'port.shared')).toEqual([])
})

test('and in the log when it was there first (F-03)', async () => {
  const port = await freePort()
  const { leave } = listenBeside('::', port)
  const launcher = await start(port)
  expect(await launcher.event('port.shared')).toMatchObject({ text: expect.stringMatching(new RegExp(me)) })
  leave()
  await launcher.stop()
})

test('no socket leaves its group while a stranger is in it', async () => {
  const port = await freePort()
  const launcher = await start(port, ['--park', '50ms'])
  const { leave } = listenBeside('::', port)
  await (await launcher.control()).scale({ to: 1 })
  expect(await launcher.event('socket.held')).toMatchObject({ slot: 1, holders: [], shared: true })
  expect(listeningInodes(port)).toHaveLength(3)
  leave()
  await launcher.event('socket.closed')
  expect(listeningInodes(port)).toHaveLength(1)
  await launcher.stop()
})

test('no canary beside a stranger: its share would not be certain', async () => {
  const port = await freePort()
  const launcher = await start(port)
  const { leave } = listenBeside('::', port)
  expect(await launcher.run('reload', '--canary', '10%')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^reuseport-run: ERR_CANARY: another process listens on one of our ports/),
  })
  leave()
  expect((await launcher.status()).generations).toHaveLength(1)
  await launcher.stop()
})

const BESIDE = `
import socket, errno, sys
one = socket.socket()
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
try:
    one.bind(('0.0.0.0', int(sys.argv[1])))
    one.listen(16)
    print('listens', flush=True)
    sys.stdin.read()
except OSError as error:
    print(errno.errorcode[error.errno])`

test.runIf(process.geteuid?.() === 0)(
  'another user can neither join us nor be joined, with SO_REUSEPORT too (F-02)',
  async () => {
    const port = await freePort()
    const other = async (): Promise<{ pid: number | undefined; said: string }> => {
      const words = ['--reuid=65534', '--regid=65534', '--clear-groups', 'python3', '-c', BESIDE, String(port)]
      // Not what root alone has in its PATH.
      const env = { PATH: '/usr/local/bin:/usr/bin:/bin' }
      const child = spawn('setpriv', words, { env, stdio: ['pipe', 'pipe', 'inherit'] })
      onTestFinished(() => void child.kill('SIGKILL'))
      let said = ''
      child.stdout.on('data', (data) => {
        said += data
      })
      await until('it says what became of it', () => said.endsWith('\n'))
      return { pid: child.pid, said }
    }
    const launcher = await start(port)
    expect(await other()).toMatchObject({ said: 'EADDRINUSE\n' })
    await launcher.stop()

    const first = await other()
    expect(first.said).toBe('listens\n')
    const versions = new Versions()
    const run = await runCli(['--runtime-dir', join(temporaryDirectory(), 'run'), '--', ...versions.command(port)], {
      cwd: versions.directory,
    })
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining(`in use: held by pid ${first.pid}`) })
  },
)
