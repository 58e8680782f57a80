/**
 * `node scripts/handover/piece.mjs load|kill|race|udp`: one piece of the handover campaign, with processes of
 * test/fixtures/worker/handover.cjs, in a network namespace of its own. Prints what it found as JSON.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { root } from '../build.mjs'
import { CLIENTS, HANDOVERS, OWN_CLIENTS, RACES, ROUNDS } from './plan.mjs'
import { datagrams } from './udp.mjs'

const load = createRequire(join(root, 'dist', 'index.js'))
const fixture = (name) => join(root, 'test', 'fixtures', 'worker', name)
const DEADLINE_MS = 30_000

const ports = { http: 3000, https: 3001, net: 3002 }
const started = []

async function until(what, look) {
  const deadline = Date.now() + DEADLINE_MS
  for (;;) {
    const seen = await look()
    if (seen) return seen
    if (Date.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`)
    await setTimeout(5)
  }
}

/** A process of the program. */
function start(directory, more = {}, env = {}) {
  const config = { ...ports, unix: join(directory, 'app.sock'), keepAliveTimeout: 15_000, ...more }
  const fault = Object.keys(env).length > 0 ? ['--require', fixture('handover-fault.cjs')] : []
  const argv = [...fault, fixture('handover.cjs'), join(directory, 'handover.sock'), JSON.stringify(config)]
  const child = spawn(process.execPath, argv, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const program = { child, lines, isRunning: true, said: (word) => lines.some((line) => line.startsWith(word)) }
  child.once('exit', (code, signal) => Object.assign(program, { isRunning: false, code, signal }))
  started.push(program)
  return program
}

const ready = (program) => until('ready', () => program.said('ready'))
const gone = (program) => until('its end', () => !program.isRunning)

/** HTTP on a path, kept alive, with a thought in between; never tried again. */
async function pathClient(path, run) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (run.goes) {
    try {
      await new Promise((done, fail) => {
        get({ socketPath: path, path: '/', agent }, (response) => response.resume().once('end', done)).once(
          'error',
          fail,
        )
      })
      run.requests++
    } catch (error) {
      run.lost.push(`unix: ${error.code ?? error.message}`)
      agent.destroy()
    }
    await setTimeout(Math.random() * 100)
  }
  agent.destroy()
}

/** One line asked, one answered; after a 'bye' the next connection. */
async function lineClient(port, run) {
  while (run.goes) {
    const socket = connect(port)
    const closed = new Promise((done) => socket.once('close', done))
    socket.on('error', ({ code }) => run.lost.push(`net: ${code}`))
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
    let isLast = false
    while (run.goes && !isLast) {
      socket.write('?\n')
      let line = await lines.next()
      if (line.value === 'bye') {
        isLast = true
        line = await lines.next()
      }
      if (line.done) {
        run.lost.push('net: closed without an answer')
        break
      }
      run.requests++
      await setTimeout(Math.random() * 20)
    }
    socket.end()
    await closed
  }
}

async function freshClient(port, run) {
  while (run.goes) {
    try {
      await new Promise((done, fail) => {
        get({ host: '127.0.0.1', port, agent: false }, (response) => response.resume().once('end', done)).once(
          'error',
          fail,
        )
      })
      run.requests++
    } catch (error) {
      run.lost.push(error.code ?? error.message)
    }
    await setTimeout(2)
  }
}

function under(clients) {
  const run = { goes: true, requests: 0, lost: [] }
  const all = clients(run)
  return {
    run,
    async stop() {
      run.goes = false
      await Promise.all(all)
      return run
    },
  }
}

const times = (count, make) => Array.from({ length: count }, make)

const inside = {
  async load(directory) {
    const { LoadProcess } = load('./verify/load/load-process.js')
    const { countersBetween, readNetworkCounters } = load('./kernel-counters.js')
    let now = start(directory)
    await ready(now)
    const before = readNetworkCounters()
    const own = under((run) => [
      ...times(OWN_CLIENTS, () => pathClient(join(directory, 'app.sock'), run)),
      ...times(OWN_CLIENTS, () => lineClient(ports.net, run)),
    ])
    const web = new LoadProcess()
    await web.start({
      targets: {
        http: { host: '127.0.0.1', port: ports.http },
        https: { host: '127.0.0.1', port: ports.https, tls: true },
        http2: null,
        h2c: null,
      },
      paths: { path: '/', uploadPath: null, slowPath: null, websocketPath: null, ssePath: null },
      echoes: false,
      moves: true,
      connections: 0,
      clients: CLIENTS,
      connectTimeoutMs: 10_000,
      responseTimeoutMs: 10_000,
    })
    const each = []
    for (let handover = 0; handover < HANDOVERS; handover++) {
      const old = now
      const at = performance.now()
      now = start(directory)
      await ready(now)
      await gone(old)
      const line = old.lines.find((one) => one.startsWith('drained'))
      each.push({
        ...JSON.parse(line.slice(line.indexOf('{'))),
        ms: Math.round(performance.now() - at),
        code: old.code,
      })
    }
    const { tallies, incidents } = await web.finish()
    await web.kill()
    const { requests, lost } = await own.stop()
    const counters = countersBetween(before, readNetworkCounters())
    now.child.kill('SIGKILL')
    await gone(now)
    const ofWeb = tallies.reduce((sum, { buckets }) => sum + Object.values(buckets).reduce((a, b) => a + b, 0), 0)
    const fine = tallies.reduce((sum, { buckets }) => sum + buckets.ok, 0)
    const never = tallies.filter(({ ends }) => ends === 'never')
    return {
      requests: requests + ofWeb,
      lost: lost.length + ofWeb - fine,
      reasons: [...lost, ...incidents.map((one) => JSON.stringify(one))].slice(0, 20),
      closed: never.reduce((sum, { endedPolitely, idleClosed }) => sum + endedPolitely + idleClosed, 0),
      each,
      counters,
    }
  },

  async kill(directory) {
    const asNew = [
      'before hello',
      'after hello',
      'at sockets',
      'before ready',
      'after ready',
      'at commit',
      'before acting',
    ]
    const asOld = ['at hello', 'before sockets', 'after sockets', 'at ready', 'before commit', 'after commit']
    asOld.push('at acting', 'before lane', 'after lane')
    const all = [...asNew.map((FAULT) => ['new', FAULT]), ...asOld.map((FAULT) => ['old', FAULT])]
    const result = { kills: 0, requests: 0, lost: { new: 0, old: 0, alone: 0 }, inHand: 4, stuck: [] }
    let number = 0
    for (let round = 0; round < ROUNDS; round++)
      for (const [who, FAULT] of all) {
        const home = join(directory, String(++number))
        mkdirSync(home)
        const old = start(home, {}, who === 'old' ? { FAULT } : {})
        await ready(old)
        const clients = under((run) => times(result.inHand, () => freshClient(ports.http, run)))
        await until('they are answered', () => clients.run.requests > 20)
        const fallen = who === 'old' ? old : start(home, {}, { FAULT })
        const other = who === 'old' ? start(home) : old
        try {
          await gone(fallen)
          if (who === 'old') await ready(other)
          const from = clients.run.requests
          await until('it serves on', () => clients.run.requests > from + 20)
          const next = start(home)
          await ready(next)
          await gone(other)
          const then = clients.run.requests
          await until('the next one serves', () => clients.run.requests > then + 20)
        } catch (error) {
          result.stuck.push(`${who} ${FAULT}: ${error.message}`)
        }
        const { requests, lost } = await clients.stop()
        result.kills++
        result.requests += requests
        // Before it has given its sockets to anybody they die with it.
        const sort = who === 'old' && ['at hello', 'before sockets'].includes(FAULT) ? 'alone' : who
        result.lost[sort] += lost.length
        if (sort !== 'alone' && lost.length > (who === 'old' ? result.inHand : 0))
          result.stuck.push(`${who} ${FAULT}: ${lost.length} lost, ${[...new Set(lost)].join()}`)
        await endAll()
      }
    return result
  },

  udp: (directory) => datagrams(directory, { start, ready, gone }),

  async race(directory) {
    const result = { races: 0, requests: 0, lost: 0, wrong: [] }
    let now = start(directory)
    await ready(now)
    const clients = under((run) => times(2, () => freshClient(ports.http, run)))
    for (let race = 0; race < RACES; race++) {
      const two = times(2, () => start(directory, { late: true }))
      await until('both know', () => two.every(({ said }) => said('listening') || said('failed')))
      const won = two.filter(({ said }) => said('listening'))
      const busy = two.filter(({ said }) => said('failed ERR_HANDOVER_BUSY'))
      if (won.length !== 1 || busy.length !== 1)
        result.wrong.push(`race ${race}: ${won.length} won, ${busy.length} told that it is busy`)
      const [winner] = won
      winner.child.kill('SIGUSR2')
      await ready(winner)
      await gone(now)
      await gone(busy[0])
      now = winner
      result.races++
    }
    const { requests, lost } = await clients.stop()
    return { ...result, requests, lost: lost.length, reasons: lost.slice(0, 20) }
  },
}

async function endAll() {
  for (const program of started.splice(0)) {
    if (program.isRunning) program.child.kill('SIGKILL')
    await gone(program)
  }
}

const { enterNetwork } = load('./verify/private-network.js')
const network = enterNetwork('private')
const directory = mkdtempSync(join(tmpdir(), 'handover-'))
try {
  const [, , part] = process.argv
  console.log(JSON.stringify({ ...(await inside[part](directory)), private: network.private, node: process.version }))
} finally {
  await endAll()
  rmSync(directory, { recursive: true, force: true })
}
