/**
 * `node scripts/steering-campaign.mjs [--again] [--table] [--out docs/steering-campaign.md] [piece…]`: what workers that are killed, that hang,
 * and that come and go cost, under load of clients that never retry. How it is cut into pieces, and what the options do:
 * scripts/campaign.mjs; what each piece does: scripts/steering. Root only, for the networks that the pieces have of their own.
 */
import { availableParallelism, release } from 'node:os'
import { join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, sections } from './campaign.mjs'
import { nodeOf, SUPPORTED } from './nodes.mjs'
import { KERNEL, kernel, ms, passed, runPiece, three } from './piece.mjs'

const PIECE_MS = 175_000
const directory = join('scripts', 'steering')

const several = (count, make) => Array.from({ length: count }, (_, index) => make(index + 1))

/** Of everything, and again with steering denied. */
const sorts = (denied) => {
  const suffix = denied ? '-denied' : ''
  const times = (count) => (denied ? Math.ceil(count / 5) : count)
  return [
    ...[2, 4].flatMap((workers) =>
      several(times(10), (part) => ({
        id: `kill-${workers}-${part}${suffix}`,
        part: 'kill',
        plan: { does: 'kill', workers, rounds: 100, denied },
      })),
    ),
    ...several(times(2), (part) => ({
      id: `standby-${part}${suffix}`,
      part: 'kill',
      plan: { does: 'kill', workers: 1, standby: 1, rounds: 100, denied },
    })),
    ...['stop', 'spin'].flatMap((how) =>
      [2, 4].map((workers) => ({
        id: `${how}-${workers}${suffix}`,
        part: 'hang',
        plan: { does: 'hang', workers, how, rounds: denied ? 8 : 20, denied },
      })),
    ),
    ...several(2, (part) => ({
      id: `scale-${part}${suffix}`,
      part: 'scale',
      plan: { does: 'scale', rounds: 50, parkMs: 300, denied },
    })),
    ...several(4, (part) => ({
      id: `far-${part}${suffix}`,
      part: 'scale',
      plan: { does: 'scale', rounds: 25, parkMs: 1_000, rttMs: 200, fresh: 256, kept: 64, denied },
    })),
    ...SUPPORTED.map((node) => ({
      id: `chaos-${node}${suffix}`,
      part: 'chaos',
      node,
      plan: { does: 'chaos', seconds: 60, seed: Number(node), standby: node % 4 === 0 ? 1 : 0, denied },
    })),
  ]
}

const canary = (id, plan) => ({ id, part: 'canary', plan: { does: 'canary', ...plan } })

const PIECES = [
  ...sorts(false),
  canary('canary-share', { how: 'share' }),
  canary('canary-client', { how: 'client' }),
  canary('canary-time', { how: 'time', rounds: 5 }),
  canary('canary-errs', { how: 'errs', rounds: 10 }),
  canary('canary-dies', { how: 'dies', rounds: 10 }),
  { id: 'swaps', part: 'swaps', plan: { does: 'swaps', swaps: 8_000 } },
  ...sorts(true),
  canary('canary-denied', { how: 'refused', rounds: 5, denied: true }),
]

const SCRIPT = join(root, directory, 'piece.mjs')
const run = ({ id, plan, node }) =>
  runPiece({ id, plan, node: node === undefined ? process.execPath : nodeOf(node), script: SCRIPT, timeout: PIECE_MS })

const PARTS = {
  kill: {
    title: 'kill -9',
    text: `A worker is killed while 8 clients open a connection for each request, without a pause, and 16 keep theirs; every second one is stopped
first, until connections wait in its queue. The program notes each connection that it has, so "in hand" is known to the connection, and
"lost" is whatever was lost beside those. "Longest wait": of all other new connections from the kill until the slot is served again, per kill.
"Gap": from the kill to the first connection that the warm spare accepts.`,
    head: [
      ...['piece', 'workers', 'kills', 'requests', 'in hand', 'of those lost', 'lost', 'waited in the queue'],
      ...['longest wait, ms: median / 95 % / worst', 'gap, ms'],
    ],
    row: ({ plan }, figures) => [
      `${plan.workers}${plan.standby === undefined ? '' : ` + ${plan.standby} spare`}`,
      ...[figures.kills, figures.requests, figures.inHand, figures.lostInHand].map(number),
      bold(figures.lostElse),
      number(figures.queued),
      ...[figures.wait, figures.gap].map(three),
    ],
  },
  hang: {
    title: 'Hangs',
    text: `A worker is stopped (SIGSTOP), or runs a busy loop, for 3 s; \`--hang-timeout\` is 2 s. Beside the clients of the first table a request over a
new connection is made every 5 ms. "Wait": of the connections that began from then on until 2.2 s later, answered by
anybody. What the hung worker had in hand is answered when it is back, so nothing may be lost. "Rescued": connections in its queue when a
sibling began to accept from it, and when that was.`,
    head: [
      ...['piece', 'workers', 'hangs', 'requests', 'lost', 'closed', 'wait, ms: 99 % / worst'],
      ...['rescued', 'begun after, ms: median / worst', KERNEL],
    ],
    row: ({ plan }, figures) => [
      plan.workers,
      ...[figures.hangs, figures.requests].map(number),
      ...[figures.lost, figures.closed].map(bold),
      `${ms(figures.wait.p99)} / ${ms(figures.wait.worst)}`,
      number(figures.rescued),
      `${ms(figures.rescue.median)} / ${ms(figures.rescue.worst)}`,
      kernel(figures.counters),
    ],
  },
  chaos: {
    title: 'Everything at once',
    text: `For a minute workers are killed, and stopped for up to 1.5 s, their number changes between 1 and 4, and the version is
reloaded, sometimes with a canary, in a random order that the seed gives; nobody waits for the end of one thing before the next.
\`--hang-timeout\` is 500 ms, \`--bake\` and \`--park\` are 300 ms. "In hand": lost with the workers that were killed; "lost" and "closed" is everything else. Waits are those of new connections, also while no worker was
left that did not stand still.`,
    head: [
      ...[
        'piece',
        'Node',
        'seed',
        'spares',
        'kills / stops / scales / reloads / with canary',
        'requests',
        'in hand',
        'lost',
        'closed',
      ],
      'wait, ms: median / 95 % / worst',
    ],
    row: ({ plan }, { deeds, ...figures }, { node }) => [
      ...[node.slice(1), figures.seed, plan.standby],
      [deeds.kill, deeds.stop, deeds.scale, deeds.reload, deeds.canary].join(' / '),
      ...[figures.requests, figures.lostInHand].map(number),
      ...[figures.lost, figures.closed].map(bold),
      three(figures.wait),
    ],
  },
  canary: {
    title: 'Canary',
    text: `\`reload --canary 10%\` with 2 workers, 16 clients that open a connection for each request and 16 that keep theirs. \`share\`: by chance, then
\`--promote\`. \`client\`: \`--canary-by client\`, 20 connections from each of 200 addresses, each of which must always meet the same side;
the share is that of the addresses. \`time\`: promoted when its time has passed. \`errs\`: a version whose every answer is a 500.
\`dies\`: one that exits after 1.5 s. "Its own": answers of the bad version, and what it had in hand; "lost" is everything else.`,
    head: ['piece', 'reloads', 'results', 'requests', 'its own', 'lost', 'counted', 'share of the canary', KERNEL],
    row: (_piece, figures) => [
      figures.rounds,
      Object.entries(figures.results)
        .map(([result, count]) => `${count} ${result}`)
        .join(', '),
      ...[figures.requests, figures.own].map(number),
      bold(figures.lost),
      number(figures.connections),
      figures.share === null ? '–' : `${(figures.share * 100).toFixed(2)} %`,
      kernel(figures.counters),
    ],
  },
  swaps: {
    title: 'Program swaps',
    text: `Steering programs with random shares, by chance, client or CPU, now and then for an index that there is not, or none at all, are put on a group
of 4 sockets one after the other, by a user without privilege, while 32 clients open a connection for each request.`,
    head: ['piece', 'swaps', 'connections', 'lost', 'slowest call, ms', KERNEL],
    row: (_piece, figures) => [
      ...[figures.swaps, figures.connections].map(number),
      bold(figures.lost),
      figures.slowest.toFixed(1),
      kernel(figures.counters),
    ],
  },
  scale: {
    title: 'scale 4 → 1 → 4',
    text: `Without a pause, but that in every second round the workers come back when their parked sockets have been closed; in the others they take them
again. \`--park\` is 300 ms; with clients at a round-trip time of 200 ms, in a network namespace of their own, 1 s, in which a handshake ends even
if it has lost a packet. "Closed": idle connections.`,
    head: [...['piece', 'round trip, ms', 'clients', 'scales', 'requests', 'lost', 'closed', 'sockets closed'], KERNEL],
    row: ({ plan }, figures) => [
      plan.rttMs ?? 0,
      `${plan.fresh ?? 16} + ${plan.kept ?? 32}`,
      ...[figures.scales, figures.requests].map(number),
      ...[figures.lost, figures.closed].map(bold),
      number(figures.socketsClosed),
      kernel(figures.counters),
    ],
  },
}

function rowOf(piece, result) {
  return [piece.id, ...PARTS[piece.part].row(piece, result.figures, result)]
}

function page(done, resultOf) {
  const results = done.map(resultOf)
  const commits = [...new Set(results.map((result) => result.commit))]
  const nodes = [
    ...new Set(results.filter((_, index) => done[index].node === undefined).flatMap(({ node }) => node ?? [])),
  ]
  const sum = (...names) => {
    const all = results.flatMap(({ figures }) => names.flatMap((name) => figures?.[name] ?? []))
    return all.reduce((total, one) => total + one, 0)
  }
  return `# What crashes, hangs and scales cost

Written by \`node scripts/steering-campaign.mjs\` at commit ${commits.join(', ')}, with Node ${nodes.join(', ')} where no other is named, on
Linux ${release()} with ${availableParallelism()} processors, which the
clients share with the program. Launcher and workers run as a user without any privilege; each row in a network namespace of its own. The clients never
retry. Rows that end in \`-denied\`: every setsockopt for a steering program fails, as a seccomp filter may make it.

Altogether ${number(sum('requests'))} requests beside ${number(sum('kills'))} kills, ${number(sum('hangs'))} hangs and ${number(sum('scales'))} scales: ${bold(sum('lost', 'lostElse'))} lost.
${sections(PARTS, done, { row: rowOf, resultOf, passed })}`
}

await campaign({
  name: 'steering-campaign',
  pieces: PIECES,
  files: ['program.cjs', 'load.mjs'].map((file) => join(directory, file)),
  run,
  passed,
  page,
})
