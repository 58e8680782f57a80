import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, test } from 'vitest'
import type { VerifyOptions, VerifyReport } from '../../src/verify/verify'
import { fixture, ROOT, TEST_NODE } from '../support/paths'
import { isAlive } from '../support/processes'
import { until } from '../support/until'

const fake = fixture('launchers/fake.mjs')

interface Result {
  readonly report: VerifyReport
  readonly text: string
  readonly error?: {
    readonly name: string
    readonly code: string
    readonly message: string
    readonly next?: string
    readonly interrupted: boolean
  }
}

const started: ChildProcess[] = []
afterAll(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

function start(behaviour: string, options: Partial<VerifyOptions> = {}): ChildProcess {
  if (!existsSync(join(ROOT, 'dist', 'verify', 'verify.js'))) throw new Error('dist/ is missing: npm run build')
  const all: VerifyOptions = {
    command: [behaviour],
    launcher: [TEST_NODE, fake],
    connections: 2,
    reloads: 2,
    ...options,
  }
  const child = spawn(TEST_NODE, [join(ROOT, 'test', 'support', 'run-verify.mjs'), JSON.stringify(all)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.push(child)
  return child
}

async function resultOf(child: ChildProcess): Promise<Result> {
  const [output, errors] = await Promise.all([text(child.stdout as Readable), text(child.stderr as Readable)])
  if (output === '') throw new Error(`verify printed nothing\n${errors}`)
  return JSON.parse(output) as Result
}

const run = (behaviour: string, options?: Partial<VerifyOptions>): Promise<Result> =>
  resultOf(start(behaviour, options))

test('a launcher that loses nothing passes', async () => {
  const { report, text: rendered } = await run('behaves', { minRequests: 2000 })
  expect(report.reasons).toEqual([])
  expect(report).toMatchObject({
    schema: 1,
    result: 'passed',
    interrupted: null,
    network: { private: true, reason: null },
  })
  expect(report.total).toMatchObject({ lost: 0, idleClosed: 0, endedPolitely: 0, unaskedBytes: 0 })
  expect(report.total.requests).toBeGreaterThanOrEqual(2000)
  expect(report.reloads.done).toBeGreaterThanOrEqual(2)
  expect(report.counters).toMatchObject({
    judged: true,
    change: { EstabResets: 0, AttemptFails: 0, ListenDrops: 0, ListenOverflows: 0 },
  })
  expect(report.launcher).toMatchObject({ code: 0, leftProcesses: [], leftSockets: [], lastLines: [] })
  expect(report.kinds.every(({ buckets }) => buckets.ok > 0)).toBe(true)
  expect(rendered).toMatch(/^PASSED: 0 lost of \d+ requests, \d+ reloads, [\d.]+ s$/m)
})

describe.concurrent('a launcher fails that', () => {
  test.each<[string, RegExp]>([
    ['resets-connections', /requests were lost: .*reset-after-request/],
    ['closes-connections', /requests were lost: .*closed-before-response/],
    ['aborts-reloads', /^reload 1 was aborted in the step ready: slot 0 exited with code 1$/],
    ['keeps-its-workers', /^reload 1 says done, and process 1000 in slot 0 is an old one$/],
    ['forgets-a-worker', /^reload 1 was about 1 workers instead of 2$/],
    ['cuts-connections', /^reload 1 cut 1 connections of slot 0/],
    ['dies-in-a-reload', /^the launcher ended with code 7$/],
    ['ends-with-1', /^the launcher ended with code 1$/],
    ['leaves-a-process', /^process \d+ was left behind: sleep 60$/],
    ['leaves-a-hidden-process', /^process \d+ was left behind: sleep 60$/],
    ['leaves-a-socket', /^a socket was left behind: .*left\.sock$/],
  ])('%s', async (behaviour, reason) => {
    const { report, text: rendered } = await run(behaviour)
    expect(report.result).toBe('failed')
    expect(report.reasons).toContainEqual(expect.stringMatching(reason))
    expect(rendered).toMatch(/^FAILED: \d+ lost of \d+ requests/m)
    for (const { pid } of report.launcher.leftProcesses) expect(isAlive(pid)).toBe(false)
  })

  test('resets-connections, and the kernel has counted them', async () => {
    const { report } = await run('resets-connections')
    expect(report.counters.change?.EstabResets).toBeGreaterThan(0)
    expect(report.reasons).toContainEqual(expect.stringMatching(/^OutRsts \+\d+, .*EstabResets \+[1-9]/))
  })

  test('never-ends-a-reload', async () => {
    const { report } = await run('never-ends-a-reload', { reloadTimeoutMs: 300 })
    expect(report.reasons).toContainEqual(expect.stringMatching(/^reload 1 did not happen within 300 ms$/))
    expect(report.reasons).toContainEqual('only 0 of 2 reloads were run')
  })

  test('ignores-the-stop', async () => {
    const { report } = await run('ignores-the-stop', { stopTimeoutMs: 300 })
    expect(report.reasons).toContainEqual('the launcher did not end when it was told to')
    const [left] = report.launcher.leftProcesses
    expect(left?.command).toContain('fake.mjs')
    expect(isAlive(left?.pid as number)).toBe(false)
  })

  test('takes longer than the deadline of the whole run', async () => {
    const { report } = await run('behaves', { reloads: 100_000_000, deadlineMs: 6000 })
    expect(report.reasons).toContainEqual(expect.stringMatching(/of the deadline of the whole run/))
  })
})

describe.concurrent('a run that cannot begin says why', () => {
  test.each<[string, Partial<VerifyOptions>, string, RegExp]>([
    ['does-not-start', {}, 'ERR_START_FAILED', /ended with code 1 before it served\n {2}\| cannot find the database/],
    [
      'never-serves',
      { startTimeoutMs: 500 },
      'ERR_START_FAILED',
      /the start of the program did not happen within 500 ms/,
    ],
    ['has-no-tcp', {}, 'ERR_ADDRESS', /listens on no TCP port/],
    ['answers-500', {}, 'ERR_START_FAILED', /^GET \/ was not answered: status 500$/],
    ['behaves', { listener: '80' }, 'ERR_ADDRESS', /does not listen on 80/],
    ['behaves', { path: 'no-slash' }, 'ERR_USAGE', /"no-slash" is no path/],
    ['behaves', { clients: { lazy: 1 } as object }, 'ERR_USAGE', /no clients of the kind "lazy"/],
    ['behaves', { reloads: 0 }, 'ERR_USAGE', /reloads is 0/],
    ['behaves', { launcher: ['/no/such/file'] }, 'ERR_START_FAILED', /could not be started/],
  ])('%s %j', async (behaviour, options, code, message) => {
    const { error } = await run(behaviour, options)
    expect(error?.code).toBe(code)
    expect(error?.message).toMatch(message)
  })
})

test('a start that failed for want of others names --network, any other does not', async () => {
  const nextOf = async (...given: Parameters<typeof run>): Promise<string | undefined> =>
    (await run(...given)).error?.next
  if (process.geteuid?.() === 0) expect(await nextOf('does-not-start')).toContain('use --network shared')
  expect(await nextOf('does-not-start', { network: 'shared' })).toBeUndefined()
  // Its own launcher says what is wrong with the command.
  expect(
    await nextOf('no-such-program', { launcher: [TEST_NODE, join(ROOT, 'dist', 'cli', 'main.js')] }),
  ).toBeUndefined()
})

describe('connections that are told to close at a reload', () => {
  test('speak against a program whose connections should have moved, and are named', async () => {
    const { report, text: rendered } = await run('says-close')
    expect(report.result).toBe('failed')
    expect(report.reasons).toContainEqual(
      expect.stringMatching(/^\d+ connections of the kind "keep-alive" were closed/),
    )
    expect(report.reasons.every((reason) => / were closed /.test(reason))).toBe(true)
    expect(report.total).toMatchObject({ lost: 0 })
    expect(rendered).toMatch(/^ {2}ended-politely, keep-alive \(GET \/\): Connection: close; /m)
  })

  test('do not if that is allowed', async () => {
    const { report } = await run('says-close', { allowsClosed: true })
    expect(report.reasons).toEqual([])
    expect(report.total.reconnects).toBeGreaterThan(0)
  })

  test('do not if the program always does so', async () => {
    const { report } = await run('always-says-close')
    expect(report.reasons).toEqual([])
    expect(report.kinds.map(({ ends }) => ends)).not.toContain('never')
  })
})

test('only the clients that were asked for', async () => {
  const { report } = await run('behaves', { clients: { think: 3, new: null } })
  expect(report.kinds.map(({ kind, connections }) => [kind, connections])).toEqual([
    ['new connection', 2],
    ['keep-alive, think 20 ms', 3],
  ])
})

test('the incidents say what the reload had just done', async () => {
  const { report } = await run('resets-connections')
  const incident = report.incidents.find(({ bucket }) => bucket === 'reset-after-request')
  expect(incident?.after).toMatch(/ ms after reload \d/)
  expect(incident?.localPort).toBeGreaterThan(0)
})

test('in the shared network the counters are not judged', async () => {
  const { report, text: rendered } = await run('behaves', { network: 'shared' })
  expect(report).toMatchObject({
    result: 'passed',
    network: { private: false, reason: 'asked for' },
    counters: { judged: false },
  })
  expect(rendered).toContain('network   shared with other programs (asked for)')
  expect(rendered).toContain('shared with other programs: not judged')
})

/** The fake launcher that `child` has started. */
function launcherOf(child: ChildProcess): { readonly pid: number; readonly runtimeDir: string } | undefined {
  for (const name of readdirSync('/proc')) {
    try {
      const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]
      if (argv[1] !== fake || parent !== String(child.pid)) continue
      return { pid: Number(name), runtimeDir: argv[argv.indexOf('--runtime-dir') + 1] as string }
    } catch {
      // Not a process, or one that has just ended.
    }
  }
  return undefined
}

describe('an interrupted run', () => {
  async function untilFirstReload(child: ChildProcess): Promise<void> {
    for await (const line of createInterface({ input: child.stderr as Readable }))
      if (line.startsWith('reload 1 ')) return
  }

  test('ends its processes in order and still reports', async () => {
    const child = start('behaves', { reloads: 100_000_000 })
    const output = text(child.stdout as Readable)
    await untilFirstReload(child)
    child.kill('SIGINT')
    const { report } = JSON.parse(await output) as Result
    expect(report.reasons).toContainEqual('interrupted by SIGINT')
    expect(report).toMatchObject({ result: 'failed', interrupted: 'SIGINT', total: { lost: 0 } })
    expect(report.launcher).toMatchObject({ code: 0, leftProcesses: [], leftSockets: [] })
  })

  test('ends at once when it is told again', async () => {
    const child = start('ignores-the-stop', { reloads: 100_000_000 })
    const output = text(child.stdout as Readable)
    await untilFirstReload(child)
    const launcher = launcherOf(child)
    child.kill('SIGINT')
    const ended = once(child, 'exit')
    const again = setInterval(() => child.kill('SIGINT'), 50)
    await ended
    clearInterval(again)
    const { report } = JSON.parse(await output) as Result
    expect(report.reasons).toContainEqual('the launcher did not end when it was told to')
    expect(isAlive(launcher?.pid as number)).toBe(false)
  })

  test('before it served says so, and leaves nothing', async () => {
    const child = start('never-serves')
    const result = resultOf(child)
    const { pid, runtimeDir } = await until('the launcher', () => launcherOf(child))
    child.kill('SIGTERM')
    expect((await result).error).toMatchObject({ interrupted: true, message: 'interrupted by SIGTERM' })
    expect(isAlive(pid)).toBe(false)
    expect(existsSync(runtimeDir)).toBe(false)
  })

  test('that is killed does not leave its launcher behind', async () => {
    const child = start('behaves', { reloads: 100_000_000 })
    await untilFirstReload(child)
    const { pid, runtimeDir } = await until('the launcher', () => launcherOf(child))
    child.kill('SIGKILL')
    await until('the end of the launcher', () => !isAlive(pid))
    rmSync(runtimeDir, { recursive: true })
  })
})
