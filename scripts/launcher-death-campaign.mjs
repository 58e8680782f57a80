/**
 * `node scripts/launcher-death-campaign.mjs [--again] [--table] [--out docs/launcher-death-campaign.md] [piece…]`: kill -9 of the launcher under load, at
 * random moments and at each system call of a reload, and another one in its place. How it is cut into pieces, and what the options do:
 * scripts/campaign.mjs; what each piece does: scripts/death/piece.mjs. Root only, for the networks that the pieces have of their own; strace.
 */
import { availableParallelism, release } from 'node:os'
import { join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, sections } from './campaign.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'
import { kernel, passed, runPiece, three } from './piece.mjs'

const PIECE_MS = 178_000
const ROUNDS = 60
const SWEEPS = 8

const several = (count, make) => Array.from({ length: count }, (_, index) => make(index))
const chance = (during, count) =>
  several(count, (index) => ({
    id: `${during}-${index + 1}`,
    part: 'chance',
    node: SUPPORTED[index % SUPPORTED.length],
    plan: { during, rounds: ROUNDS, seed: index + 1 },
  }))

const PIECES = [
  ...chance('steady', 4),
  ...chance('reload', 7),
  ...chance('scale', 3),
  ...chance('upgrade', 3),
  ...several(SWEEPS, (index) => ({
    id: `sweep-${index + 1}`,
    part: 'sweep',
    node: SUPPORTED[0],
    plan: { during: 'reload', seed: index + 1, part: { at: index, of: SWEEPS } },
  })),
]

const SCRIPT = join(root, 'scripts', 'death', 'piece.mjs')
const run = ({ id, plan, node }) => runPiece({ id, plan, node: nodeOf(node), script: SCRIPT, timeout: PIECE_MS })

const PARTS = {
  chance: {
    title: 'At random moments',
    text: `\`steady\`: nothing goes on. \`reload\`, \`scale\` (one worker more, and one less), \`upgrade\`: up to 0.9 s after that was ordered. The next launcher is started
up to 2 s later.`,
  },
  sweep: {
    title: 'At each system call of a reload',
    text: `\`strace\` kills the launcher at one system call of its main thread, counted from the order to reload on; at the next one in the next
round. "Missed": the reload was over before it came so far, and the launcher is killed then. (Each piece takes every ${SWEEPS}th of them.)`,
  },
}

const HEAD = [
  ...['piece', 'Node', 'deaths', 'missed', 'requests', 'lost', 'closed', 'the new version stayed'],
  ...['taken over after, ms: median / 95 % / worst', 'whole again after, ms'],
  'OutRsts / ListenDrops / ListenOverflows',
]

function row({ id }, { figures, node }) {
  return [
    ...[id, node.slice(1)],
    ...[figures.deaths, figures.missed, figures.requests].map(number),
    ...[figures.lost, figures.closed].map(bold),
    number(figures.forward),
    ...[figures.adopted, figures.whole].map(three),
    kernel(figures.counters),
  ]
}

function page(done, resultOf) {
  const results = done.map(resultOf)
  const commits = [...new Set(results.map((result) => result.commit))]
  const sum = (name) => results.reduce((total, { figures }) => total + (figures?.[name] ?? 0), 0)
  return `# What deaths of the launcher cost

Written by \`node scripts/launcher-death-campaign.mjs\` at commit ${commits.join(', ')}, on Linux ${release()} with ${availableParallelism()} processors,
which the clients share with the program. Launcher and 2 workers run as a user without any privilege; each row in a network namespace of its
own. 8 clients open a connection for each request, without a pause, and 16 keep theirs; none retries. \`--bake\` is 300 ms.
The launcher is killed (SIGKILL), and started again; "taken over" is when it answers, "whole" when nothing is under way any more and both slots are
served, both from its start on, which takes what Node takes on such a machine. Without a reload the workers must be the same ones.

Altogether ${number(sum('deaths'))} deaths and ${number(sum('requests'))} requests: ${bold(sum('lost'))} lost.
${sections(PARTS, done, { head: HEAD, row, resultOf, passed })}`
}

await campaign({
  name: 'launcher-death-campaign',
  pieces: PIECES,
  files: [
    join('scripts', 'death', 'piece.mjs'),
    join('scripts', 'steering', 'service.mjs'),
    join('scripts', 'steering', 'program.cjs'),
  ],
  run,
  passed,
  page,
})
