// How fast a fault in the bake is undone: again and again a new version takes over under load, one of its workers is killed (kill -9) at a
// random moment of the bake, and the old version accepts again. Prints the median and the worst time from the fault, as the launcher
// measured it, and what the clients lost, who never retry: nothing but what the killed worker had in hand.
//
//   node bench/undo.mjs [--rounds 100] [--workers 2] [--clients 16] [--bake 2000]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../scripts/build.mjs'

const require = createRequire(import.meta.url)
const { ControlClient } = require('../dist/control-client.js')
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    workers: { type: 'string', default: '2' },
    clients: { type: 'string', default: '16' },
    bake: { type: 'string', default: '2000' },
  },
})
const [ROUNDS, CLIENTS, BAKE_MS] = [values.rounds, values.clients, values.bake].map(Number)
const PORT = 3000

/** Half of them with a connection per request, half over kept ones. A lost request is one that began on no killed worker's connection. */
class Load {
  requests = 0
  /** Cut in the middle: the connection had been accepted by the worker that was killed. */
  inHand = 0
  lost = []
  #isOver = false
  #loops

  constructor() {
    this.#loops = Array.from({ length: CLIENTS }, (_, index) => this.#loop(index % 2 === 0))
  }

  async stop() {
    this.#isOver = true
    await Promise.all(this.#loops)
  }

  async #loop(keeps) {
    const agent = new Agent({ keepAlive: keeps, maxSockets: 1 })
    while (!this.#isOver) {
      try {
        await ask(agent)
        this.requests += 1
      } catch (error) {
        if (error.code === 'ECONNRESET') this.inHand += 1
        else this.lost.push(error.code ?? error.message)
      }
    }
    agent.destroy()
  }
}

function ask(agent) {
  return new Promise((done, fail) => {
    const call = get({ host: '127.0.0.1', port: PORT, agent }, (response) => {
      response.resume()
      response.on('end', done)
      response.on('error', fail)
    })
    call.on('error', fail)
  })
}

const scratch = mkdtempSync(join(tmpdir(), 'rrb-'))
const launcher = spawn(
  process.execPath,
  [
    join(root, 'dist', 'cli', 'main.js'),
    ...['--name', 'bench', '--runtime-dir', scratch, '-n', values.workers, '--bake', `${BAKE_MS}ms`],
    ...['--log-format', 'json', '--', process.execPath, join(root, 'examples', 'http', 'app.js')],
  ],
  { stdio: ['ignore', 'ignore', 'pipe'] },
)
const waiting = new Map()
let rest = ''
launcher.stderr.on('data', (data) => {
  const lines = (rest + data).split('\n')
  rest = lines.pop()
  for (const line of lines) {
    const event = line.startsWith('{') ? JSON.parse(line).msg : ''
    waiting.get(event)?.()
    waiting.delete(event)
  }
})
const heard = (event) => new Promise((done) => waiting.set(event, done))

try {
  await heard('launcher.serving')
  const control = await ControlClient.connect({ name: 'bench', runtimeDir: scratch })
  const load = new Load()
  const times = []
  for (let round = 0; round < ROUNDS; round++) {
    const bakes = heard('reload.baking')
    const verdict = control.reload({ wait: 'baked' })
    const gone = heard('reload.retired')
    await bakes
    const { reload } = await control.status()
    const victims = reload.slots.map(({ newPid }) => newPid)
    await new Promise((done) => setTimeout(done, Math.random() * (BAKE_MS - 500)))
    process.kill(victims[round % victims.length], 'SIGKILL')
    const { result, undo } = await verdict
    if (result !== 'undone') throw new Error(`round ${round}: ${result}`)
    times.push(undo.ms)
    await gone
  }
  await load.stop()
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1)
  process.stdout.write(
    `${ROUNDS} undos with ${values.workers} workers: fault to the last old worker's word that it accepts: ` +
      `median ${at(0.5)} ms, 95 % ${at(0.95)} ms, worst ${at(1)} ms\n` +
      `${load.requests} requests; cut with the killed workers ${load.inHand}; lost ${load.lost.length}${load.lost.length > 0 ? `: ${[...new Set(load.lost)].join(', ')}` : ''}\n`,
  )
  process.exitCode = load.lost.length === 0 ? 0 : 1
  await control.stop()
} finally {
  if (launcher.exitCode === null) {
    launcher.kill('SIGTERM')
    await once(launcher, 'exit')
  }
  rmSync(scratch, { recursive: true, force: true })
}
