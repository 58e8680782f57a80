/**
 * `node scripts/upgrade-campaign.mjs [--again] [--table] [--out docs/upgrade-campaign.md] [piece…]`: a launcher under load that is replaced again and
 * again, on each Node and from Node to Node. How it is cut into pieces, and what the options do: scripts/campaign.mjs; what each piece
 * does: scripts/upgrade/piece.mjs. Root only, for the networks that the pieces have of their own.
 */
import { availableParallelism, release } from 'node:os'
import { join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, sections } from './campaign.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'
import { kernel, passed, runPiece, three } from './piece.mjs'

const PIECE_MS = 175_000
const UPGRADES = 100

const PIECES = [
  ...SUPPORTED.map((node) => ({ id: `steady-${node}`, part: 'steady', node, plan: {} })),
  ...SUPPORTED.map((node) => ({ id: `signals-${node}`, part: 'signals', node, plan: { signals: true } })),
  ...SUPPORTED.map((node) => ({ id: `reloads-${node}`, part: 'reloads', node, plan: { reloads: true, upgrades: 40 } })),
  { id: 'switch', part: 'switch', node: SUPPORTED[0], plan: { nodes: SUPPORTED.map(nodeOf) } },
]

const SCRIPT = join(root, 'scripts', 'upgrade', 'piece.mjs')
const run = ({ id, plan, node }) =>
  runPiece({ id, plan: { upgrades: UPGRADES, ...plan }, node: nodeOf(node), script: SCRIPT, timeout: PIECE_MS })

const PARTS = {
  steady: {
    title: 'One upgrade after the other',
    text: 'Pid and workers must stay the same, and no connection be closed.',
  },
  signals: {
    title: 'A signal every millisecond',
    text: `SIGUSR1 every millisecond through all of it; and in each upgrade, at a random moment, one SIGTTIN or SIGTTOU, in turn: the number of workers
must follow each of them, before the next upgrade begins ("asked for by a signal").`,
  },
  reloads: {
    title: 'SIGUSR2',
    text: 'A new launcher, then new workers: idle connections move to them.',
  },
  switch: {
    title: 'From Node to Node',
    text: `The Node behind the name that the launcher was started by is another one each time: ${SUPPORTED.join(', ')}, and again.`,
  },
}

const HEAD = [
  ...['piece', 'Node', 'upgrades', 'requests', 'lost', 'closed', 'signals', 'asked for by a signal'],
  ...['nobody led, ms: median / 95 % / worst', 'whole upgrade, ms', 'descriptors', 'memory, MiB'],
  'OutRsts / ListenDrops / ListenOverflows',
]

function row({ id }, { figures, node }) {
  return [
    id,
    figures.versions.length > 1 ? figures.versions.map((one) => one.slice(1)).join(', ') : node.slice(1),
    ...[figures.upgrades, figures.requests].map(number),
    ...[figures.lost, figures.closed].map(bold),
    ...[figures.signals, figures.asked].map(number),
    ...[figures.gap, figures.took].map(three),
    `+${figures.fds}`,
    figures.rssMiB < 0 ? String(figures.rssMiB) : `+${figures.rssMiB}`,
    kernel(figures.counters),
  ]
}

function page(done, resultOf) {
  const results = done.map(resultOf)
  const commits = [...new Set(results.map((result) => result.commit))]
  const sum = (name) => results.reduce((total, { figures }) => total + (figures?.[name] ?? 0), 0)
  return `# What upgrades of the launcher cost

Written by \`node scripts/upgrade-campaign.mjs\` at commit ${commits.join(', ')}, on Linux ${release()} with ${availableParallelism()} processors,
which the clients share with the program. Launcher and 2 workers run as a user without any privilege; each row in a network namespace of its
own. 8 clients open a connection for each request, without a pause, and 16 keep theirs; none retries. \`--health\` and \`--liveness 1s\` are on.
Each upgrade is tried first, as always; "nobody led" is the time from the last look of the old launcher to the first line of the new one.
"Descriptors" and "memory" (resident, at some moment) of the launcher are after all upgrades, against before.

Altogether ${number(sum('upgrades'))} upgrades, ${number(sum('signals'))} signals and ${number(sum('requests'))} requests: ${bold(sum('lost'))} lost.
${sections(PARTS, done, { head: HEAD, row, resultOf, passed })}`
}

await campaign({
  name: 'upgrade-campaign',
  pieces: PIECES,
  files: [join('scripts', 'upgrade', 'piece.mjs'), join('scripts', 'steering', 'program.cjs')],
  run,
  passed,
  page,
})
