// Writes the tables of docs/reliability.md: for each case of the failure catalogue (test/reliability/cases.json), and each rule of security
// (rules.json), the tests that show it, which have its id at the end of their titles, or why there is none; and of the figures that the service is
// held to (figures.json), what the pages of the campaigns say. With --check it writes nothing,
// and does not look at the figures.
// Names what is wrong with them or out of date, and ends with 1.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './build.mjs'
import { figures } from './reliability/figures.mjs'

const PAGE = 'docs/reliability.md'

const read = (path) => readFileSync(join(root, path), 'utf8')
const files = filesByCase()
const catalogues = ['cases', 'rules'].map((name) => {
  const sections = JSON.parse(read(`test/reliability/${name}.json`))
  const all = sections.flatMap((section) => section.cases.map((one) => ({ ...one, files: files.get(one.id) ?? [] })))
  return { name, sections, all }
})
const cases = catalogues.flatMap(({ all }) => all)
const page = read(PAGE)
const faults = faultsOf()
let text = page
for (const catalogue of catalogues) {
  const [begin, end] = [
    `<!-- ${catalogue.name}: node scripts/reliability.mjs -->`,
    `<!-- end of the ${catalogue.name} -->`,
  ]
  const [before, rest] = text.split(begin)
  const after = rest?.split(end)[1]
  if (after === undefined) faults.push(`${PAGE} has no place for the ${catalogue.name}`)
  text = `${before}${begin}\n\n${tables(catalogue)}\n${end}${after}`
}

const [FIGURES, END] = ['<!-- figures: node scripts/reliability.mjs -->', '<!-- end of the figures -->']
// A campaign that writes its page anew leaves this one as it is, until this is run.
if (!process.argv.includes('--check'))
  text = `${text.split(FIGURES)[0]}${FIGURES}\n\n${figures()}\n\n${END}${text.split(END)[1]}`

if (faults.length === 0 && text !== page) {
  if (process.argv.includes('--check')) faults.push(`${PAGE} is out of date: node scripts/reliability.mjs`)
  else writeFileSync(join(root, PAGE), text)
}
for (const fault of faults) console.error(fault)
for (const catalogue of catalogues) console.log(counts(catalogue))
process.exitCode = faults.length === 0 ? 0 : 1

/** The files whose tests name a case: "… (A-01, B-02)" is the end of a title, or of a comment in the units of the addon's core. */
function filesByCase() {
  const tests = [
    ...readdirSync(join(root, 'test'), { recursive: true }).filter((name) => name.endsWith('.test.ts')),
    ...readdirSync(join(root, 'native/test')).map((name) => join('..', 'native', 'test', name)),
  ].map((name) => join('test', name))
  const found = new Map()
  for (const path of tests.sort())
    for (const [, ids] of read(path).matchAll(/ \(([A-OS]-\d\d(?:, [A-OS]-\d\d)*)\)(?:['"`]|\. \*\/)/g))
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

function counts({ name, all }) {
  const count = (state) => all.filter((one) => stateOf(one) === state).length
  return `${all.length} ${name}: ${count('shown')} shown by tests, ${count('partly')} partly, ${count('not')} not.`
}

function tables(catalogue) {
  const blocks = [counts(catalogue)]
  for (const { title, cases: own } of catalogue.sections) {
    const rows = catalogue.all.filter(({ id }) => own.some((one) => one.id === id)).map(row)
    // Of several, each by the letter of its ids.
    if (catalogue.sections.length > 1) blocks.push(`### ${own[0].id[0]}: ${title}`)
    blocks.push(
      [`| id | ${title === 'Rules' ? 'rule' : 'what happens'} | tests | |`, '|---|---|---|---|', ...rows].join('\n'),
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
