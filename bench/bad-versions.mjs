// What a bad version costs: eight kinds of it are reloaded again and again under load of clients that never retry. Prints a table, one row
// per kind: how long the answer took, whether it was exit code 4 with the reason on stderr, what the clients lost (nothing), and whether both
// old workers went on answering new connections. A clean bill is exit code 0.
//
//   node bench/bad-versions.mjs [--rounds 100] [--kind NAME] [--clients 8] [--ready-timeout 1000] [--port 3000]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { root } from '../scripts/build.mjs'

const require = createRequire(import.meta.url)
const { ControlClient } = require('../dist/control-client.js')
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    kind: { type: 'string' },
    clients: { type: 'string', default: '8' },
    'ready-timeout': { type: 'string', default: '1000' },
    port: { type: 'string', default: '3000' },
  },
})
const [ROUNDS, CLIENTS, DEADLINE_MS] = [values.rounds, values.clients, values['ready-timeout']].map(Number)
const THINK_MS = 2
const PORT = Number(values.port)
const OTHER_PORT = PORT + 1
const MAIN = join(root, 'dist', 'cli', 'main.js')
const PROGRAM = join(root, 'test', 'fixtures', 'servers', 'versioned.cjs')

const NOT_LISTENING = `it did not listen on tcp *:${PORT} within ${DEADLINE_MS} ms`
const HEALTH = [
  '--health',
  '/healthz',
  '--health-interval',
  '50ms',
  '--health-timeout',
  '300ms',
  '--health-successes',
  '1',
]
/** What is deployed, what its first version is, options of the launcher, and a text that the reason must have. */
const KINDS = {
  'exits-at-load': { version: 'exits-at-load 7', reason: 'exited with code 7' },
  'syntax-error': { version: 'is-no-javascript', reason: 'SyntaxError' },
  'never-listens': { version: 'never-listens', reason: NOT_LISTENING },
  'never-ready': {
    version: 'never-says-so',
    good: 'says-so',
    options: ['--ready', 'message'],
    reason: `it did not say that it is ready within ${DEADLINE_MS} ms`,
  },
  'other-port': { version: `other-port ${OTHER_PORT}`, reason: NOT_LISTENING },
  'health-500': { version: 'unwell 500', options: HEALTH, reason: 'it answered GET /healthz with 500: "I am 500"' },
  'health-hangs': { version: 'unwell hang', options: HEALTH, reason: 'it did not answer GET /healthz within 300 ms' },
  // That its event loop stands still is said after 2 s of it.
  'busy-loop': { version: 'spins', reason: NOT_LISTENING },
}

/** Half of them with a connection per request, half over kept ones. */
class Load {
  requests = 0
  /** Of them over a connection that had been used before. */
  kept = 0
  lost = []
  /** Answers to connections that were opened for them, by the worker that gave them, and when its last one came. */
  opened = new Map()
  #isOver = false
  #loops

  constructor() {
    this.#loops = Array.from({ length: CLIENTS }, (_, index) => this.#loop(index % 2 === 0))
  }

  async stop() {
    this.#isOver = true
    await Promise.all(this.#loops)
  }

  /** From now on: how many new connections each of these answers, and how long it was silent at most. Call the result for the answer. */
  watch(pids) {
    const from = performance.now()
    this.opened = new Map(pids.map((pid) => [pid, { count: 0, last: from, silence: 0 }]))
    return () => {
      const now = performance.now()
      const all = [...this.opened.values()]
      return {
        strangers: this.opened.size - pids.length,
        fewest: Math.min(...all.map(({ count }) => count)),
        silence: Math.max(...all.map(({ last, silence }) => Math.max(silence, now - last))),
      }
    }
  }

  async #loop(keeps) {
    const agent = new Agent({ keepAlive: keeps, maxSockets: 1 })
    while (!this.#isOver) {
      try {
        const { body, isReused } = await ask(agent)
        this.requests += 1
        this.kept += Number(isReused)
        if (!isReused) this.#answered(Number(body))
      } catch (error) {
        this.lost.push(error.code ?? error.message)
      }
      // So that the candidates get the processor, too, on a machine with two.
      await new Promise((done) => setTimeout(done, THINK_MS))
    }
    agent.destroy()
  }

  #answered(pid) {
    const now = performance.now()
    const { count, last, silence } = this.opened.get(pid) ?? { count: 0, last: now, silence: 0 }
    this.opened.set(pid, { count: count + 1, last: now, silence: Math.max(silence, now - last) })
  }
}

function ask(agent) {
  return new Promise((done, fail) => {
    const call = get({ host: '127.0.0.1', port: PORT, agent }, (response) => {
      let body = ''
      response.on('data', (data) => {
        body += data
      })
      response.on('end', () => {
        if (response.statusCode === 200) done({ body, isReused: call.reusedSocket })
        else fail(new Error(String(response.statusCode)))
      })
      response.on('error', fail)
    })
    call.on('error', fail)
  })
}

/** The command line, as a deploy script runs it. */
async function reload(runtimeDir) {
  const from = performance.now()
  const child = spawn(process.execPath, [MAIN, 'reload', '--name', 'bench', '--runtime-dir', runtimeDir], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (data) => (stderr += data))
  const [code] = await once(child, 'close')
  return { code, stderr, ms: performance.now() - from }
}

async function measure({ version, good = 'good', options = [], reason }) {
  const scratch = mkdtempSync(join(tmpdir(), 'rrb-'))
  const deploy = (name) => {
    writeFileSync(join(scratch, '.version'), name)
    renameSync(join(scratch, '.version'), join(scratch, 'version'))
  }
  deploy(good)
  const launcher = spawn(
    process.execPath,
    [
      ...[MAIN, '--name', 'bench', '--runtime-dir', scratch, '-n', '2', '--ready-timeout', `${DEADLINE_MS}ms`],
      ...[...options, '--log-format', 'json', '--', process.execPath, PROGRAM, String(PORT)],
    ],
    { cwd: scratch, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  try {
    const log = createInterface({ input: launcher.stderr })
    /** From the order to the end of each reload that failed, by the launcher's own clock. */
    const spent = []
    let begun = 0
    await new Promise((done, fail) => {
      const said = []
      log.on('line', (line) => {
        said.push(line)
        const { msg, time } = line.startsWith('{"level":') ? JSON.parse(line) : {}
        if (msg === 'launcher.serving') done()
        if (msg === 'reload.started') begun = time
        if (msg === 'reload.aborted') spent.push(time - begun)
      })
      launcher.once('exit', () => fail(new Error(said.join('\n'))))
    })
    const control = await ControlClient.connect({ name: 'bench', runtimeDir: scratch })
    const old = (await control.status()).slots.map(({ worker }) => worker.pid)
    const load = new Load()
    const found = {
      reloads: 0,
      code4: 0,
      reasons: 0,
      both: 0,
      accepting: 0,
      slowest: 0,
      silence: 0,
      odd: [],
    }
    deploy(version)
    for (let round = 0; round < ROUNDS; round++) {
      const seen = load.watch(old)
      const { code, stderr, ms } = await reload(scratch)
      const { strangers, fewest, silence } = seen()
      const { slots, lastReload } = await control.status()
      const isReasonThere = stderr.includes(reason)
      found.reloads += 1
      found.code4 += Number(code === 4)
      found.reasons += Number(isReasonThere)
      if (!isReasonThere) found.odd.push(stderr.split('\n')[0])
      found.both += Number(fewest > 0 && strangers === 0)
      // Neither replaced, nor paused at any moment of it.
      found.accepting += Number(
        slots.every(({ worker }, slot) => worker?.pid === old[slot] && worker.state === 'serving') &&
          lastReload.workers.every((one) => one.ms.paused === undefined),
      )
      found.slowest = Math.max(found.slowest, ms)
      found.silence = Math.max(found.silence, silence)
    }
    deploy(good)
    const next = await reload(scratch)
    await load.stop()
    await control.stop()
    return {
      ...found,
      slowestInside: Math.max(...spent),
      next: next.code,
      requests: load.requests,
      kept: load.kept,
      lost: load.lost,
    }
  } finally {
    if (launcher.exitCode === null) {
      launcher.kill('SIGTERM')
      await once(launcher, 'exit')
    }
    rmSync(scratch, { recursive: true, force: true })
  }
}

const number = (value) => Math.round(value).toLocaleString('en-US')
const HEAD = [
  'kind',
  'reloads',
  'exit code 4',
  'reason on stderr',
  'deadline, ms',
  'slowest answer, ms',
  'in the launcher, ms',
  'requests',
  'over a kept connection',
  'lost',
  'both old ones answered',
  'both old ones kept, never paused',
  'longest silence of one, ms',
  'next good reload',
]
const row = (cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`)

if (values.kind !== undefined && !(values.kind in KINDS))
  throw new Error(`--kind: one of ${Object.keys(KINDS).join(', ')}`)
row(HEAD)
row(HEAD.map((_, column) => (column === 0 ? '---' : '---:')))
for (const name of values.kind === undefined ? Object.keys(KINDS) : [values.kind]) {
  const found = await measure(KINDS[name])
  const { reloads, code4, reasons, slowest, slowestInside, requests, kept, lost, both, accepting, silence, next, odd } =
    found
  const losses = lost.length === 0 ? '**0**' : `${lost.length}: ${[...new Set(lost)].join(', ')}`
  const counts = [code4, reasons].map(number)
  row([
    name,
    reloads,
    ...counts,
    number(DEADLINE_MS),
    number(slowest),
    number(slowestInside),
    number(requests),
    number(kept),
    losses,
    both,
    accepting,
    number(silence),
    next,
  ])
  for (const line of new Set(odd)) process.stderr.write(`${name}: ${line}\n`)
  const isGood =
    [code4, reasons, both, accepting].every((count) => count === reloads) &&
    slowest <= DEADLINE_MS + 1_000 &&
    lost.length === 0 &&
    next === 0
  if (!isGood) process.exitCode = 1
}
