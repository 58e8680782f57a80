// vitest as the scripts run it: what it prints is shown, what it counted is returned.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { root } from './build.mjs'

/**
 * Runs vitest under `node`, the Node that the tests then also start their programs with. With `timeoutMs` it is ended after that time.
 * Counts are undefined when it ended without any; `red`: the tests that failed, and files that could not
 * be run, by name.
 */
export function vitest(args, { node = process.execPath, env = process.env, timeoutMs } = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'reuseport-run-test-'))
  try {
    const results = join(scratch, 'results.json')
    const program = join(root, 'node_modules', 'vitest', 'vitest.mjs')
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`]
    const { status, signal } = spawnSync(node, [program, 'run', ...reporters, ...args], {
      cwd: root,
      stdio: 'inherit',
      env: { ...env, TEST_NODE: node },
      timeout: timeoutMs,
    })
    return { passed: status === 0, end: signal ?? status, counts: countsIn(results), red: redIn(results) }
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

function countsIn(file) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(file, 'utf8'))
    return `${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`
  } catch {
    return undefined
  }
}

function redIn(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).testResults.flatMap(({ name, status, assertionResults }) => {
      const path = relative(root, name)
      const red = assertionResults
        .filter((one) => one.status === 'failed')
        .map(({ fullName }) => `${path}: ${fullName}`)
      return status === 'failed' && red.length === 0 ? [path] : red
    })
  } catch {
    return []
  }
}
