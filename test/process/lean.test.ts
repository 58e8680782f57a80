import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, TEST_NODE } from '../support/paths'

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
