// What clients wait for while versions change, at a rate that every contender can serve: half of what the slowest one can. And how soon a new
// version answers, and the old one is gone.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { answers, compiled, PLAIN } from '../contenders/contenders.mjs'
import { atShare, goalOf, median, ms, tableOf } from '../figures.mjs'
import { childrenOf } from '../usage.mjs'

const require = createRequire(import.meta.url)

const SUBJECT = 'reuseport-run'
const WARM = 'reuseport-run, warm'
const BASE = 'plain node'

export const title = 'Latency, and reloads'
export const contenders = [SUBJECT, WARM, 'node:cluster', 'pm2', 'nginx', BASE]
export const rounds = 5
const LONG = { warm: 1, steady: 2, reloads: 4 }
const SHORT = { warm: 0, steady: 0.2, reloads: 0.1 }
/**
 * Seconds by load: `warm`: not counted, for the compilers of those that have just been started. `least`, `most`: requests a second, whatever the
 * slowest answers.
 */
export const plan = {
  seconds: { quiet: { warm: 0.5, steady: 0, reloads: 2 }, new: LONG, kept: LONG },
  connections: 32,
  launches: 5,
  least: 200,
}
export const smoke = {
  seconds: { quiet: { ...SHORT, steady: 0 }, new: SHORT, kept: SHORT },
  connections: 4,
  launches: 1,
  least: 200,
  most: 200,
}

/** By name: how requests come. */
const LOADS = {
  quiet: { text: 'a few new connections', mode: 'new' },
  new: { text: 'a new connection for each request', mode: 'new' },
  kept: { text: 'keep-alive', mode: 'kept' },
}
const BUSY = ['new', 'kept']
/** No measurement takes longer. */
const LONGEST_S = 60

/** Half of what the slowest of them has answered in a second, as `throughput` was measured last. */
export function planned({ least, most = Number.POSITIVE_INFINITY, ...plan }, { throughput }) {
  if (throughput === undefined) throw new Error('the rate is half of what `throughput` has found: measure that first')
  const slowest = (mode) =>
    Math.min(
      ...contenders
        .filter((name) => name !== BASE && throughput.found[name] !== undefined)
        .map((name) => median(throughput.found[name].flat().flatMap((one) => (one.mode === mode ? [one.rate] : [])))),
    )
  const rateOf = (mode) => Math.round(Math.min(most, Math.max(least, slowest(mode) / 2)))
  return { ...plan, rates: { quiet: least, new: rateOf('new'), kept: rateOf('kept') } }
}

export async function measure({ who, port, scratch, contender, plan }) {
  const found = { rates: plan.rates }
  for (const load of Object.keys(LOADS)) {
    const client = new Client({ port, load, file: join(scratch, `${load}.bin`), plan })
    await client.started
    found[load] =
      who === BASE
        ? await launches({ client, port, plan })
        : await reloads({ client, contender, seconds: plan.seconds[load] })
  }
  return found
}

class Client {
  #process
  #file
  #said = ''
  #ended

  constructor({ port, load, file, plan }) {
    const { rates, connections } = plan
    this.#file = file
    const words = [port, rates[load], LONGEST_S, connections, LOADS[load].mode, file].map(String)
    this.#process = spawn(compiled('clients/open-loop.c'), words, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#ended = once(this.#process, 'close')
    this.started = new Promise((resolve, reject) => {
      this.#process.stdout.on('data', (data) => {
        this.#said += data
        if (this.#said.includes('started')) resolve()
      })
      this.#process.once('error', reject)
      this.#process.once('exit', () => reject(new Error('the client has ended')))
    })
  }

  /** What came of all, and when each was due, how long its answer took, and who gave it. */
  async end() {
    this.#process.kill('SIGTERM')
    const [code] = await this.#ended
    if (code !== 0) throw new Error(`the client ended with ${code}`)
    const bytes = readFileSync(this.#file)
    const values = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
    return { counts: JSON.parse(this.#said.trim().split('\n').at(-1)), samples: new Samples(values) }
  }
}

class Samples {
  #values

  constructor(values) {
    this.#values = values
  }

  /** Of those that were answered, and that were due in one of these times. */
  latencies(windows) {
    const took = []
    this.#each((due, ms) => {
      if (ms >= 0 && windows.some(([from, to]) => due >= from && due <= to)) took.push(ms)
    })
    if (took.length === 0) return null
    const sorted = Float64Array.from(took).sort()
    const [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1].map((share) => atShare(sorted, share))
    return { p50, p99, p999, max }
  }

  /** Since `from`: when the first answer of somebody who was not there before came, and the last one of those who were. null: there is none. */
  turn(from, old) {
    let [first, last] = [Number.POSITIVE_INFINITY, 0]
    this.#each((due, ms, process) => {
      const at = due + ms
      if (ms < 0 || process === 0 || at < from) return
      if (old.includes(process)) last = Math.max(last, at)
      else first = Math.min(first, at)
    })
    return { firstNew: Number.isFinite(first) ? first - from : null, lastOld: last === 0 ? null : last - from }
  }

  #each(look) {
    for (let at = 0; at < this.#values.length; at += 3)
      look(this.#values[at], this.#values[at + 1], this.#values[at + 2])
  }
}

async function reloads({ client, contender, seconds }) {
  const { monotonicMs } = require('../../dist/verify/load/clock.js')
  const begun = monotonicMs()
  const steady = [begun + seconds.warm * 1_000, begun + (seconds.warm + seconds.steady) * 1_000]
  await new Promise((done) => setTimeout(done, steady[1] - begun))
  const last = monotonicMs() + seconds.reloads * 1_000
  const turns = []
  do {
    const old = childrenOf(contender.pid)
    const from = monotonicMs()
    if (!(await contender.reload())) throw new Error('it did not reload')
    await gone(old)
    turns.push({ old, from, to: monotonicMs() })
  } while (monotonicMs() + (turns[0].to - turns[0].from) < last)
  const { counts, samples } = await client.end()
  const times = turns.map(({ old, from, to }) => ({ ...samples.turn(from, old), gone: to - from }))
  return {
    ...counts,
    reloads: turns.length,
    steady: samples.latencies([steady]),
    reload: samples.latencies(turns.map(({ from, to }) => [from, to])),
    ...Object.fromEntries(['firstNew', 'lastOld', 'gone'].map((key) => [key, middle(times.map((time) => time[key]))])),
  }
}

/** Who reloads may say so before the last of the old has been reaped. */
async function gone(pids) {
  const deadline = performance.now() + 60_000
  while (pids.some((pid) => existsSync(`/proc/${pid}`))) {
    if (performance.now() > deadline) throw new Error('old workers do not end')
    await new Promise((done) => setTimeout(done, 2))
  }
}

/** Beside that load: from the start of another `node app.js`, on a port of its own, to the end of its first answer. */
async function launches({ client, port, plan }) {
  const times = []
  for (let n = 0; n < plan.launches; n++) {
    const begun = performance.now()
    const [file, ...words] = PLAIN
    const child = spawn(file, words, { stdio: 'ignore', env: { ...process.env, PORT: String(port + 1) } })
    await answers(port + 1)
    times.push(performance.now() - begun)
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
  await client.end()
  return { launch: median(times) }
}

/** Median of what there is. */
function middle(values) {
  const there = values.filter((value) => value !== null)
  return there.length === 0 ? null : median(there)
}

const milliseconds = (value) => (value === null ? '–' : ms(value))
const p99 = (found, name, load, when) => found[name].map((round) => round[load][when]?.p99 ?? null)
/** Within each round. */
const combined = (some, others, combine) =>
  some.flatMap((one, round) => (one === null || others[round] === null ? [] : [combine(one, others[round])]))
const divided = (some, others) => combined(some, others, (one, other) => one / other)

/** From the order to the first new answer, beyond the launch of `node app.js` under the same load. */
const beyondLaunch = (found, name, load) =>
  combined(
    found[name].map((round) => round[load].firstNew),
    found[BASE].map((round) => round[load].launch),
    (order, launch) => order - launch,
  )

export function page(found) {
  const reloading = Object.keys(found).filter((name) => name !== BASE)
  const {
    rates: { quiet, ...busy },
  } = found[SUBJECT][0]
  const sections = BUSY.map((load) => {
    const rows = reloading.map((name) => {
      const of = (when) =>
        ['p50', 'p99', 'p999', 'max']
          .map((key) => milliseconds(middle(found[name].map((round) => round[load][when]?.[key] ?? null))))
          .join(' / ')
      const total = (key) => found[name].reduce((sum, round) => sum + round[load][key], 0)
      return [name, of('steady'), of('reload'), ...['reloads', 'requests', 'failed', 'closed'].map(total)]
    })
    const head = [
      ...['', 'steady: p50 / p99 / p99.9 / max, ms', 'in reloads', 'reloads', 'requests'],
      ...['failed', 'closed while idle'],
    ]
    return `### ${LOADS[load].text}, ${busy[load].toLocaleString('en')} a second\n\n${tableOf(head, rows)}\n`
  })
  const times = Object.keys(LOADS).flatMap((load) => [
    ...reloading.map((name) => [
      name,
      load === 'quiet' ? `${quiet} new connections a second` : `half load, ${LOADS[load].text}`,
      ...['firstNew', 'lastOld', 'gone'].map((key) =>
        milliseconds(middle(found[name].map((round) => round[load][key]))),
      ),
      milliseconds(middle(beyondLaunch(found, name, load))),
    ]),
  ])
  const head = [
    ...['', 'load', 'order → first new answer, ms', '→ last old answer', '→ old processes gone'],
    'first new answer beyond the launch of `node app.js`',
  ]
  return `An open-loop client: a request is due at its time, whatever became of those before, and its latency is counted from then, so that a server that
stands still is seen by all who would have come. The rate is half of what the slowest contender answers, and the same for all. "In reloads"
are requests that were due between an order and the end of the last old process; one order follows the other. A second of load before is not
counted. Nothing is asked twice: failed is failed. "Warm" is \`--warmup 500:/\`. node:cluster replaces worker by worker, pm2 by \`pm2 reload\`;
nginx gives the same few bytes without running anything, and is there as a mark.

${sections.join('\n')}
### From the order to the end

\`node app.js\` is launched beside the same load, on a port of its own, and is there when its first answer is.

${tableOf(head, times)}
`
}

export function goals(found) {
  const has = (name) => found[name] !== undefined
  return [
    ...BUSY.flatMap((load) => {
      const own = p99(found, WARM, load, 'reload')
      return [
        goalOf(
          `p99 in reloads with warm-up, ${LOADS[load].text}, against its own steady p99`,
          '≤',
          3,
          divided(own, p99(found, WARM, load, 'steady')),
        ),
        ...['node:cluster', 'pm2', 'nginx']
          .filter(has)
          .map((peer) =>
            goalOf(
              `p99 in reloads with warm-up, ${LOADS[load].text}, against that of ${peer}${peer === 'nginx' ? ' (stretch)' : ''}`,
              '≤',
              peer === 'nginx' ? 1 : 0.5,
              divided(own, p99(found, peer, load, 'reload')),
            ),
          ),
      ]
    }),
    ...Object.keys(LOADS).map((load) =>
      goalOf(
        `order → first new answer beyond the launch of \`node app.js\`, ${load === 'quiet' ? '' : 'half load, '}${LOADS[load].text}, ms`,
        '≤',
        25,
        beyondLaunch(found, SUBJECT, load),
      ),
    ),
    goalOf(
      'requests failed at half load, in all reloads',
      '=',
      0,
      [SUBJECT, WARM].flatMap((name) =>
        found[name].map((round) => BUSY.reduce((sum, load) => sum + round[load].failed, 0)),
      ),
    ),
  ]
}
