/**
 * `node scripts/udp-campaign.mjs [--again] [--table] [--out docs/udp-campaign.md] [piece…]`: handovers of a UDP socket without a launcher, a piece for
 * each Node. How it is cut into pieces, and what the options do: scripts/campaign.mjs; what a piece does: scripts/handover/udp.mjs.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism, release } from 'node:os'
import { dirname, join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, table } from './campaign.mjs'
import { DATAGRAM_HANDOVERS, DATAGRAM_RATES, STARTS } from './handover/plan.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'

const directory = join('scripts', 'handover')

function run(piece) {
  const node = nodeOf(piece.node)
  console.error(`=== ${piece.id}`)
  const { stdout, status } = spawnSync(node, [join(root, directory, 'piece.mjs'), 'udp'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${piece.id} ended with ${status}`)
  const found = JSON.parse(stdout)
  const { sent, lost, overflows, twice, rate } = found
  console.error(`${sent} at ${rate}/s: ${lost} lost (${overflows} without room), ${twice} twice`)
  return found
}

/** What a full buffer has dropped is no handover's: the private network counts it. */
const missing = ({ lost, overflows }) => Math.max(0, lost - overflows)

function passed({ each, twice, private: isAlone, ...found }) {
  return isAlone && missing(found) === 0 && twice === 0 && each.every(({ code }) => code === 0)
}

function row({ node, tried, rate, each, sent, lost, overflows, twice, ...found }) {
  const baseline = tried.at(-1)
  return [
    node.slice(1),
    number(rate),
    `${number(baseline.lost)} of ${number(baseline.sent)}`,
    `${each.length} of ${DATAGRAM_HANDOVERS}`,
    number(sent),
    number(lost),
    number(overflows),
    bold(missing({ lost, overflows, ...found })),
    bold(twice),
  ]
}

const HEAD = ['Node', 'a second', 'lost, no handover', 'handovers', 'datagrams', 'lost', 'without room']

function page(done, resultOf) {
  return `# What a handover of a UDP socket loses

Written by \`node scripts/udp-campaign.mjs\`: processes of one program that hand a UDP socket over to each other by
[\`bindReusePort\`](library.md#udp), and a client that numbers its datagrams, sends none again, and does not wait for answers. Each is sent back by the
program. In a network namespace of its own; Linux ${release()}, ${availableParallelism()} processors, which the client shares with the program.

The rate is the first of ${DATAGRAM_RATES.map(number).join(', ')} datagrams a second at which nothing is lost while ${STARTS} other processes of the program start
and end, without any handover ("lost, no handover"): as much as these processors carry. "Without room": what the kernel has dropped because a socket's
buffer was full (RcvbufErrors), the program's or the client's, that did not get a processor in time. "Missing" is lost, and was not that.

${table(
  [...HEAD, 'missing', 'twice'],
  done.map((piece) => row(resultOf(piece))),
)}
`
}

await campaign({
  name: 'udp-campaign',
  pieces: SUPPORTED.map((node) => ({ id: `udp-${node}`, node })),
  files: [
    ...readdirSync(join(root, directory)).map((file) => join(directory, file)),
    join('test', 'fixtures', 'worker', 'handover.cjs'),
  ],
  run,
  passed,
  page,
})
