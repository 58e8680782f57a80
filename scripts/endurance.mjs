/**
 * `node scripts/endurance.mjs [--again] [--table] [--out docs/endurance.md] [piece…]`: what is left of a launcher after many reloads, upgrades and stops:
 * descriptors, memory, processes. How it is cut into pieces, and what the options do: scripts/campaign.mjs. `long` takes half an hour.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { availableParallelism, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './build.mjs'
import { bold, campaign, number, table } from './campaign.mjs'
import { commit } from './piece.mjs'

const { ControlClient } = createRequire(import.meta.url)(join(root, 'dist', 'control-client.js'))
const MAIN = join(root, 'dist', 'cli', 'main.js')
const SERVER = join(root, 'test', 'fixtures', 'servers', 'versioned.cjs')
const NAME = 'endurance'
const ANSWER_MS = 60_000
const WORKERS = 2

const PIECES = [
  { id: 'reloads', part: 'kept', plan: { reloads: 200, failed: 40, upgrades: 20 } },
  { id: 'long', part: 'kept', plan: { reloads: 1_000, failed: 200, upgrades: 100 } },
  { id: 'signals', part: 'signals', plan: { rounds: 10, signals: 100 } },
  { id: 'stops', part: 'stops', plan: { stops: 200 } },
]

class Launcher {
  static async start(options = []) {
    const place = mkdtempSync(join(tmpdir(), 'rr-endurance-'))
    const launcher = new Launcher(place, await freePort())
    launcher.deploy('one')
    await launcher.begin(options)
    return launcher
  }

  constructor(place, port) {
    this.place = place
    this.port = port
    this.log = ''
  }

  async begin(options = []) {
    const place = ['--runtime-dir', join(this.place, 'run'), '--name', NAME, '--log-format', 'json', '--bake', '0']
    const words = [MAIN, ...place, '-n', String(WORKERS), ...options, '--', process.execPath, SERVER, String(this.port)]
    this.child = spawn(process.execPath, words, {
      cwd: this.place,
      env: { ...process.env, ENDURANCE: this.place },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.child.stderr.on('data', (data) => {
      this.log += data
    })
    await until('it serves', () => this.log.includes('"launcher.serving"'))
  }

  /** That have begun. */
  get reloads() {
    return this.log.split('"reload.started"').length - 1
  }

  get pid() {
    return this.child.pid
  }

  deploy(version) {
    writeFileSync(join(this.place, '.version'), version)
    renameSync(join(this.place, '.version'), join(this.place, 'version'))
  }

  control() {
    return ControlClient.connect({ name: NAME, runtimeDir: join(this.place, 'run') })
  }

  /** Its own, and those of each worker. */
  async descriptors() {
    const { slots } = await (await this.control()).status()
    return { launcher: openIn(this.pid), workers: slots.map(({ worker }) => openIn(worker.pid)) }
  }

  /** Private to it and not of a file, in KiB. */
  memory() {
    return Number(/^Anonymous: +(\d+)/m.exec(readFileSync(`/proc/${this.pid}/smaps_rollup`, 'utf8'))?.[1])
  }

  async stop() {
    const ended = once(this.child, 'exit')
    this.child.kill('SIGTERM')
    const [code] = await ended
    return code
  }

  /** Processes that have come from it, whoever is their parent now. */
  left() {
    return readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`ENDURANCE=${this.place}\0`)
      } catch {
        return false
      }
    })
  }

  async remove() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop()
    for (const pid of this.left()) process.kill(Number(pid), 'SIGKILL')
    rmSync(this.place, { recursive: true })
  }
}

const openIn = (pid) => readdirSync(`/proc/${pid}/fd`).length

/** Four clients that never retry, two of them over a connection that is kept. */
class Load {
  requests = 0
  lost = []
  #over = false

  constructor(port) {
    const agent = new Agent({ keepAlive: true })
    const ask = (agent) =>
      new Promise((done, fail) => {
        get({ host: '127.0.0.1', port, path: '/version', agent }, (response) =>
          response.resume().on('end', done).on('error', fail),
        ).on('error', fail)
      })
    const loop = async (own) => {
      while (!this.#over) {
        await ask(own).then(
          () => this.requests++,
          (error) => this.lost.push(error.code ?? error.message),
        )
        await new Promise((done) => setTimeout(done, 5))
      }
    }
    this.ended = Promise.all([loop(false), loop(false), loop(agent), loop(agent)]).finally(() => agent.destroy())
  }

  async end() {
    this.#over = true
    await this.ended
  }
}

const RUNS = {
  async kept({ reloads, failed, upgrades }) {
    const launcher = await Launcher.start()
    const load = new Load(launcher.port)
    const memory = []
    try {
      let client = await launcher.control()
      const wanted = async (order, result) => {
        const verdict = await order
        if (verdict.result !== result)
          throw new Error(`${verdict.result} instead of ${result}: ${[verdict.reason, ...verdict.stderr].join('\n')}`)
      }
      // What is loaded when it is needed first is there for good.
      for (let i = 0; i < 10; i++) await wanted(client.reload({ wait: 'retired' }), 'done')
      const before = await launcher.descriptors()
      for (let i = 1; i <= reloads; i++) {
        await wanted(client.reload({ wait: 'retired' }), 'done')
        if (i % (reloads / 10) === 0) memory.push(launcher.memory())
      }
      const afterReloads = await launcher.descriptors()
      launcher.deploy('exits-at-load 3')
      for (let i = 0; i < failed; i++) await wanted(client.reload(), 'aborted')
      const afterFailed = await launcher.descriptors()
      launcher.deploy('two')
      for (let i = 0; i < upgrades; i++) {
        await wanted(client.upgrade(), 'done')
        client = await launcher.control()
      }
      const after = await launcher.descriptors()
      await load.end()
      return {
        figures: { reloads, failed, upgrades, before, afterReloads, afterFailed, after, memory },
        ...{ requests: load.requests, lost: load.lost.length },
      }
    } finally {
      await load.end()
      await launcher.remove()
    }
  },

  async signals({ rounds, signals }) {
    const launcher = await Launcher.start()
    const load = new Load(launcher.port)
    const generations = []
    let most = 0
    try {
      const client = await launcher.control()
      for (let round = 0; round < rounds; round++) {
        const before = launcher.reloads
        let over = false
        const look = (async () => {
          while (!over) most = Math.max(most, (await client.status()).generations.length)
        })()
        const begun = performance.now()
        for (let i = 0; i < signals; i++) {
          launcher.child.kill('SIGHUP')
          const left = begun + ((i + 1) * 1_000) / signals - performance.now()
          await new Promise((done) => setTimeout(done, Math.max(0, left)))
        }
        // Those that were asked for in this second are covered by a run that is over when this one is.
        await client.reload({ wait: 'retired' })
        over = true
        await look
        generations.push(launcher.reloads - before)
      }
      await load.end()
      return { figures: { rounds, signals, generations, most }, requests: load.requests, lost: load.lost.length }
    } finally {
      await load.end()
      await launcher.remove()
    }
  },

  async stops({ stops }) {
    const times = []
    let left = 0
    for (let i = 0; i < stops; i++) {
      const launcher = await Launcher.start(['--drain-timeout', '1s'])
      try {
        // A third each: nothing open; a request that ends in time; one that does not.
        const open = i % 3 === 0 ? [] : [slowRequest(launcher.port, i % 3 === 1 ? 300 : 60_000)]
        await Promise.all(open.map(({ begun }) => begun))
        const from = performance.now()
        const code = await launcher.stop()
        times.push(performance.now() - from)
        for (const { call } of open) call.destroy()
        if (code !== 0 || launcher.left().length > 0 || existsSync(join(launcher.place, 'run', NAME))) left++
      } finally {
        await launcher.remove()
      }
    }
    times.sort((a, b) => a - b)
    const at = (share) => Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))])
    return { figures: { stops, left, ms: [at(0.5), at(0.95), at(1)] }, requests: 0, lost: 0 }
  },
}

function slowRequest(port, ms) {
  let begin
  const begun = new Promise((done) => {
    begin = done
  })
  const call = get({ host: '127.0.0.1', port, path: `/slow?ms=${ms}`, agent: false }, (response) => {
    response.on('data', begin).on('error', () => {})
  })
  call.on('error', () => {})
  return { call, begun }
}

async function freePort() {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function until(what, look) {
  const deadline = performance.now() + ANSWER_MS
  while (!look()) {
    if (performance.now() > deadline) throw new Error(`not within ${ANSWER_MS} ms: ${what}`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

async function run({ id, part, plan }) {
  console.error(id)
  try {
    return { commit: commit(), node: process.version, ...(await RUNS[part](plan)) }
  } catch (error) {
    console.error(error)
    return { commit: commit(), node: process.version, failed: error.message }
  }
}

const KiB = (value) => `${(value / 1_024).toFixed(1)}`
const counts = ({ launcher, workers }) => `${launcher} / ${workers.join(', ')}`

const WRITE = {
  kept: {
    title: 'Reloads, bad versions, upgrades',
    text: `One launcher with ${WORKERS} workers: reloads, then reloads into a version that exits at once, then upgrades of the launcher itself. "Descriptors": of the
launcher / of each worker, after ten reloads, after all of them, after the bad versions, at the end. "Memory": private and anonymous, at the
moment, after each tenth of the reloads, in MiB.`,
    head: ['piece', 'reloads', 'bad', 'upgrades', 'descriptors', 'memory', 'requests', 'lost'],
    row: ({ reloads, failed, upgrades, before, afterReloads, afterFailed, after, memory }, { requests, lost }) => [
      ...[reloads, failed, upgrades].map(number),
      [before, afterReloads, afterFailed, after].map(counts).join('; '),
      memory.map(KiB).join(', '),
      ...[number(requests), bold(lost)],
    ],
  },
  signals: {
    title: 'A hundred SIGHUPs in a second',
    text: '"Started": reloads that came of them, and of one more at the end of the second, which is waited for; per round. "At once": the most that `status` ever named.',
    head: ['piece', 'rounds', 'signals', 'started', 'at once', 'requests', 'lost'],
    row: ({ rounds, signals, generations, most }, { requests, lost }) => [
      ...[rounds, signals].map(number),
      `${Math.min(...generations)} to ${Math.max(...generations)}`,
      ...[number(most), number(requests), bold(lost)],
    ],
  },
  stops: {
    title: 'Stops',
    text: 'Started, and stopped by SIGTERM with `--drain-timeout 1s`: in turn with nothing open, with a request that ends in time, with one that does not. "Left": stops after which a process, or a file, was still there, or whose exit code was not 0.',
    head: ['piece', 'stops', 'left', 'ms: median / 95 % / worst'],
    row: ({ stops, left, ms }) => [number(stops), bold(left), ms.map(number).join(' / ')],
  },
}

function page(done, resultOf) {
  const results = done.map(resultOf)
  const parts = Object.entries(WRITE).flatMap(([part, { title, text, head, row }]) => {
    const own = done.filter((piece) => piece.part === part && resultOf(piece).figures !== undefined)
    if (own.length === 0) return []
    const rows = own.map((piece) => [piece.id, ...row(resultOf(piece).figures, resultOf(piece))])
    return [`## ${title}\n\n${text}\n\n${table(head, rows)}\n`]
  })
  const failed = done.filter((piece) => resultOf(piece).failed !== undefined)
  return `# What is left after long

Written by \`node scripts/endurance.mjs\` at commit ${[...new Set(results.map(({ commit }) => commit))].join(', ')}, with Node ${[...new Set(results.map(({ node }) => node))].join(', ')} on
Linux ${release()}, ${availableParallelism()} processors, which other work shares. Beside it four clients ask all the time, and never retry.

${parts.join('\n')}${failed.map((piece) => `\n\`${piece.id}\` **failed**: ${resultOf(piece).failed}\n`).join('')}`
}

await campaign({
  name: 'endurance',
  pieces: PIECES,
  files: ['scripts/endurance.mjs'],
  run,
  passed: ({ failed, lost, figures }) => failed === undefined && lost === 0 && (figures.left ?? 0) === 0,
  page,
})
