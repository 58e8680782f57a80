// `node scripts/repeat.mjs 100 [-- vitest arguments]`: every test, so many times, on what is built now. After each run it is written down, below
// "Repeats" in docs/testing.md and in test/reliability/repeats.json, so that it may be ended at any time. Ends at once when the tree has changed, and with 1 if a
// run was red. `--table` writes the page alone.

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from './build.mjs'
import { number, table } from './campaign.mjs'
import { vitest } from './vitest.mjs'

const RECORD = join(root, 'test', 'reliability', 'repeats.json')
const PAGE = join(root, 'docs', 'testing.md')
const [BEGIN, END] = ['<!-- repeats: node scripts/repeat.mjs -->', '<!-- end of the repeats -->']
/** What a run is about. */
const TREE = ['src', 'native', 'test', 'scripts', 'models', 'bench', 'package.json', `:!${RECORD}`]

const split = process.argv.indexOf('--')
const [times = '1'] = process.argv.slice(2, split === -1 ? undefined : split)
const filters = split === -1 ? [] : process.argv.slice(split + 1)

const git = (...words) => execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim()
const tree = () => git('status', '--porcelain', '--', ...TREE) + git('diff', 'HEAD', '--', ...TREE)

if (times !== '--table') {
  const runs = Number(times)
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`${times} is no number of runs`)
  run(process.execPath, ['scripts/build.mjs'], { cwd: root })
  const about = {
    commit: git('log', '-1', '--format=%h', '--', ...TREE) + (tree() === '' ? '' : '-dirty'),
    node: process.version,
    tests: filters.length === 0 ? 'all' : filters.join(' '),
  }
  const before = git('rev-parse', 'HEAD') + tree()
  for (let nth = 1; nth <= runs; nth++) {
    const { passed, end, counts, red } = vitest(filters)
    if (git('rev-parse', 'HEAD') + tree() !== before) throw new Error('the tree has changed: this run says nothing')
    const names = passed || red.length > 0 ? red : [`it ended with ${end}`]
    keep(about, names)
    writePage()
    console.log(`run ${nth} of ${runs}: ${counts ?? `ended with ${end}`}${names.map((name) => `\n  ${name}`).join('')}`)
    if (!passed) process.exitCode = 1
  }
}
writePage()

function recorded() {
  return JSON.parse(readFileSync(RECORD, 'utf8'))
}

function keep(about, names) {
  const all = recorded()
  const isSame = ({ commit, node, tests }) => commit === about.commit && node === about.node && tests === about.tests
  const own = all.find(isSame) ?? { ...about, runs: 0, redRuns: 0, red: {} }
  if (!all.includes(own)) all.push(own)
  own.runs += 1
  if (names.length > 0) own.redRuns += 1
  for (const name of names) own.red[name] = (own.red[name] ?? 0) + 1
  writeFileSync(RECORD, `${JSON.stringify(all, null, 2)}\n`)
}

function writePage() {
  const page = readFileSync(PAGE, 'utf8')
  const all = recorded()
  const rows = all.map(({ commit, node, tests, runs, redRuns, red }) => [
    commit,
    node.slice(1),
    tests === 'all' ? 'all' : `\`${tests}\``,
    number(runs),
    redRuns === 0 ? '**0**' : number(redRuns),
    Object.entries(red)
      .map(([name, count]) => `${name.replaceAll('|', '\\|')} (${count})`)
      .join('<br>'),
  ])
  const text =
    rows.length === 0
      ? 'No run yet.'
      : `${total(all)}\n\n${table(['commit', 'Node', 'tests', 'runs', 'red', 'which (how often)'], rows)}`
  writeFileSync(PAGE, `${page.split(BEGIN)[0]}${BEGIN}\n\n${text}\n\n${END}${page.split(END)[1]}`)
}

function total(all) {
  const whole = all.filter(({ tests }) => tests === 'all')
  const sum = (key) => whole.reduce((total, one) => total + one[key], 0)
  return `${number(sum('runs'))} runs of all tests, ${number(sum('redRuns'))} of them red.`
}
