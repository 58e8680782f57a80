// Tries any input on whatever reads what others have written: node scripts/fuzz.mjs [seconds] [native | js]
//
//   native   libFuzzer on the core of the addon, under the address and undefined-behaviour sanitizers (sanitize.mjs); needs clang-14
//   js       test/fuzz: parsers and writers of the launcher, and a launcher that runs, with seeds that are new each time
//
// `seconds` (30) for each target, one after the other. Inputs begin with native/fuzz/corpus and test/fixtures/fuzz. Adds what was tried to the
// counts in docs/fuzzing.md. Ends with 1 if anything was found.

import { spawnSync } from 'node:child_process'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './build.mjs'

const PAGE = join(root, 'docs', 'fuzzing.md')
const [BEGIN, END] = ['<!-- counts: node scripts/fuzz.mjs -->', '<!-- end of the counts -->']
const [seconds = '30', only = 'all'] = process.argv.slice(2)
if (!/^[1-9]\d*$/.test(seconds) || !['all', 'native', 'js'].includes(only)) {
  console.error('usage: node scripts/fuzz.mjs [seconds] [native | js]')
  process.exit(2)
}

/** What was run ended otherwise than it should. */
let isBroken = false
const runs = [...(only === 'js' ? [] : fuzzNative()), ...(only === 'native' ? [] : fuzzJs())]
const counts = countsOf(readFileSync(PAGE, 'utf8'))
for (const { target, inputs, failed } of runs) {
  const before = counts.get(target) ?? { inputs: 0, found: 0 }
  counts.set(target, { inputs: before.inputs + inputs, found: before.found + (failed ? 1 : 0) })
  console.log(`${target}: ${inputs} inputs${failed ? ', FAILED' : ''}`)
}
writeFileSync(PAGE, withCounts(readFileSync(PAGE, 'utf8'), counts))
process.exitCode = isBroken || runs.length === 0 ? 1 : 0

function fuzzNative() {
  const seeds = join(root, 'native', 'fuzz', 'corpus')
  for (const target of readdirSync(seeds)) {
    const corpus = join(root, 'build-cmake', 'fuzz', 'corpus', `fuzz_${target}`)
    mkdirSync(corpus, { recursive: true })
    cpSync(join(seeds, target), corpus, { recursive: true })
  }
  // Ends at the first target in which something is found.
  const text = output(process.execPath, [join(root, 'scripts', 'sanitize.mjs'), 'fuzz', seconds])
  return text
    .split(/^=== fuzz_/m)
    .slice(1)
    .map((part) => {
      const inputs = Number(/stat::number_of_executed_units:\s*(\d+)/.exec(part)?.[1] ?? 0)
      return { target: /^\w+/.exec(part)[0], inputs, failed: !/stat::/.test(part) || /^==\d+==/m.test(part) }
    })
}

function fuzzJs() {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
  const file = join(folder, 'counts')
  const env = { ...process.env, FUZZ_SECONDS: seconds, FUZZ_COUNTS: file }
  output(process.execPath, [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', 'test/fuzz'], env)
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  rmSync(folder, { recursive: true })
  return lines.map((line) => JSON.parse(line))
}

/** What it and its children say, in that order, which is shown, too. */
function output(file, argv, env = process.env) {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
  const said = join(folder, 'said')
  const fd = openSync(said, 'w')
  const { status } = spawnSync(file, argv, { cwd: root, env, stdio: ['ignore', fd, fd] })
  isBroken ||= status !== 0
  closeSync(fd)
  const text = readFileSync(said, 'utf8')
  rmSync(folder, { recursive: true })
  console.log(text)
  return text
}

function countsOf(page) {
  const table = page.split(BEGIN)[1].split(END)[0]
  const rows = table.matchAll(/^\| (\S+) \| ([\d,]+) \| (\d+) \|$/gm)
  return new Map(
    [...rows].map(([, target, inputs, found]) => [
      target,
      { inputs: Number(inputs.replaceAll(',', '')), found: Number(found) },
    ]),
  )
}

function withCounts(page, all) {
  const rows = [...all].sort(([one], [other]) => (one < other ? -1 : 1))
  const sum = rows.reduce((total, [, { inputs }]) => total + inputs, 0)
  const found = rows.reduce((total, [, one]) => total + one.found, 0)
  const lines = [
    `${sum.toLocaleString('en')} inputs, ${found} runs that found something.`,
    '',
    '| target | inputs so far | runs that found something |',
    '|---|---:|---:|',
    ...rows.map(([target, one]) => `| ${target} | ${one.inputs.toLocaleString('en')} | ${one.found} |`),
  ]
  const [before, rest] = page.split(BEGIN)
  return `${before}${BEGIN}\n\n${lines.join('\n')}\n\n${END}${rest.split(END)[1]}`
}
