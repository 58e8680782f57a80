// Reloads under load, side by side: this package and what else runs a Node server on one machine. Each peer in its own process and network
// namespace, the same program, the same clients that never retry, the same number of reloads. Prints a Markdown table.
//
//   node bench/peers.mjs [--reloads 20] [--connections 8]
//
// PM2 is fetched by npm below node_modules/.cache and run as a program.

import { execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root, run } from '../scripts/build.mjs'

const require = createRequire(import.meta.url)
const { values } = parseArgs({
  options: {
    reloads: { type: 'string', default: '20' },
    connections: { type: 'string', default: '8' },
    peer: { type: 'string' },
  },
})
const RELOADS = Number(values.reloads)
const CONNECTIONS = Number(values.connections)
const WORKERS = 2
const PORT = 3000
const PROGRAM = join(root, 'examples', 'http', 'app.js')

/** How each peer is started, reloaded (until nothing of the old is left, as far as it tells) and stopped. */
const PEERS = {
  'reuseport-run': async (scratch) => {
    const { ControlClient } = require('../dist/control-client.js')
    const main = join(root, 'dist', 'cli', 'main.js')
    // Without the bake: the others have none, and it only makes the run longer.
    const options = ['--name', 'bench', '--runtime-dir', scratch, '-n', String(WORKERS), '--bake', '0']
    const child = spawn(process.execPath, [main, ...options, '--', process.execPath, PROGRAM], { stdio: 'ignore' })
    const control = await retry(() => ControlClient.connect({ name: 'bench', runtimeDir: scratch }))
    await retry(async () => (await control.status()).state === 'serving' || Promise.reject(new Error('not yet')))
    return {
      pid: child.pid,
      version: require('../package.json').version,
      reload: async () => (await control.reload({ wait: 'retired' })).result === 'done',
      stop: async () => {
        await control.stop()
        await once(child, 'exit')
      },
    }
  },
  'node:cluster': async () => {
    const child = fork(join(root, 'bench', 'peers', 'cluster.cjs'), [PROGRAM, String(WORKERS)], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    await once(child, 'message')
    return {
      pid: child.pid,
      version: process.version,
      reload: async () => {
        const done = once(child, 'message')
        child.kill('SIGHUP')
        return (await done)[0] === 'reloaded'
      },
      stop: async () => {
        const exit = once(child, 'exit')
        child.kill('SIGKILL')
        await exit
      },
    }
  },
  pm2: async (scratch) => {
    const folder = join(root, 'node_modules', '.cache', 'pm2')
    const env = { ...process.env, PM2_HOME: scratch, PM2_DISCRETE_MODE: 'true' }
    const pm2 = (...words) =>
      execFileSync(process.execPath, [join(folder, 'node_modules', 'pm2', 'bin', 'pm2'), ...words], {
        env,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
    pm2('start', PROGRAM, '-i', String(WORKERS), '--name', 'bench')
    return {
      pid: Number(readFileSync(join(scratch, 'pm2.pid'), 'utf8')),
      version: JSON.parse(readFileSync(join(folder, 'node_modules', 'pm2', 'package.json'), 'utf8')).version,
      reload: async () => pm2('reload', 'bench').includes('✓'),
      stop: async () => pm2('kill'),
    }
  },
}

async function measure(name) {
  const { native } = require('../dist/native.js')
  const { readNetworkCounters } = require('../dist/kernel-counters.js')
  const { LoadProcess } = require('../dist/verify/load/load-process.js')
  native().enterPrivateNetwork()
  process.env.PORT = String(PORT)
  const scratch = mkdtempSync(join(tmpdir(), 'reuseport-bench-'))
  const load = new LoadProcess()
  try {
    const peer = await PEERS[name](scratch)
    const before = readNetworkCounters()
    await load.start({
      target: { host: '127.0.0.1', port: PORT },
      paths: { path: '/', uploadPath: '/', slowPath: null },
      connections: CONNECTIONS,
      connectTimeoutMs: 10_000,
      responseTimeoutMs: 10_000,
    })
    const times = []
    for (let n = 0; n < RELOADS; n++) {
      const begun = performance.now()
      if (!(await peer.reload())) throw new Error(`${name} did not reload`)
      times.push(performance.now() - begun)
    }
    const memory = privateKilobytes(peer.pid)
    const { tallies } = await load.finish()
    const after = readNetworkCounters()
    await peer.stop()
    return { name, version: peer.version, tallies, times, memory, resets: after.OutRsts - before.OutRsts }
  } finally {
    await load.kill()
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Memory that the supervisor alone costs: pages that no other process shares. */
function privateKilobytes(pid) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return ['Private_Clean', 'Private_Dirty'].reduce(
    (sum, key) => sum + Number(new RegExp(`${key}:\\s+(\\d+)`).exec(rollup)[1]),
    0,
  )
}

async function retry(work) {
  const deadline = performance.now() + 20_000
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((done) => setTimeout(done, 20))
    }
  }
}

function row({ name, version, tallies, times, memory, resets }) {
  const sum = (of) => tallies.reduce((total, tally) => total + of(tally), 0)
  const requests = (tally) => Object.values(tally.buckets).reduce((a, b) => a + b, 0)
  const lost = (tally) => requests(tally) - tally.buckets.ok
  const perReload = (count) => (count === 0 ? '0' : (count / RELOADS).toFixed(1))
  const median = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)]
  const isNew = (tally) => tally.kind === 'new connection'
  return [
    `${name} ${version}`,
    sum(requests),
    perReload(sum((tally) => (isNew(tally) ? lost(tally) : 0))),
    perReload(sum((tally) => (isNew(tally) ? 0 : lost(tally)))),
    perReload(sum((tally) => tally.idleClosed)),
    perReload(resets),
    `${Math.round(median)}`,
    `${(memory / 1024).toFixed(0)}`,
  ]
}

if (values.peer !== undefined) {
  process.stdout.write(JSON.stringify(await measure(values.peer)))
} else {
  run(process.execPath, ['scripts/build.mjs'])
  const folder = join(root, 'node_modules', '.cache', 'pm2')
  if (!existsSync(join(folder, 'node_modules', 'pm2'))) {
    mkdirSync(folder, { recursive: true })
    run('npm', ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', 'pm2@7'])
  }
  const rows = Object.keys(PEERS).map((name) => {
    const words = [
      import.meta.filename,
      '--peer',
      name,
      '--reloads',
      values.reloads,
      '--connections',
      values.connections,
    ]
    return row(
      JSON.parse(
        execFileSync(process.execPath, words, {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'inherit'],
          maxBuffer: 2 ** 26,
        }),
      ),
    )
  })
  const head = [
    '',
    'requests',
    'lost, new connections',
    'lost, others',
    'closed while idle',
    'resets (kernel)',
    'reload, ms (median)',
    'supervisor, MB private',
  ]
  const line = (cells) => `| ${cells.join(' | ')} |`
  console.log(
    `Per reload, mean of ${RELOADS}; ${WORKERS} workers, ${CONNECTIONS} clients of each of six kinds, Node ${process.version}:\n`,
  )
  console.log([line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n'))
}
