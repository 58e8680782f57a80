import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { askJson } from '../support/clients'
import { runCli, startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'

const MIRROR = fixture('servers/mirror.cjs')

/** Node 22.10. */
const CAN_KEEP =
  execFileSync(TEST_NODE, ['-p', `typeof require('node:module').flushCompileCache`], { encoding: 'utf8' }) ===
  'function\n'

/** Each file below it, and when it was written. */
function filesIn(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  const stats = names.map((name) => ({ name, stat: statSync(join(directory, name), { bigint: true }) }))
  return stats.flatMap(({ name, stat }) => (stat.isFile() ? `${name} ${stat.ino} ${stat.mtimeNs}` : [])).sort()
}

test('--compile-cache: what a worker has compiled is written before it serves, used by those after it, and goes with the launcher', async () => {
  const [port, cwd] = [await freePort(), temporaryDirectory()]
  const command = ['node', MIRROR, 'serve', String(port), join(cwd, 'app.sock')]
  const launcher = await startLauncher({ command, cwd, options: ['--compile-cache', '--bake', '0'] })
  const directory = join(launcher.directory, 'compile-cache')
  const { env } = await askJson<{ env: Record<string, string> }>(port, '/')
  expect(env['NODE_COMPILE_CACHE']).toBe(directory)
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  const files = filesIn(directory)
  const warnings = launcher.events.filter(({ msg }) => msg === 'worker.warning')
  if (CAN_KEEP) {
    // The program at least; the agent is a file, or many.
    expect(files.length).toBeGreaterThan(1)
    expect(warnings).toEqual([])
  } else {
    expect(files).toEqual([])
    expect(warnings).toEqual([
      expect.objectContaining({ code: 'compile-cache', text: expect.stringContaining('22.10') }),
    ])
  }
  expect((await launcher.reload('retired')).result).toBe('done')
  // Node writes again what it could not use.
  expect(filesIn(directory)).toEqual(expect.arrayContaining(files))
  await launcher.stop()
  expect(existsSync(directory)).toBe(false)
})

test('--compile-cache: a directory of the program counts, and a user of the workers is refused', async () => {
  const [port, cwd] = [await freePort(), temporaryDirectory()]
  const own = join(cwd, 'own')
  const command = ['node', MIRROR, 'serve', String(port), join(cwd, 'app.sock')]
  const launcher = await startLauncher({ command, cwd, options: ['--compile-cache'], env: { NODE_COMPILE_CACHE: own } })
  const { env } = await askJson<{ env: Record<string, string> }>(port, '/')
  expect(env['NODE_COMPILE_CACHE']).toBe(own)
  expect(filesIn(join(launcher.directory, 'compile-cache'))).toEqual([])
  await launcher.stop()
  const refused = await runCli(['--compile-cache', '--user', 'nobody', '--', ...command], { cwd })
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('NODE_COMPILE_CACHE') })
})
