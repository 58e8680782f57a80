/**
 * `npm run bench [-- part…] [--rounds N] [--smoke] [--table] [--out docs/benchmarks.md]`: this package beside what else serves HTTP, the same
 * program, clients and machine, in turns: A B C, B C A …; medians, and ratios within a round. Without names all parts. Results are kept as
 * JSON beside the page, part by part; `--table` writes the page of what is there. `--smoke`: as short as it can be, to see that it runs.
 * What is to be said of a goal that is not met is in explanations.md, below the goal's name.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildTypeScript, root, run } from '../scripts/build.mjs'
import { bundle } from '../scripts/bundle.mjs'
import { commit } from '../scripts/piece.mjs'
import { provide } from './contenders/contenders.mjs'
import { joinGroup } from './cpu-group.mjs'
import { lineOf, ratio } from './figures.mjs'

const NAMES = ['losses', 'throughput', 'reload', 'launch', 'descriptors', 'migrate', 'control', 'many', 'growth']
const PAGE = join(root, 'docs', 'benchmarks.md')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
    out: { type: 'string', default: PAGE },
  },
})
const unknown = positionals.filter((name) => !NAMES.includes(name))
if (unknown.length > 0) throw new Error(`no such part: ${unknown.join(', ')}; there are ${NAMES.join(', ')}`)
const asked = NAMES.filter((name) => positionals.length === 0 || positionals.includes(name))
const parts = Object.fromEntries(
  await Promise.all(NAMES.map(async (name) => [name, await import(`./parts/${name}.mjs`)])),
)
const file = values.out.replace(/\.md$/, '.json')
const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}

if (!values.table) {
  run(process.execPath, ['scripts/build.mjs'])
  // As it is shipped.
  await bundle(root)
  provide(asked.flatMap((name) => [...parts[name].contenders, ...(parts[name].needs ?? [])]))
  const group = joinGroup()
  try {
    for (const name of asked) {
      try {
        results[name] = { ...measure(name, parts[name]), grouped: group !== undefined }
        writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`)
      } catch (error) {
        // Half an hour of others' figures is not lost for it.
        console.error(`${name}: ${error.message}`)
        process.exitCode = 1
      }
    }
  } finally {
    group?.leave()
  }
  buildTypeScript()
}
writeFileSync(values.out, page())
console.error(`written: ${values.out}`)
// The README has a table of it.
if (values.out === PAGE) run(process.execPath, ['scripts/generate.mjs'])

function measure(name, part) {
  const rounds = Number(values.rounds ?? (values.smoke ? 1 : part.rounds))
  const shaped = values.smoke ? part.smoke : part.plan
  const plan = part.planned?.(shaped, results) ?? shaped
  const [found, versions] = [{}, {}]
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < part.contenders.length; turn++) {
      const contender = part.contenders[(round + turn) % part.contenders.length]
      console.error(`${name}, round ${round + 1} of ${rounds}: ${contender}`)
      const order = { part: name, contender, round, plan }
      const said = execFileSync(process.execPath, [join(import.meta.dirname, 'one.mjs'), JSON.stringify(order)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
        maxBuffer: 2 ** 26,
      })
      const one = JSON.parse(said)
      versions[contender] = one.version
      found[contender] ??= []
      found[contender].push(one.found)
    }
  }
  return { found, versions, rounds, node: process.version, commit: commit() }
}

function page() {
  const there = NAMES.filter((name) => results[name] !== undefined)
  const goals = there.flatMap((name) => parts[name].goals(results[name].found))
  const sections = there.map((name) => {
    const { found, versions, rounds, node, commit, grouped } = results[name]
    const who = Object.entries(versions).map(([contender, version]) => `${contender} ${version}`.trim())
    const where = grouped ? '' : ' Without a cgroup: each session was scheduled as a group of its own.'
    return `\n## ${parts[name].title}\n\nNode ${node}, commit ${commit}, medians of ${rounds} rounds. ${who.join(', ')}.${where}\n\n${parts[name].page(found)}`
  })
  const all = (key) => [...new Set(there.map((name) => results[name][key]))].join(', ')
  return `# Benchmarks

Written by \`npm run bench\` with Node ${all('node')}, of commit ${all('commit')}, on Linux ${release()}, ${availableParallelism()} processors (${cpus()[0].model}), ${Math.round(totalmem() / 2 ** 30)} GB,
which the clients share with the contenders. Each contender
runs [the same program](../examples/http/app.js) in a network namespace of its own, one after the other, again and again, each round in
another order. Ratios are medians of ratios within a round. All of it is in one cgroup with the controller \`cpu\`, as a service is: outside of one the
kernel schedules each session as a group (autogroup, sched(7)), and whoever gives each worker a session, as this launcher does, is
scheduled otherwise than who does not.

## Goals

"Measured" is the median of the rounds, and beside it are the least and the greatest of them: the noise of this machine. The last column
but one is measured ÷ goal.

${lineOf(['', 'goal', 'measured', 'rounds', '÷ goal', 'met'])}
${lineOf(['---', '---:', '---:', '---:', '---:', '---'])}
${goals.map(goalLine).join('\n')}
${explained(goals.filter(({ met }) => !met))}${sections.join('')}`
}

function goalLine({ goal, target, bound, value, values, met }) {
  if (value === null) return lineOf([goal, target, '–', '–', '–', '**no**'])
  const noise = [Math.min, Math.max].map((end) => ratio(end(...values))).join(' – ')
  return lineOf([goal, target, ratio(value), noise, bound === 0 ? '–' : ratio(value / bound), met ? 'yes' : '**no**'])
}

/** What explanations.md says of each goal that is not met. */
function explained(missed) {
  if (missed.length === 0) return ''
  const texts = readFileSync(join(import.meta.dirname, 'explanations.md'), 'utf8').split(/^## /m)
  const of = (goal) =>
    texts
      .find((text) => text.startsWith(`${goal}\n`))
      ?.slice(goal.length)
      .trim()
  const items = missed.map(({ goal }) => `### ${goal}\n\n${of(goal) ?? 'Not explained yet.'}\n`)
  return `\n## What falls short, and why\n\n${items.join('\n')}`
}
