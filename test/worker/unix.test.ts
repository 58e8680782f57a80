import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../support/until.js'
import { native, READABLE } from '../support/worker/addon.js'
import { askUnix } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rr-unix-'))
})
afterEach(async () => {
  await launcher.end()
  rmSync(directory, { recursive: true, force: true })
})

test('a path goes from generation to generation, whatever the programs unlink', async () => {
  launcher = new FakeLauncher()
  const path = join(directory, 'app.sock')
  const key = { kind: 'unix', path } as const
  const old = launcher.node(fixture('unix.mjs'), [path])
  const first = await launcher.worker(0)
  await first.report('listening')
  expect((await first.report('claim')).address).toEqual(key)
  expect(await old.line('listening')).toBe(path)
  expect(await askUnix(path), 'held').toBe('ECONNREFUSED')
  launcher.listen()
  await first.order({ type: 'admit' })
  expect(await askUnix(path)).toBe(String(old.pid))
  process.kill(old.pid, 'SIGUSR2')
  await old.line('cleaned while serving')
  expect(await askUnix(path)).toBe(String(old.pid))

  // Unlinks the path before it has claimed: the launcher puts it back at the claim.
  const next = launcher.node(fixture('unix.mjs'), [path])
  const second = await launcher.worker(1)
  await second.report('listening')
  expect(await askUnix(path), 'the new one is held').toBe(String(old.pid))
  await second.order({ type: 'admit' })
  await first.order({ type: 'pause' })
  expect(await askUnix(path)).toBe(String(next.pid))
  await second.order({ type: 'pause' })
  const waiting = askUnix(path)
  await until('the client is queued', () => native.pollSync(launcher.socketOf(key), READABLE, 0) !== 0)
  await first.order({ type: 'resume' })
  expect(await waiting, 'undo').toBe(String(old.pid))
  await second.order({ type: 'resume' })
  await first.order({ type: 'drain', deadlineMs: 5_000, last: false })
  await first.report('drained')
  old.child.kill('SIGTERM')
  await old.line('cleaned')
  await old.ended
  expect(existsSync(path)).toBe(true)
  expect(await askUnix(path)).toBe(String(next.pid))
})

test('the path is claimed absolute, and guarded through a symlink too', async () => {
  launcher = new FakeLauncher({ claim: () => 'go' })
  symlinkSync(directory, join(directory, 'run'))
  const program = launcher.start(
    [process.env['TEST_NODE'] ?? process.execPath, fixture('unix.mjs'), 'run/app.sock'],
    {},
    directory,
  )
  const worker = await launcher.worker()
  await worker.report('listening')
  expect((await worker.report('claim')).address).toEqual({ kind: 'unix', path: join(directory, 'run', 'app.sock') })
  expect(await program.line('listening')).toBe('run/app.sock')
  process.kill(program.pid, 'SIGUSR2')
  await program.line('cleaned while serving')
  expect(await askUnix(join(directory, 'app.sock'))).toBe(String(program.pid))
})

test('the last drain accepts what is queued on a path', async () => {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const path = join(directory, 'app.sock')
  const program = launcher.node(fixture('unix.mjs'), [path])
  const worker = await launcher.worker()
  await worker.report('listening')
  process.kill(program.pid, 'SIGSTOP')
  const queued = Array.from({ length: 10 }, () => askUnix(path))
  await until('a client is queued', () => native.pollSync(launcher.socketOf({ kind: 'unix', path }), READABLE, 0) !== 0)
  const drained = worker.order({ type: 'drain', deadlineMs: 5_000, last: true })
  process.kill(program.pid, 'SIGCONT')
  await drained
  launcher.closeSockets()
  expect(new Set(await Promise.all(queued))).toEqual(new Set([String(program.pid)]))
  expect(await askUnix(path)).toBe('ECONNREFUSED')
})
