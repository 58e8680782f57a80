/**
 * `node scripts/drain-campaign.mjs [--again] [--table] [--out docs/drain-campaign.md] [piece…]`: what becomes of connections when a
 * version leaves, measured with `verify` on the program that serves everything (test/fixtures/programs/serves-all.cjs).
 *
 * How it is cut into pieces (`move-20`, `all-1`, `linger-20`, …), and what the options do: scripts/campaign.mjs.
 */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, table } from './campaign.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'

const KEEP_ALIVE = ['--clients', 'busy=20,think=80,pause=900,idle=1000']
// The program's keepAliveTimeout is 5 s then (Node's default): a linger of 6 s, which the deadline must leave room for.
const BRIEF = { KEEP_ALIVE_TIMEOUT: '5000' }

/** Each piece is one run of `verify`. */
const PIECES = [
  ...SUPPORTED.map((node) => ({ id: `move-${node}`, part: 'move', node, reloads: 50, options: KEEP_ALIVE })),
  ...[1, 2, 3, 4].map((number) => ({
    id: `all-${number}`,
    part: 'all',
    node: SUPPORTED[number - 1],
    reloads: 25,
    options: [
      ...['--connections', '8', '--drain-timeout', '7s', '--drain-spread', '2s', '--echo'],
      ...['--https', '3001', '--http2', '3002', '--h2c', '3003', '--websocket-path', '/ws', '--sse-path', '/events'],
      ...['--upload-path', '/upload', '--slow-path', '/slow'],
    ],
    env: BRIEF,
  })),
  ...SUPPORTED.map((node) => ({
    id: `linger-${node}`,
    part: 'linger',
    node,
    reloads: 20,
    options: ['--no-migrate', ...KEEP_ALIVE],
    env: BRIEF,
  })),
]

const PARTS = {
  move: {
    title: 'Idle connections move',
    text: `2,000 keep-alive clients that never retry: 20 send request after request, 80 think up to 20 ms, 900 up to 5 s, 1,000 are idle for up
to 10 s (the program's \`keepAliveTimeout\` is 15 s). Plain HTTP/1.1.`,
  },
  all: {
    title: 'Everything at once',
    text: `8 clients of every kind that [verify-command.md](verify-command.md#clients) lists, on one program with HTTP/1.1, HTTPS, HTTP/2 with and
without TLS, WebSocket and server-sent events, on four ports. "Retried" is what the protocol calls unprocessed.`,
  },
  linger: {
    title: 'Without migration',
    text: `\`--no-migrate\`, the clients of the first table, a \`keepAliveTimeout\` of 5 s: each connection is told to close by a last answer, or is
closed after the linger.`,
  },
}

const program = join('test', 'fixtures', 'programs', 'serves-all.cjs')

function argvOf({ reloads, options }) {
  return ['-n', '2', '--reloads', String(reloads), ...options, '--', 'node', program]
}

function run(piece) {
  const node = nodeOf(piece.node)
  console.error(`\n=== ${piece.id}: ${argvOf(piece).join(' ')}`)
  const argv = [join(root, 'dist', 'cli', 'main.js'), 'verify', '--json', ...argvOf(piece)]
  const { stdout, error } = spawnSync(node, argv, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...piece.env, PATH: `${dirname(node)}:${process.env.PATH}` },
    // A report lists every reload.
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (error !== undefined) throw error
  if (stdout === '') throw new Error(`no report of ${piece.id}`)
  const report = JSON.parse(stdout)
  const { total, reloads } = report
  console.error(`${report.result}: ${total.lost} lost of ${total.requests}, ${reloads.done} reloads`)
  for (const reason of report.reasons) console.error(`  ${reason}`)
  return report
}

const COUNTERS = ['OutRsts', 'EstabResets', 'ListenDrops', 'ListenOverflows']

const HEAD = [
  'Node',
  'reloads',
  'requests',
  'lost',
  'closed',
  'retried',
  'moved',
  'cut',
  ...COUNTERS,
  'old ones gone, ms',
]

/** Connections of clients that never ask for a close and speak plain HTTP/1.1: those that are promised to stay. */
const closedOf = ({ kinds, total }, part) => {
  const counted = part === 'all' ? kinds.filter(({ ends }) => ends === 'never') : [total]
  return counted.reduce((sum, { endedPolitely, idleClosed }) => sum + endedPolitely + idleClosed, 0)
}

function row(report, part) {
  const { total, reloads, counters } = report
  return [
    report.node.slice(1),
    `${reloads.done} of ${reloads.each.length}`,
    number(total.requests),
    bold(total.lost),
    part === 'linger' ? number(closedOf(report, part)) : bold(closedOf(report, part)),
    number(total.buckets.retried),
    number(reloads.moved),
    number(reloads.cut),
    ...COUNTERS.map((name) => (counters.judged ? `+${counters.change[name]}` : 'shared')),
    reloads.retiredMs === null ? 'never' : `${number(reloads.retiredMs.median)} / ${number(reloads.retiredMs.p95)}`,
  ]
}

function kindsOf(reports) {
  const names = [...new Set(reports.flatMap(({ kinds }) => kinds.map(({ kind }) => kind)))]
  const rows = names.map((name) => {
    const tallies = reports.flatMap(({ kinds }) => kinds.filter(({ kind }) => kind === name))
    const sum = (of) => tallies.reduce((sum, tally) => sum + of(tally), 0)
    const requests = sum(({ buckets }) => Object.values(buckets).reduce((all, count) => all + count, 0))
    const lost = requests - sum(({ buckets }) => buckets.ok + buckets.retried)
    const counts = [sum(({ buckets }) => buckets.retried), sum(({ endedPolitely }) => endedPolitely)]
    return [name, number(requests), bold(lost), ...[...counts, sum(({ idleClosed }) => idleClosed)].map(number)]
  })
  return table(['client', 'requests', 'lost', 'retried', 'ended politely', 'closed idle'], rows)
}

function section(part, done, resultOf) {
  const pieces = done.filter((piece) => piece.part === part)
  if (pieces.length === 0) return ''
  const reports = pieces.map(resultOf)
  const { title, text } = PARTS[part]
  const [first] = pieces
  const env = Object.entries(first.env ?? {}).map(([name, value]) => `${name}=${value} `)
  const failed = pieces.filter((piece) => resultOf(piece).result !== 'passed')
  return `
## ${title}

${text}

<!-- not run: it is what the table was measured with -->

\`\`\`sh
${env.join('')}reuseport-run verify ${argvOf(first).join(' ')}
\`\`\`

${table(
  HEAD,
  reports.map((report) => row(report, part)),
)}
${part === 'all' ? `\n${kindsOf(reports)}\n` : ''}${failed
  .map(
    (piece) =>
      `\n\`${piece.id}\` **failed**:\n\n${resultOf(piece)
        .reasons.map((reason) => `- ${reason}`)
        .join('\n')}\n`,
  )
  .join('')}`
}

function page(done, resultOf) {
  const reports = done.map(resultOf)
  const requests = reports.reduce((sum, { total }) => sum + total.requests, 0)
  const lost = reports.reduce((sum, { total }) => sum + total.lost, 0)
  const reloads = reports.reduce((sum, report) => sum + report.reloads.done, 0)
  return `# What a drain loses

Written by \`node scripts/drain-campaign.mjs\`; each row is one run of \`verify\` in a network namespace of its own, with the launcher, its
workers and the clients under the same Node. reuseport-run ${reports[0].version}, Linux ${reports[0].kernel}, ${availableParallelism()} processors, which the clients
share with the program. Altogether ${number(requests)} requests and ${number(reloads)} reloads, ${bold(lost)} lost.

"Closed": connections of plain HTTP/1.1 that the server has ended, with or without notice. "Moved": connections that went on in another
process, each time they did. "Cut": open at the drain's deadline. Counters are those of the kernel, over the whole load. Times are median
and 95th percentile, from the order to reload until the last old worker has gone.
${Object.keys(PARTS)
  .map((part) => section(part, done, resultOf))
  .join('')}`
}

await campaign({
  name: 'drain-campaign',
  pieces: PIECES,
  files: [program],
  run,
  passed: ({ result }) => result === 'passed',
  page,
})
