// Writes the tables of docs/reliability.md: for each case of the failure catalogue (test/reliability/cases.json) the tests that show it, which
// have its id at the end of their titles, or why there is none. With --check it writes nothing. Names what is wrong with the catalogue or out of
// date, and ends with 1.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './build.mjs'

const CATALOGUE = 'test/reliability/cases.json'
const PAGE = 'docs/reliability.md'
const [BEGIN, END] = ['<!-- cases: node scripts/reliability.mjs -->', '<!-- end of the cases -->']

const read = (path) => readFileSync(join(root, path), 'utf8')
const sections = JSON.parse(read(CATALOGUE))
const files = filesByCase()
const cases = sections.flatMap((section) => section.cases.map((one) => ({ ...one, files: files.get(one.id) ?? [] })))
const page = read(PAGE)
const [before, rest] = page.split(BEGIN)
const after = rest?.split(END)[1]
const faults = [...faultsOf(), ...(after === undefined ? [`${PAGE} has no place for the cases`] : [])]
const text = `${before}${BEGIN}\n\n${tables()}\n${END}${after}`

if (faults.length === 0 && text !== page) {
  if (process.argv.includes('--check')) faults.push(`${PAGE} is out of date: node scripts/reliability.mjs`)
  else writeFileSync(join(root, PAGE), text)
}
for (const fault of faults) console.error(fault)
console.log(counts())
process.exitCode = faults.length === 0 ? 0 : 1

/** The files whose tests name a case: "… (A-01, B-02)" is the end of a title, or of a comment in the units of the addon's core. */
function filesByCase() {
  const tests = [
    ...readdirSync(join(root, 'test'), { recursive: true }).filter((name) => name.endsWith('.test.ts')),
    ...readdirSync(join(root, 'native/test')).map((name) => join('..', 'native', 'test', name)),
  ].map((name) => join('test', name))
  const found = new Map()
  for (const path of tests.sort())
    for (const [, ids] of read(path).matchAll(/ \(([A-O]-\d\d(?:, [A-O]-\d\d)*)\)(?:['"`]|\. \*\/)/g))
      for (const id of ids.split(', ')) found.set(id, [...new Set([...(found.get(id) ?? []), path])])
  return found
}

function stateOf({ files: shownBy, missing, reason }) {
  if (reason !== undefined) return shownBy.length === 0 && missing === undefined ? 'not' : undefined
  if (shownBy.length === 0) return undefined
  return missing === undefined ? 'shown' : 'partly'
}

function faultsOf() {
  const ids = cases.map(({ id }) => id)
  return [
    ...[...files].flatMap(([id, [path]]) => (ids.includes(id) ? [] : [`${path} names ${id}, which is no case`])),
    ...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `${id} is there twice`),
    ...cases.flatMap((one) =>
      stateOf(one) === undefined ? [`${one.id} has a test and a reason why not, or neither`] : [],
    ),
  ]
}

function counts() {
  const count = (state) => cases.filter((one) => stateOf(one) === state).length
  return `${cases.length} cases: ${count('shown')} shown by tests, ${count('partly')} partly, ${count('not')} not.`
}

function tables() {
  const blocks = [counts()]
  for (const { title, cases: own } of sections) {
    const rows = cases.filter(({ id }) => own.some((one) => one.id === id)).map(row)
    blocks.push(
      `### ${own[0].id[0]}: ${title}`,
      ['| id | what happens | tests | |', '|---|---|---|---|', ...rows].join('\n'),
    )
  }
  return `${blocks.join('\n\n')}\n`
}

function row({ id, case: what, decision, missing, reason, files: shownBy }) {
  const tests = shownBy.map((path) => `[${path.replace(/^.*?test\//, '').replace(/\.test\.ts$/, '')}](../${path})`)
  const notes = [
    ...(decision === undefined ? [] : [`${decision}.`]),
    ...(missing === undefined ? [] : [`**partly**: ${missing}.`]),
    ...(reason === undefined ? [] : [`**not**: ${reason}.`]),
  ]
  return `| ${id} | ${what} | ${tests.join(', ')} | ${notes.join(' ')} |`
}
