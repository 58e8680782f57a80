/**
 * `node scripts/handover-campaign.mjs [--again] [--table] [--out docs/handover-campaign.md] [piece…]`: handovers without a launcher: `load-20` …
 * under full load, `kill-20` … with each of the two processes killed at every step, `race-1` … of two newcomers. How it is cut into pieces,
 * and what the options do: scripts/campaign.mjs; what each piece does: scripts/handover.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism, release } from 'node:os'
import { dirname, join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, table } from './campaign.mjs'
import { CLIENTS, HANDOVERS, OWN_CLIENTS, RACES } from './handover/plan.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'

const directory = join('scripts', 'handover')
const COUNTERS = ['OutRsts', 'EstabResets', 'ListenDrops', 'ListenOverflows']

const PIECES = [
  ...SUPPORTED.map((node) => ({ id: `load-${node}`, part: 'load', node })),
  ...SUPPORTED.map((node) => ({ id: `kill-${node}`, part: 'kill', node })),
  ...[1, 2].map((one) => ({ id: `race-${one}`, part: 'race', node: SUPPORTED[0] })),
]

function run(piece) {
  const node = nodeOf(piece.node)
  console.error(`=== ${piece.id}`)
  const { stdout, status } = spawnSync(node, [join(root, directory, 'piece.mjs'), piece.part], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${piece.id} ended with ${status}`)
  const found = JSON.parse(stdout)
  const report = { ...found, faults: faultsOf[piece.part](found) }
  console.error(
    `${number(report.requests)} requests; ${report.faults.length === 0 ? 'no fault' : report.faults.join('; ')}`,
  )
  return report
}

const sum = (list, of) => list.reduce((total, one) => total + of(one), 0)

const faultsOf = {
  load({ lost, closed, each, counters, reasons, private: isAlone }) {
    const faults = [
      [lost > 0, `${lost} lost`],
      [closed > 0, `${closed} connections closed that should have moved`],
      [sum(each, ({ cut }) => cut) > 0, 'connections were cut'],
      [each.length !== HANDOVERS || each.some(({ code }) => code !== 0), 'not every handover was done'],
      ...COUNTERS.map((name) => [isAlone && counters[name] > 0, `${name} +${counters[name]}`]),
    ]
    return [...faults.filter(([is]) => is).map(([, what]) => what), ...reasons]
  },
  kill: ({ stuck }) => stuck,
  race: ({ wrong, reasons, races }) => [...wrong, ...reasons, ...(races === RACES ? [] : ['not every race was run'])],
}

function middle(list, share) {
  const sorted = [...list].sort((a, b) => a - b)
  return number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))])
}

const PARTS = {
  load: {
    title: 'Under load',
    text: `HTTP, HTTPS, a protocol of lines of text, and HTTP on a path: ${sum(Object.values(CLIENTS), (count) => count) + 2 * OWN_CLIENTS} clients, with a connection for each request, or kept alive with pauses of every length,
pipelining, slow heads. "Closed": connections of plain HTTP that the server has ended, with or without notice. "Moved": connections that went
on in the next process, each time they did. Times are median and 95th percentile, from the start of the new process until the old one has gone.`,
    head: ['Node', 'handovers', 'requests', 'lost', 'closed', 'moved', 'cut', ...COUNTERS, 'old one gone, ms'],
    row: ({ node, each, requests, lost, closed, counters, private: isAlone }) => [
      node.slice(1),
      `${each.length} of ${HANDOVERS}`,
      number(requests),
      bold(lost),
      bold(closed),
      number(sum(each, ({ moved }) => moved)),
      number(sum(each, ({ cut }) => cut)),
      ...COUNTERS.map((name) => (isAlone ? `+${counters[name]}` : 'shared')),
      [0.5, 0.95]
        .map((share) =>
          middle(
            each.map(({ ms }) => ms),
            share,
          ),
        )
        .join(' / '),
    ],
  },
  kill: {
    title: 'Killed at every step',
    text: `One of the two is killed before it says something, after that, or when it hears something; then a third process takes over. What the old one
had in hand when it was killed is lost with it, at most one request of each of 4 clients; nothing else may be. "Alone": it was killed before it had
given its sockets to the new one, and clients were refused until that one had sockets of its own. "Stuck": nobody served, or nobody could take over, or more
was lost.`,
    head: ['Node', 'kills', 'requests', 'lost, new one killed', 'lost, old one killed', 'lost, killed alone', 'stuck'],
    row: ({ node, kills, requests, lost, stuck }) => [
      node.slice(1),
      number(kills),
      number(requests),
      bold(lost.new),
      number(lost.old),
      number(lost.alone),
      bold(stuck.length),
    ],
  },
  race: {
    title: 'Two at the same time',
    text: 'Two new processes start together, while the old one serves 2 clients. Exactly one must take over, and the other be told that it is busy.',
    head: ['Node', 'races', 'without exactly one winner', 'requests', 'lost'],
    row: ({ node, races, wrong, requests, lost }) => [
      node.slice(1),
      number(races),
      bold(wrong.length),
      number(requests),
      bold(lost),
    ],
  },
}

function section([part, { title, text, head, row }], done, resultOf) {
  const pieces = done.filter((piece) => piece.part === part)
  if (pieces.length === 0) return ''
  const failed = pieces.filter((piece) => resultOf(piece).faults.length > 0)
  const faults = failed.map((piece) => `\n\`${piece.id}\` **failed**: ${resultOf(piece).faults.join('; ')}\n`)
  return `
## ${title}

${text}

${table(
  head,
  pieces.map((piece) => row(resultOf(piece))),
)}
${faults.join('')}`
}

function page(done, resultOf) {
  return `# What a handover without a launcher loses

Written by \`node scripts/handover-campaign.mjs\`: processes of one program that hand over to each other by
[\`handover\`](library.md#handover-without-a-launcher), and clients that never retry, in a network namespace of its own. Linux ${release()},
${availableParallelism()} processors, which the clients share with the program.
${Object.entries(PARTS)
  .map((part) => section(part, done, resultOf))
  .join('')}`
}

await campaign({
  name: 'handover-campaign',
  pieces: PIECES,
  files: [
    ...readdirSync(join(root, directory)).map((file) => join(directory, file)),
    ...['handover.cjs', 'handover-fault.cjs'].map((file) => join('test', 'fixtures', 'worker', file)),
  ],
  run,
  passed: ({ faults }) => faults.length === 0,
  page,
})
