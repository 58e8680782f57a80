import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { fixture, Program, TEST_NODE } from '../support/worker/program.js'

let launcher: FakeLauncher
let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'rr-listen-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))
afterEach(() => launcher?.end())

const managed = [
  'port',
  'port, host',
  'port, any',
  'port, ::',
  'port, localhost',
  'host ::1',
  'ipv6Only',
  'exclusive',
  'port, backlog',
  'port, host, backlog, callback',
  'callback',
  'string port',
  'reusePort',
  'used by ourselves',
  'twice',
  'close at once',
  'again after close',
  'signal',
  'aborted signal',
  'unref',
  'ref after unref',
  'throws in listening',
  'http',
  'path',
  'path, options',
]
const refused = ['not our address', 'in use', 'in use, host', 'path in no directory']
const alone = [
  'bad port',
  'bad options',
  'no such name',
  'port 0',
  'nothing',
  'fd',
  'handle',
  'abstract path',
  'private path',
]
// Whether before or after the next immediate is chance, with plain Node too: DNS answers from another thread; and after an uncaught
// exception the ticks that are left run when anything is to be read, or else in an immediate. The channel may have something.
const unordered = ['no such name', 'throws in listening']
// It listens before the next immediate or after it, for the same reason: what that one sees is chance.
const early = ['port, localhost']

test.each([...managed, ...refused, ...alone])('listen: %s (F-11)', async (way) => {
  const port = await freePort()
  const foreign = createServer()
  if (way.startsWith('in use')) await new Promise<void>((done) => foreign.listen(port, done))
  const path = join(directory, `${port}.sock`)
  const argv = [fixture('listen-variants.cjs'), way, String(port), path]
  const run = async (program: Program): Promise<string[]> => {
    expect(await program.ended, program.errors.join('\n')).toMatchObject({ code: 0 })
    expect(program.errors).toEqual([])
    // The path, and the private name beside it.
    for (const name of readdirSync(directory)) rmSync(join(directory, name), { force: true })
    const lines = early.includes(way) ? program.lines.filter((line) => !line.includes('"immediate"')) : program.lines
    return unordered.includes(way) ? lines.toSorted() : lines
  }
  const plain = await run(new Program([TEST_NODE, ...argv]))
  for (const mode of ['go', 'hold'] as const) {
    launcher = new FakeLauncher({ claim: () => mode })
    const lines = await run(launcher.start([TEST_NODE, ...argv]))
    const claims = launcher.workers.flatMap(({ received }) => received.filter(({ type }) => type === 'claim'))
    expect(claims.length > 0, 'claimed').toBe(!alone.includes(way))
    expect(lines, mode).toEqual(plain)
    await launcher.end()
  }
  foreign.close()
})
