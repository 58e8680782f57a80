/**
 * `node scripts/verify-table.mjs [--reloads 100] [--min-requests 200000] [--out docs/verify.md] [program…]`: runs `verify` on the
 * examples, one after the other, and writes what it found as a table. Exits 1 if anything was lost, with the table written all the same.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { number, table } from './campaign.mjs'

const root = join(import.meta.dirname, '..')
const version = (name) => JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    reloads: { type: 'string', default: '100' },
    'min-requests': { type: 'string', default: '200000' },
    out: { type: 'string', default: join(root, 'docs', 'verify.md') },
  },
})

const PROGRAMS = [
  { name: 'http', title: 'plain `http`', command: ['node', 'app.js'] },
  {
    name: 'express',
    title: `Express ${version('express')}`,
    command: ['node', 'app.js'],
    options: ['--upload-path', '/upload', '--slow-path', '/slow'],
  },
  {
    name: 'fastify',
    title: `Fastify ${version('fastify')}`,
    command: ['node', 'app.js'],
    options: ['--upload-path', '/upload'],
  },
  { name: 'esm', title: 'ES module', command: ['node', 'app.mjs'] },
  { name: 'npm-start', title: '`npm start`', command: ['npm', 'start'] },
]

const unknown = positionals.filter((name) => !PROGRAMS.some((program) => program.name === name))
if (unknown.length > 0) throw new Error(`no such program: ${unknown.join(', ')}`)

/** The arguments of a run, without what only concerns its output. */
const argvOf = ({ options = [], command }) => [
  ...['-n', '2', '--reloads', values.reloads, '--min-requests', values['min-requests'], ...options],
  ...['--', ...command],
]

function verify(program) {
  console.error(`\n${program.title}`)
  const argv = [join(root, 'dist', 'cli', 'main.js'), 'verify', '--json', ...argvOf(program)]
  const cwd = join(root, 'examples', program.name)
  const { stdout, error } = spawnSync(process.execPath, argv, {
    cwd,
    encoding: 'utf8',
    // A report lists every reload.
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (error !== undefined) throw error
  if (stdout === '') throw new Error(`no report about ${program.name}`)
  return { program, report: JSON.parse(stdout) }
}

const COUNTERS = ['OutRsts', 'EstabResets', 'ListenDrops', 'ListenOverflows']

function lostText({ buckets, lost }) {
  const filled = Object.entries(buckets).filter(([bucket, count]) => !['ok', 'retried'].includes(bucket) && count > 0)
  return lost === 0 ? '**0**' : filled.map(([bucket, count]) => `${number(count)} ${bucket}`).join(', ')
}

function summaryRow({ program, report }) {
  const { total, counters, reloads } = report
  const change = counters.judged ? counters.change : null
  const spread = (of) => (of === null ? 'never' : `${number(of.median)} / ${number(of.p95)}`)
  return [
    program.title,
    number(total.requests),
    lostText(total),
    number(total.idleClosed),
    ...COUNTERS.map((name) => (change === null ? 'shared' : `+${change[name]}`)),
    `${reloads.done} of ${reloads.each.length}`,
    spread(reloads.admittedMs),
    spread(reloads.retiredMs),
  ]
}

const SUMMARY = [
  'program',
  'requests',
  'lost',
  'closed idle',
  ...COUNTERS,
  'reloads',
  'new ones serve, ms',
  'old ones gone, ms',
]

function kindRows(results) {
  const names = [...new Set(results.flatMap(({ report }) => report.kinds.map(({ kind }) => kind)))]
  const cell = ({ report }, name) => {
    const tally = report.kinds.find(({ kind }) => kind === name)
    if (tally === undefined) return '–'
    const requests = Object.values(tally.buckets).reduce((sum, count) => sum + count, 0)
    return `${number(requests)} (${number(tally.connects)})`
  }
  return names.map((name) => [name, ...results.map((result) => cell(result, name))])
}

function page(results) {
  const { node, kernel, version: ours, kinds } = results[0].report
  const failed = results.filter(({ report }) => report.result !== 'passed')
  return `# What \`verify\` found

Written by \`node scripts/verify-table.mjs\`; every row is one run of

\`\`\`
reuseport-run verify ${argvOf({ command: ['…'] }).join(' ')}
\`\`\`

in the program's directory below \`examples/\`: ${kinds[0].connections} clients of each kind at the same time, none of which ever retries, in a
network namespace of its own. reuseport-run ${ours}, Node ${node}, Linux ${kernel}, ${availableParallelism()} processors, which the clients share
with the program.

${table(SUMMARY, results.map(summaryRow))}

"Lost" is every request that did not get its complete, proper answer, by what became of it. "Closed idle" counts connections that the server
closed between two requests without notice. The kernel's counters are those of the namespace over the whole load. Times are median / 95th
percentile of all reloads, from the order to reload.

Requests by kind of client (connections opened for them):

${table(['client', ...results.map(({ program }) => program.title)], kindRows(results))}
${failed.map(({ program, report }) => `\n${program.title} **failed**:\n\n${report.reasons.map((reason) => `- ${reason}`).join('\n')}\n`).join('')}`
}

const results = PROGRAMS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)).map(verify)
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, page(results))
console.error(`\nwritten: ${values.out}`)
process.exitCode = results.every(({ report }) => report.result === 'passed') ? 0 : 1
