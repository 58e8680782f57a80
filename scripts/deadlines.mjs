// Writes the tables of docs/deadlines.md from test/reliability/deadlines.json: what is waited for, how long, and what follows. The figures are
// read from the sources. With --check it writes nothing, and ends with 1 when the page is out of date.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './build.mjs'

const PAGE = 'docs/deadlines.md'
const [BEGIN, END] = ['<!-- node scripts/deadlines.mjs -->', '<!-- end -->']

const read = (path) => readFileSync(join(root, path), 'utf8')
const sections = JSON.parse(read('test/reliability/deadlines.json'))
const page = read(PAGE)
const text = `${page.split(BEGIN)[0]}${BEGIN}\n\n${sections.map(table).join('\n\n')}\n\n${END}${page.split(END)[1]}`
if (text !== page) {
  if (process.argv.includes('--check')) {
    console.error(`${PAGE} is out of date: node scripts/deadlines.mjs`)
    process.exitCode = 1
  } else writeFileSync(join(root, PAGE), text)
}

function table({ title, waits }) {
  const rows = waits.map(({ wait, by = [], then: follows, none }) =>
    none === undefined
      ? `| ${wait} | ${by.map(deadline).join(' + ')} | ${follows} |`
      : `| ${wait} | **none of ours** | ${none} |`,
  )
  return [`## ${title}`, '', '| waits for | at most | then |', '|---|---|---|', ...rows].join('\n')
}

/** `--park`, with its default; `file.ts NAME`, a constant of that file; or words. */
function deadline(by) {
  const [place, name] = by.split(' ')
  if (name !== undefined && !place.endsWith('.ts')) return by
  if (name === undefined) return `\`${place}\` (${found(optionDefault(place), by)})`
  return `${duration(found(new RegExp(`\\b${name}(?: =|:| \\?\\? )[^\\n]*?([\\d_]+)`), by, `src/${place}`))} (\`${name}\`)`
}

function optionDefault(option) {
  return new RegExp(`name: '${option.slice(2)}',[^}]*?default: '([^';,]+)`)
}

function found(pattern, by, file = 'src/cli/option-table.ts') {
  const [, value] = pattern.exec(read(file)) ?? []
  if (value === undefined) throw new Error(`${by} is not to be found in ${file}`)
  return value
}

function duration(digits) {
  const ms = Number(digits.replaceAll('_', ''))
  return ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`
}
