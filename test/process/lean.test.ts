import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startLauncher } from '../support/launcher'
import { fixture, ROOT, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/** What each brings with it costs every start, and is kept for as long as the launcher lives. */
const HEAVY = ['net', 'http', 'stream', 'crypto', 'tty', 'dgram', 'child_process', 'worker_threads', 'perf_hooks']

test('a launcher starts without streams, sockets and cryptography of Node', () => {
  const start = JSON.stringify(join(ROOT, 'dist', 'cli', 'start.js'))
  const script = `
    const before = new Set(process.moduleLoadList)
    require(${start})
    const since = process.moduleLoadList.filter((name) => !before.has(name))
    require('node:fs').writeSync(1, JSON.stringify(since))`
  const loaded = JSON.parse(execFileSync(TEST_NODE, ['-e', script], { encoding: 'utf8' })) as string[]
  expect(loaded.length).toBeGreaterThan(0)
  expect(loaded.filter((name) => HEAVY.includes(name.replace('NativeModule ', '')))).toEqual([])
})

test('a launcher collects its garbage when a start, or a reload, is over', async () => {
  const preload = fixture('launchers/tell-reclaim.cjs')
  const [port, versions] = [await freePort(), new Versions()]
  const env = { NODE_OPTIONS: `--require ${preload}` }
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory, env })
  const collected = (): number => launcher.errors.filter((line) => line === 'collected: true').length
  await until('it is collected after the start', () => collected() > 0)
  const before = collected()
  await launcher.reload('retired')
  await until('it is collected after the reload', () => collected() > before)
  await launcher.stop()
})
