// How fast a fault in the bake is undone: again and again a new version takes over under load, one of its workers fails at a random moment
// of the bake, and the old version accepts again. Prints median, 95 % and worst of two times: from the moment in which the launcher noticed
// the fault, as each verdict has it, and from the fault itself; and what the clients lost, who never retry.
//
//   --fault kill    kill -9: lost is nothing but what the killed worker had in hand
//   --fault probe   its health check answers 500 from then on, everything else as before: lost is nothing at all
//
//   node bench/undo.mjs [--fault kill|probe] [--rounds 100] [--workers 2] [--clients 16] [--bake 2000]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../scripts/build.mjs'
import { freePort } from './launcher.mjs'

const require = createRequire(import.meta.url)
const { ControlClient } = require('../dist/control-client.js')
const { values } = parseArgs({
  options: {
    fault: { type: 'string', default: 'kill' },
    rounds: { type: 'string', default: '100' },
    workers: { type: 'string', default: '2' },
    clients: { type: 'string', default: '16' },
    bake: { type: 'string', default: '2000' },
  },
})
const [ROUNDS, CLIENTS, BAKE_MS] = [values.rounds, values.clients, values.bake].map(Number)
/** Nobody else's: another server of the same user with SO_REUSEPORT would get a share of the requests. */
const PORT = await freePort()
const KILLS = values.fault === 'kill'
if (!KILLS && values.fault !== 'probe') throw new Error(`--fault ${values.fault}: kill or probe`)
/** The health check fails when it has failed three times in a row, the default of --health-failures. */
const INTERVAL_MS = 100
/** What the fault needs at the end of the bake to be noticed in it. */
const NOTICE_MS = KILLS ? 500 : 1_000

/** Half of them with a connection per request, half over kept ones. */
class Load {
  requests = 0
  /** Cut in the middle: the connection had been accepted by the worker that was killed. Nobody else may cut any. */
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
        if (KILLS && error.code === 'ECONNRESET') this.inHand += 1
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
    ...(KILLS ? [] : ['--health', '/healthz', '--health-interval', `${INTERVAL_MS}ms`]),
    ...['--log-format', 'json', '--', process.execPath, join(root, 'bench', 'undo-app.cjs')],
  ],
  { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PORT: String(PORT) } },
)
const waiting = new Map()
let rest = ''
launcher.stderr.on('data', (data) => {
  const lines = (rest + data).split('\n')
  rest = lines.pop()
  for (const line of lines) {
    if (!line.startsWith('{')) continue
    const event = JSON.parse(line)
    waiting.get(event.msg)?.(event)
    waiting.delete(event.msg)
  }
})
const heard = (event) => new Promise((done) => waiting.set(event, done))

try {
  await heard('launcher.serving')
  const control = await ControlClient.connect({ name: 'bench', runtimeDir: scratch })
  const load = new Load()
  const [noticed, whole] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    const bakes = heard('reload.baking')
    const verdict = control.reload({ wait: 'baked' })
    const [undone, gone] = [heard('reload.undone'), heard('reload.retired')]
    await bakes
    const { reload } = await control.status()
    const victims = reload.slots.map(({ newPid }) => newPid)
    await new Promise((done) => setTimeout(done, Math.random() * (BAKE_MS - NOTICE_MS)))
    const faultAt = Date.now()
    process.kill(victims[round % victims.length], KILLS ? 'SIGKILL' : 'SIGUSR2')
    const { result, reason, undo } = await verdict
    if (result !== 'undone') throw new Error(`round ${round}: ${result} ${reason}`)
    noticed.push(undo.ms)
    whole.push((await undone).time - faultAt)
    await gone
  }
  await load.stop()
  const tell = (times) => {
    times.sort((a, b) => a - b)
    const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1)
    return `median ${at(0.5)} ms, 95 % ${at(0.95)} ms, worst ${at(1)} ms\n`
  }
  const fault = KILLS ? 'kill -9' : `a health check every ${INTERVAL_MS} ms fails 3 times`
  const inHand = KILLS ? ` cut with the killed workers ${load.inHand};` : ''
  const why = load.lost.length > 0 ? `: ${[...new Set(load.lost)].join(', ')}` : ''
  process.stdout.write(
    `${ROUNDS} undos with ${values.workers} workers (${fault}), until the last old worker's word that it accepts\n` +
      `  from the moment the fault was noticed: ${tell(noticed)}` +
      `  from the fault itself:                 ${tell(whole)}` +
      `  ${load.requests} requests;${inHand} lost ${load.lost.length}${why}\n`,
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
