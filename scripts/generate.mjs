// Writes what is made of the option table: docs/options.md, the man page, the schema and the type of a config file; and the README's comparison,
// of docs/benchmarks.json. With --check it writes nothing, names what is out of date, and ends with 1. Reads dist/: build first.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { root } from './build.mjs'
import { withComparison } from './generate/comparison.mjs'
import { configSchema } from './generate/config-schema.mjs'
import { configType } from './generate/config-type.mjs'
import { manPage } from './generate/man-page.mjs'
import { optionsPage } from './generate/options-page.mjs'

const require = createRequire(import.meta.url)
const built = ['option-table', 'verb-table', 'value-types', 'config/keys', 'config/check'].map((name) =>
  require(join(root, 'dist', 'cli', `${name}.js`)),
)
const table = Object.assign({}, ...built)
const FILES = {
  'docs/options.md': optionsPage,
  'man/reuseport-run.1': manPage,
  'schema/config.json': configSchema,
  'src/library/config.ts': configType,
  'README.md': withComparison,
}

const check = process.argv.includes('--check')
for (const [path, make] of Object.entries(FILES)) {
  const file = join(root, path)
  const text = make(table, read(file))
  if (read(file) === text) continue
  if (check) {
    console.error(`${path} is not what it is made of: npm run build && node scripts/generate.mjs`)
    process.exitCode = 1
  } else {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    console.log(path)
  }
}

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
