// Runs every test on what is built: `npm test [-- vitest arguments]`. Ends with one plain line of counts.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, run } from './build.mjs'

run(process.execPath, ['scripts/build.mjs'])
const scratch = mkdtempSync(join(tmpdir(), 'reuseport-run-test-'))
try {
  const results = join(scratch, 'results.json')
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${results}`,
      ...process.argv.slice(2),
    ],
    { cwd: root, stdio: 'inherit' },
  )
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(results, 'utf8'))
  console.log(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`)
  process.exitCode = status ?? 1
} finally {
  rmSync(scratch, { recursive: true })
}
