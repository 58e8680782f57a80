// What reloads cost the clients of this package, and of what else runs a Node server on one machine: every kind of HTTP/1.1 client that `verify` has,
// none of which sends a request again.

import { createRequire } from 'node:module'
import { goalOf, median, tableOf } from '../figures.mjs'
import { memoryOf } from '../usage.mjs'

const require = createRequire(import.meta.url)

export const title = 'What reloads lose'
export const contenders = ['reuseport-run', 'node:cluster', 'pm2']
/** One is enough: each has many reloads, and what is lost is counted. */
export const rounds = 1
export const plan = { reloads: 20, connections: 8 }
export const smoke = { reloads: 1, connections: 1 }

const TIMEOUT_MS = 10_000

export async function measure({ port, contender, plan: { reloads, connections } }) {
  const { readNetworkCounters } = require('../../dist/kernel-counters.js')
  const { LoadProcess } = require('../../dist/verify/load/load-process.js')
  const load = new LoadProcess()
  try {
    const before = readNetworkCounters()
    await load.start({
      targets: { http: { host: '127.0.0.1', port }, https: null, http2: null, h2c: null },
      paths: { path: '/', uploadPath: '/', slowPath: null, websocketPath: null, ssePath: null },
      echoes: false,
      moves: true,
      connections,
      clients: null,
      connectTimeoutMs: TIMEOUT_MS,
      responseTimeoutMs: TIMEOUT_MS,
    })
    const times = []
    for (let n = 0; n < reloads; n++) {
      const begun = performance.now()
      if (!(await contender.reload())) throw new Error('it did not reload')
      times.push(performance.now() - begun)
    }
    const supervisor = memoryOf([contender.pid]).own
    const { tallies } = await load.finish()
    const resets = readNetworkCounters().OutRsts - before.OutRsts
    return { ...countsOf(tallies), resets, reloads, reloadMs: median(times), supervisor }
  } finally {
    await load.kill()
  }
}

/** "Others" are requests on connections that were there before the reload. */
function countsOf(tallies) {
  const sum = (of, among = tallies) => among.reduce((total, tally) => total + of(tally), 0)
  const requests = (tally) => Object.values(tally.buckets).reduce((a, b) => a + b, 0)
  const lost = (tally) => requests(tally) - tally.buckets.ok
  const isNew = (tally) => tally.kind === 'new connection'
  return {
    requests: sum(requests),
    lostNew: sum(lost, tallies.filter(isNew)),
    lostOthers: sum(
      lost,
      tallies.filter((tally) => !isNew(tally)),
    ),
    closed: sum((tally) => tally.idleClosed),
  }
}

export const page = (found) =>
  `Per reload, mean of ${found[contenders[0]][0].reloads}. node:cluster goes worker by worker: start a new one, disconnect the old. "Others" are requests on
connections that were there before the reload.

${table(found)}
`

/** Which README.md has, too. */
export function table(found) {
  const rows = Object.entries(found).map(([name, [one]]) => {
    const perReload = (key) => (one[key] === 0 ? '0' : (one[key] / one.reloads).toFixed(1))
    return [
      name,
      one.requests.toLocaleString('en'),
      ...['lostNew', 'lostOthers', 'closed', 'resets'].map(perReload),
      Math.round(one.reloadMs),
      Math.round(one.supervisor / 1024),
    ]
  })
  const head = [
    ...['', 'requests', 'lost, new connections', 'lost, others', 'closed while idle', 'resets (kernel)'],
    ...['reload, ms (median)', 'supervisor, MB private'],
  ]
  return tableOf(head, rows)
}

export function goals(found) {
  const lost = found['reuseport-run'].map(({ lostNew, lostOthers, closed }) => lostNew + lostOthers + closed)
  return [goalOf('requests lost and idle connections closed in reloads', '=', 0, lost)]
}
