// What a warm-up is worth: an Express program is started again and again, with and without `--warmup`, in turns, and the first client's requests are
// timed: the first one, and the mean of the first hundred, one after the other over one connection. Prints medians.
//
//   node bench/warmup.mjs [--rounds 9] [--requests 500] [--node /opt/node-26/bin/node]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../scripts/build.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    requests: { type: 'string', default: '500' },
    node: { type: 'string', default: process.execPath },
  },
})
const HUNDRED = 100

async function freePort() {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

function serving(launcher) {
  return new Promise((resolve, reject) => {
    let said = ''
    launcher.stderr.on('data', (data) => {
      said += data
      if (said.includes('"launcher.serving"')) resolve()
    })
    launcher.once('exit', () => reject(new Error(`the launcher has ended:\n${said}`)))
  })
}

const ask = (agent, port) =>
  new Promise((resolve, reject) => {
    const from = performance.now()
    const call = get({ agent, port, host: '127.0.0.1', path: '/' }, (response) =>
      response.resume().once('end', () => resolve(performance.now() - from)),
    )
    call.once('error', reject)
  })

/** What the first client of a fresh worker waits for: its first answer, and the mean of its first hundred, in ms. */
async function round(options) {
  const scratch = mkdtempSync(join(tmpdir(), 'rrb-'))
  const port = await freePort()
  const launcher = spawn(
    values.node,
    [
      join(root, 'dist', 'cli', 'main.js'),
      ...['--name', 'bench', '--runtime-dir', scratch, '--log-format', 'json', ...options],
      ...['--', values.node, join(root, 'examples', 'express', 'app.js')],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PORT: String(port) } },
  )
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    await serving(launcher)
    const times = []
    for (let n = 0; n < HUNDRED; n++) times.push(await ask(agent, port))
    return { first: times[0], mean: times.reduce((sum, ms) => sum + ms, 0) / HUNDRED }
  } finally {
    agent.destroy()
    if (launcher.exitCode === null && launcher.signalCode === null) {
      launcher.kill('SIGTERM')
      await once(launcher, 'exit')
    }
    rmSync(scratch, { recursive: true, force: true })
  }
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
