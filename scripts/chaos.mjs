/**
 * `node scripts/chaos.mjs [--seconds 600] [--seed N] [--node 20] [--table] [--out docs/chaos.md]`: everything that can go wrong, several things at a time, in an order
 * that the seed gives (default: any), under load; then all that clients, workers and launchers have noted is checked. What is done:
 * scripts/chaos/deeds.mjs; what must be true: scripts/chaos/checker.mjs. The page has every run of one build; `--table`: nothing is run. What was seen by a
 * run that failed is kept in node_modules/.cache/chaos-failed. Root only, for the network that each run has of its own.
 */
import { randomInt } from 'node:crypto'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './build.mjs'
import { bold, number, Results, table } from './campaign.mjs'
import { nodeOf } from './nodes.mjs'
import { KERNEL, kernel, ms, passed, runPiece } from './piece.mjs'

/** For its start and its end. */
const MORE_MS = 300_000
const FAILED = join(root, 'node_modules', '.cache', 'chaos-failed')

const DEEDS = {
  reloadGood: 'a good version is deployed; `reload`, waiting for the handover, the bake or the end of the old ones',
  reloadBad: `a bad one is deployed, and \`reload\`: it exits or throws at its start, never listens (and is given up by \`--abort\`), listens elsewhere, fails its
health check, or exits while it serves`,
  canary: '`reload --canary`, with a new version or without',
  promote: '`reload --promote`',
  abort: '`reload --abort`',
  scale: '`scale` to 1, 2, 3 or 4',
  upgrade: '`upgrade`',
  launcherDies: 'kill -9 of the launcher, and another one up to 2 s later',
  workerDies: 'kill -9 of a worker, in whatever state: 5 in 30 s at most',
  workerStops: 'SIGSTOP of a worker, SIGCONT up to 2.5 s later',
  launcherStops: 'the same with the launcher, 1.5 s',
  signals: '25 signals in a third of a second: SIGHUP 20 times, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU',
  rudeClients:
    'six clients of the control socket go away in the middle: nothing said, half a request, a reload ordered, events not read, noise',
  readerStops: 'nobody reads what workers and launcher print, for up to 4 s',
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    node: { type: 'string', default: '20' },
    table: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'docs', 'chaos.md') },
  },
})
const [seconds, seed] = [values.seconds, values.seed].map(Number)
const parts = readdirSync(join(root, 'scripts', 'chaos')).map((name) => join('scripts', 'chaos', name))
const shared = ['clients.mjs', 'service.mjs'].map((name) => join('scripts', 'steering', name))
const results = new Results('chaos', [...parts.sort(), ...shared])

if (!values.table) {
  mkdirSync(FAILED, { recursive: true })
  const id = `${values.node}-${seed}-${seconds}`
  const plan = { seconds, seed, keep: join(FAILED, `${id}.json`) }
  const script = join(root, 'scripts', 'chaos', 'piece.mjs')
  results.keep({ id }, runPiece({ id, plan, node: nodeOf(values.node), script, timeout: seconds * 1_000 + MORE_MS }))
}
const all = results.all()
writeFileSync(values.out, page(all))
console.error(`written: ${values.out}`)
process.exitCode = all.every(passed) ? 0 : 1

function page(reports) {
  const runs = reports.filter(({ figures }) => figures !== undefined)
  const commits = [...new Set(runs.map(({ commit }) => commit))]
  const total = (of) => runs.reduce((sum, { figures }) => sum + of(figures), 0)
  const deeds = (figures) => Object.values(figures.done).reduce((sum, count) => sum + count, 0)
  const rows = runs.map(({ figures, node, reasons }) => [
    ...[node.slice(1), figures.seed, number(figures.seconds), number(deeds(figures)), number(figures.orders)],
    ...[
      number(figures.requests),
      number(figures.explained.lost),
      number(figures.explained.closed),
      bold(reasons.length),
    ],
    ...[figures.wholeMs, figures.worstMs, figures.peakMiB].map(ms),
    kernel(figures.counters),
  ])
  const failed = reports.filter((report) => !passed(report))
  return `# Chaos

Written by \`node scripts/chaos.mjs\` at commit ${commits.join(', ')}, on Linux ${release()} with ${availableParallelism()} processors, which the clients share with the
program, and with other work. Launcher and workers run as a user without any privilege, each run in a network namespace of its own.

32 clients that never retry ask all the time: 6 with a connection for each request, 12 with one that is kept, 8 with one that is silent for up to 8 s, 6 for
answers that take up to 1.5 s. Meanwhile up to eight of these things are done at a time, in an order that the seed gives; the next one begins when one to six lines
have been logged, or after up to 0.7 s. (The seed gives the order, not the moment: no two runs are the same.)

${table(
  ['what', 'is done', 'times'],
  Object.entries(DEEDS).map(([name, text]) => [
    `\`${name}\``,
    text.replaceAll('\n', ' '),
    number(total(({ done }) => done[name] ?? 0)),
  ]),
)}

After that everything that clients, workers, launchers and whoever gave orders have noted is checked:

- A request is lost, and an idle connection closed, only with a worker that had it in hand and was killed, or whose version exits by itself: by that worker's own
  notes, to the connection. One that it had taken and not yet noted is allowed. What waits for a worker that is stopped is late, and not lost.
- No answer comes from a version that exits or throws at its start, never listens, listens elsewhere or fails its health check; no reload into one is called done.
- Once a reload is done, whoever connects is answered by the version that lay there when it was ordered, or by a newer one. (A worker that stood still when it was
  to pause may accept until it hears of it; the log says so.)
- Every order is answered, unless its launcher was killed or upgraded meanwhile.
- No good worker ends unless it was told to.
- The log of every launcher is one that a launcher may write (\`test/support/log-automaton.ts\`).
- At the end a scale to two workers and a good reload are done, and then there is one launcher, two workers of one generation, one socket for each, and no
  descriptor of the launcher more than at its start; no launcher ever had more than 128 MiB; the kernel dropped no connection. After the stop there is no process,
  and no file in the runtime directory.

Seen to fail: with old workers that go on accepting when they are to pause, with a health check whose result is ignored, with one connection of each batch that
moves closed in its place, each in a run of 25 or 40 s (one so short does not meet every kind of bad version: another one of 25 s missed the second); and with the histories of \`test/unit/chaos-checker.test.ts\`, each with one thing wrong.

What is never done is to kill the launcher and the only worker that has a socket: nobody could give that back
([limits.md](limits.md#when-the-launcher-is-killed)).

${table(
  [
    ...['Node', 'seed', 'seconds', 'deeds', 'orders', 'requests', 'lost with a worker', 'closed with one', 'findings'],
    ...['whole after, ms', 'slowest answer, ms', 'launcher, MiB', KERNEL],
  ],
  rows,
)}

Altogether ${number(total(deeds))} deeds, ${number(total(({ requests }) => requests))} requests, ${number(total((figures) => figures.seconds / 60))} minutes.
${failed.map(({ figures, reasons }) => `\nSeed ${figures?.seed} **failed**: ${reasons.join('; ')}\n`).join('')}`
}
