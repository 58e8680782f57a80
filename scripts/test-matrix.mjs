// Runs the tests on every supported Node with the one addon that is built: `node scripts/test-matrix.mjs [majors…] [-- vitest arguments]`.
// The Nodes are npm packages (node-linux-<arch>), kept below node_modules/.cache; nothing is compiled for them.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from './build.mjs'

const SUPPORTED = ['20', '22', '24', '26']

const split = process.argv.indexOf('--')
const given = process.argv.slice(2, split === -1 ? undefined : split)
const vitest = split === -1 ? [] : process.argv.slice(split + 1)
const majors = given.length === 0 ? SUPPORTED : given

function nodeOf(major) {
  const name = `node-linux-${process.arch}`
  const folder = join(root, 'node_modules', '.cache', `node-${major}`)
  const binary = join(folder, 'node_modules', name, 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    run('npm', [
      'install',
      '--prefix',
      folder,
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      `${name}@${major}`,
    ])
  }
  return binary
}

run(process.execPath, ['scripts/build.mjs'])
const results = []
for (const major of majors) {
  const node = nodeOf(major)
  const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' })
  console.log(`\n=== Node ${stdout.trim()}`)
  const { status } = spawnSync(node, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...vitest], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, TEST_NODE: node },
  })
  results.push({ version: stdout.trim(), passed: status === 0 })
}
for (const { version, passed } of results) console.log(`${version}: ${passed ? 'passed' : 'failed'}`)
console.log(
  `${results.filter(({ passed }) => passed).length} passed, ${results.filter(({ passed }) => !passed).length} failed`,
)
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
