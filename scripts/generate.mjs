// Writes what is made of the option table: docs/options.md. With --check it writes nothing, names what is out of date, and ends
// with 1. Reads dist/: build first.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { root } from './build.mjs'
import { optionsPage } from './generate/options-page.mjs'

const table = createRequire(import.meta.url)(join(root, 'dist', 'cli', 'option-table.js'))
const FILES = {
  'docs/options.md': optionsPage,
}

const check = process.argv.includes('--check')
for (const [path, make] of Object.entries(FILES)) {
  const file = join(root, path)
  const text = make(table)
  if (read(file) === text) continue
  if (check) {
    console.error(`${path} is not what the option table says: npm run build && node scripts/generate.mjs`)
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
