// What a warm-up is worth: an Express program is started again and again, with and without `--warmup`, in turns, and the first client's requests are
// timed: the first one, and the mean of the first hundred, one after the other over one connection. Prints medians.
//
//   node bench/warmup.mjs [--rounds 9] [--requests 500] [--node /opt/node-26/bin/node]

import { Agent, get } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../scripts/build.mjs'
import { withLauncher } from './launcher.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    requests: { type: 'string', default: '500' },
    node: { type: 'string', default: process.execPath },
  },
})
const HUNDRED = 100

const ask = (agent, port) =>
  new Promise((resolve, reject) => {
    const from = performance.now()
    const call = get({ agent, port, host: '127.0.0.1', path: '/' }, (response) =>
      response.resume().once('end', () => resolve(performance.now() - from)),
    )
    call.once('error', reject)
  })

/** What the first client of a fresh worker waits for: its first answer, and the mean of its first hundred, in ms. */
function round(options) {
  return withLauncher(values.node, options, [join(root, 'examples', 'express', 'app.js')], async ({ port }) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const times = []
    for (let n = 0; n < HUNDRED; n++) times.push(await ask(agent, port))
    agent.destroy()
    return { first: times[0], mean: times.reduce((sum, ms) => sum + ms, 0) / HUNDRED }
  })
}

const contenders = { cold: [], warm: ['--warmup', `${values.requests}:/`] }
const found = { cold: [], warm: [] }
for (let n = 0; n < Number(values.rounds); n++)
  for (const [name, options] of Object.entries(contenders)) found[name].push(await round(options))

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1]
const of = (name, key) => median(found[name].map((one) => one[key]))
for (const name of Object.keys(contenders))
  process.stdout.write(
    `${name}: the first answer after ${of(name, 'first').toFixed(2)} ms, the first ${HUNDRED} after ${of(name, 'mean').toFixed(3)} ms each\n`,
  )
process.stdout.write(
  `without a warm-up the first takes ${(of('cold', 'first') / of('warm', 'first')).toFixed(1)} times as long, the first ${HUNDRED} ${(of('cold', 'mean') / of('warm', 'mean')).toFixed(2)} times\n`,
)
