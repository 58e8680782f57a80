// What linters say of the package as it is published: publint (its fields and files), and attw (do the types fit, for every way to import it?).
// They are fetched for this, pinned, and are no dependencies: 63 packages with a TypeScript of their own, in every install, for a look at what
// hardly ever changes. That the types are right for who imports them is tested with each change (test/package).

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, run } from './build.mjs'

// node10 is how TypeScript resolved for a Node that knew no "exports": there is none since Node 12.
const LINTERS = [
  ['publint@0.3.25', 'run', '--strict'],
  ['@arethetypeswrong/cli@0.18.5', '--profile', 'node16'],
]

const folder = mkdtempSync(join(tmpdir(), 'reuseport-run-'))
try {
  const said = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root, encoding: 'utf8' })
  // What prepack prints comes first.
  const [{ filename }] = JSON.parse(said.slice(said.search(/^\[$/m)))
  for (const linter of LINTERS) run('npx', ['--yes', ...linter, join(folder, filename)], { cwd: folder })
} finally {
  rmSync(folder, { recursive: true })
}
