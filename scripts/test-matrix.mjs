// Runs the tests on every supported Node: `node scripts/test-matrix.mjs [majors…] [-- vitest arguments]`.
//
// All of them load one and the same addon, which the oldest Node has built: the way in which the package is used.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { addon, root, run } from './build.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'
import { vitest } from './vitest.mjs'

const OLDEST = SUPPORTED[0]

const split = process.argv.indexOf('--')
const given = process.argv.slice(2, split === -1 ? undefined : split)
const filters = split === -1 ? [] : process.argv.slice(split + 1)
const majors = given.length === 0 ? SUPPORTED : given

/** The version of Node whose headers the addon was compiled with: node-gyp writes down where it took them from. */
function headersOfAddon() {
  const { nodedir } = JSON.parse(
    readFileSync(join(root, 'build', 'config.gypi'), 'utf8').replace(/^#.*$/m, ''),
  ).variables
  const header = readFileSync(join(nodedir, 'include', 'node', 'node_version.h'), 'utf8')
  return ['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`NODE_${part}_VERSION (\\d+)`).exec(header)[1]).join('.')
}

function build() {
  const build = () => run(nodeOf(OLDEST), ['scripts/build.mjs'])
  build()
  if (headersOfAddon().startsWith(`${OLDEST}.`)) return
  // It is fresh, but another Node has built it.
  rmSync(addon)
  build()
}

const hashOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex')

/** What this Node has in memory when it has loaded the addon as the product does. */
function loadedBy(node) {
  const script = `
    require('./dist/native.js').native()
    console.log(/\\S+[.]node$/m.exec(require('node:fs').readFileSync('/proc/self/maps', 'utf8'))[0])`
  return execFileSync(node, ['-e', script], { cwd: root, encoding: 'utf8' }).trim()
}

build()
const sha256 = hashOf(addon)
console.log(`addon: sha256 ${sha256}, built with Node ${headersOfAddon()}`)

const results = []
for (const major of majors) {
  const node = nodeOf(major)
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
  console.log(`\n=== Node ${version}`)
  const { passed, end, counts } = vitest(filters, { node })
  // Looked at after the tests: a test that rebuilds it would be found out too.
  const isSame = hashOf(loadedBy(node)) === sha256
  const text = `${counts ?? `vitest ended with ${end}`}${isSame ? '' : '; another addon was loaded'}`
  results.push({ line: `Node ${version}: ${text}`, passed: passed && isSame })
}
console.log(`\naddon: sha256 ${sha256}, built with Node ${headersOfAddon()}`)
for (const { line } of results) console.log(line)
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
