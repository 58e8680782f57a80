import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import type { VerifyReport } from '../../src/verify/verify'
import { fixture, ROOT, TEST_NODE } from '../support/paths'

/** The real thing: the command line, the launcher, its workers. */
const program = (name: string): string => fixture(`programs/${name}.mjs`)

async function verify(...argv: string[]): Promise<{ readonly code: number | null; readonly report: VerifyReport }> {
  const main = join(ROOT, 'dist', 'cli', 'main.js')
  const child = spawn(TEST_NODE, [main, 'verify', '--json', ...argv], {
    cwd: ROOT,
    // `node` in the commands below is the Node under test.
    env: { ...process.env, PATH: `${dirname(TEST_NODE)}:${process.env['PATH']}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  if (output === '') throw new Error(`verify printed nothing\n${errors}`)
  return { code: await ended, report: JSON.parse(output) as VerifyReport }
}

test('an unmodified program passes', async () => {
  const { code, report } = await verify(
    '-n',
    '2',
    '--reloads',
    '2',
    '--connections',
    '4',
    '--',
    'node',
    'examples/http/app.js',
  )
  expect(report.reasons).toEqual([])
  expect(report.result).toBe('passed')
  expect(code).toBe(0)
  expect(report.total).toMatchObject({ lost: 0, unaskedBytes: 0 })
  expect(report.reloads).toMatchObject({ asked: 2, done: 2, cut: 0 })
  expect(report.counters).toMatchObject({
    judged: true,
    change: { EstabResets: 0, AttemptFails: 0, ListenDrops: 0, ListenOverflows: 0 },
  })
})

test('the load goes to the listener and the paths that were asked for', async () => {
  const options = ['-n', '1', '--reloads', '1', '--connections', '2', '--listener', '3000']
  const program = ['--', 'node', 'examples/express/app.js']
  const { code, report } = await verify(...options, '--upload-path', '/upload', '--slow-path', '/slow', ...program)
  expect(report.reasons).toEqual([])
  expect(code).toBe(0)
  expect(report.kinds.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['slow upload', 'slow response']))
  const none = await verify(...options, '--upload-path', 'none', ...program)
  expect(none.code).toBe(0)
  expect(none.report.kinds.map(({ kind }) => kind)).not.toContain('slow upload')
  await expect(verify('--listener', '3001', ...program)).rejects.toThrow(/does not listen on 3001/)
})

test('a program that drops one connection in a hundred does not', async () => {
  const { code, report } = await verify(
    '-n',
    '2',
    '--reloads',
    '1',
    '--connections',
    '4',
    '--',
    'node',
    program('drops-one-in'),
    '100',
  )
  expect(code).toBe(1)
  expect(report.result).toBe('failed')
  const { buckets, requests, lost } = report.total
  expect(buckets['closed-before-response']).toBe(lost)
  expect(lost).toBeGreaterThanOrEqual(1)
  expect(lost).toBeLessThan(requests / 50)
  expect(report.reasons[0]).toBe(`${lost} of ${requests} requests were lost: ${lost} closed-before-response`)
})

test('nor one that answers one request in a hundred with 500', async () => {
  const { code, report } = await verify(
    '-n',
    '2',
    '--reloads',
    '1',
    '--connections',
    '4',
    '--',
    'node',
    program('fails-one-in'),
    '100',
  )
  expect(code).toBe(1)
  expect(report.total.buckets['bad-status']).toBe(report.total.lost)
  expect(report.total.lost).toBeGreaterThanOrEqual(1)
})

test('nor one whose new version does not come up, though no request is lost', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'reuseport-starts-'))
  try {
    const starts = join(directory, 'starts')
    const { code, report } = await verify(
      '-n',
      '2',
      '--reloads',
      '1',
      '--connections',
      '4',
      '--',
      'node',
      program('breaks-at-the-third-start'),
      starts,
    )
    expect(code).toBe(1)
    expect(report.total.lost).toBe(0)
    expect(report.reloads).toMatchObject({ asked: 1, done: 0 })
    expect(report.reasons).toContainEqual(expect.stringMatching(/^reload 1 was aborted/))
    expect(report.launcher.lastLines.join('\n')).toContain('this version is broken')
  } finally {
    rmSync(directory, { recursive: true })
  }
})
