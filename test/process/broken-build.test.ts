import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { VerifyReport } from '../../src/verify/verify'
import { runCli, temporaryDirectory } from '../support/launcher'
import { fixture, ROOT } from '../support/paths'
import { freePort } from '../support/ports'

/** A text of the built code, found there exactly once, and what stands in its place. */
interface Flaw {
  readonly file: string
  readonly from: string
  readonly to: string
}

/** Workers that end their connections at once when they are told to drain, as a plain SIGTERM handler does. */
const impatientWorker: Flaw = {
  file: 'worker/orders.js',
  from: 'drain.begin(deadlineMs);',
  to: 'for (const { facts } of claims) { facts.server.close(); facts.server.closeAllConnections(); } drain.begin(deadlineMs);',
}

/** A launcher that keeps no copy of what it hands out: each generation gets sockets of its own, and the old queues die with the old workers. */
const carelessLauncher: Flaw = {
  file: 'launcher/channels.js',
  from: 'this.#sockets.fd({ listener, slot }),\n            ]);',
  to: 'this.#sockets.fd({ listener, slot }),\n            ]); this.#sockets.close({ listener, slot });',
}

/** The command line of a copy of the build, with the addon of this one. Throws when a flaw does not fit: it must not silently be none. */
function buildWith(...flaws: readonly Flaw[]): string {
  const directory = temporaryDirectory()
  cpSync(join(ROOT, 'dist'), join(directory, 'dist'), { recursive: true })
  for (const name of ['build', 'package.json']) symlinkSync(join(ROOT, name), join(directory, name))
  for (const { file, from, to } of flaws) {
    const path = join(directory, 'dist', file)
    const parts = readFileSync(path, 'utf8').split(from)
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${from}`)
    writeFileSync(path, parts.join(to))
  }
  return join(directory, 'dist', 'cli', 'main.js')
}

interface Finding {
  readonly code: number | null
  readonly report: VerifyReport
  /** What a failed expectation shows. */
  readonly story: string
}

/** `verify` of that build: few clients and reloads, for what it must find happens at each of them. */
async function verify(main: string): Promise<Finding> {
  const words = ['verify', '--json', '-n', '2', '--reloads', '2', '--connections', '4']
  const program = [fixture('servers/many.cjs'), `a=${await freePort()}`]
  const { code, stdout, stderr } = await runCli([...words, '--', 'node', ...program], { main })
  if (stdout === '') throw new Error(`verify ended with ${code} and no report\n${stderr}`)
  const report = JSON.parse(stdout) as VerifyReport
  return { code, report, story: JSON.stringify({ code, reasons: report.reasons, buckets: report.total.buckets }) }
}

test('an unchanged copy of the build passes', async () => {
  const { code, report, story } = await verify(buildWith())
  expect(report.reasons, story).toEqual([])
  expect(code, story).toBe(0)
}, 60_000)

describe.each([
  [
    'a worker that ends its connections at the drain',
    impatientWorker,
    ['closed-before-response', 'reset-after-request', 'truncated'],
  ],
  ['a launcher that keeps no copy of the sockets', carelessLauncher, ['reset-connecting', 'reset-after-request']],
] as const)('%s', (_, flaw, signs) => {
  test.each([1, 2, 3])(
    'is found out, run %i',
    async () => {
      const { code, report, story } = await verify(buildWith(flaw))
      expect(code, story).toBe(1)
      expect(report.reasons, story).toContainEqual(expect.stringMatching(/^\d+ of \d+ requests were lost: /))
      // By what it does, not by something else that is wrong with the copy.
      expect(report.reloads, story).toMatchObject({ asked: 2, done: 2 })
      expect(Math.max(...signs.map((bucket) => report.total.buckets[bucket])), story).toBeGreaterThan(0)
      console.log(story)
    },
    60_000,
  )
})

test('a flaw that does not fit is no flaw', () => {
  const absent = { ...impatientWorker, from: 'no such text' }
  expect(() => buildWith(absent)).toThrow('worker/orders.js has 0 times: no such text')
  expect(() => buildWith({ ...impatientWorker, from: 'const' })).toThrow(/has \d+ times: const/)
})
