/**
 * `node scripts/real-apps.mjs [--reloads 20] [--dir DIR] [--out docs/real-apps.md] [app…]`: the programs of scripts/apps under 20 reloads
 * each, and what was lost. What they need is installed from the npm registry into --dir (default: in the system's temporary directory),
 * once. What is kept there of earlier runs of the same build stays in the table. Exits 1 if anything was lost.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { root, run } from './build.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    reloads: { type: 'string', default: '20' },
    dir: { type: 'string', default: join(tmpdir(), 'reuseport-run-apps') },
    out: { type: 'string', default: join(root, 'docs', 'real-apps.md') },
  },
})

const UPLOAD = ['--upload-path', '/upload']
const WEB = [...UPLOAD, '--slow-path', '/slow']
const SOCKETS = ['--upload-path', 'none', '--websocket-path', '/ws', '--echo']

/** `verify`: options for its clients; `load`: a program with clients of the app's own kind. */
const APPS = [
  { name: 'express', packages: ['express@5'], verify: WEB },
  { name: 'fastify', packages: ['fastify@5'], verify: WEB },
  { name: 'koa', packages: ['koa'], verify: WEB },
  {
    name: 'nest',
    packages: ['@nestjs/core', '@nestjs/common', '@nestjs/platform-express', 'reflect-metadata', 'rxjs'],
    verify: WEB,
  },
  {
    name: 'next',
    packages: ['next', 'react', 'react-dom'],
    // A page takes some 5 ms of a processor: with more clients than these a new connection may wait too long (see the page's end).
    verify: ['--upload-path', 'none', '--connections', '4'],
    prepare: ['node_modules/.bin/next', 'build', 'next'],
    command: ['node', 'node_modules/next/dist/bin/next', 'start', 'next'],
  },
  { name: 'ws', packages: ['ws'], verify: SOCKETS },
  { name: 'socket.io', packages: ['socket.io', 'socket.io-client'], load: 'socket.io-load.cjs' },
  { name: 'grpc', packages: ['@grpc/grpc-js'], load: 'grpc-load.cjs' },
]

const cli = join(root, 'dist', 'cli', 'main.js')
const commandOf = ({ name, command = ['node', `${name}.cjs`] }) => command

function install(apps) {
  mkdirSync(values.dir, { recursive: true })
  cpSync(join(root, 'scripts', 'apps'), values.dir, { recursive: true })
  const missing = apps.flatMap(({ packages }) => packages).filter((name) => !existsSync(folderOf(name)))
  if (missing.length > 0)
    run('npm', ['install', '--prefix', values.dir, '--no-audit', '--no-fund', '--ignore-scripts', ...missing])
}

const folderOf = (name) => join(values.dir, 'node_modules', name.replace(/(?<=.)@.*$/, ''))
const versionOf = ({ packages: [first] }) =>
  JSON.parse(readFileSync(join(folderOf(first), 'package.json'), 'utf8')).version

/** One row of the table. */
function verify(app) {
  const words = ['verify', '--json', '-n', '2', '--reloads', values.reloads, ...app.verify, '--', ...commandOf(app)]
  const { stdout } = spawnSync(process.execPath, [cli, ...words], {
    cwd: values.dir,
    encoding: 'utf8',
    env: { ...process.env, PORT: '3000', NEXT_TELEMETRY_DISABLED: '1' },
    // A report lists every reload.
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (stdout === '') throw new Error(`no report about ${app.name}`)
  const { total, kinds, reloads, counters, reasons } = JSON.parse(stdout)
  const stays = kinds.filter(({ ends }) => ends === 'never')
  return {
    by: 'verify',
    reloads: `${reloads.done} of ${reloads.each.length}`,
    requests: total.requests,
    lost: total.lost,
    closed: stays.reduce((sum, { endedPolitely, idleClosed }) => sum + endedPolitely + idleClosed, 0),
    reconnects: total.reconnects,
    kernel: counters.judged ? `+${counters.change.OutRsts}` : 'shared',
    reasons,
  }
}

/** As `verify` does, with clients that only the app's own library can be, and in the network of everybody. */
async function load(app) {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'reuseport-apps-'))
  const own = ['--name', 'app', '--runtime-dir', runtimeDir]
  const env = { ...process.env, PORT: String(await freePort()) }
  const options = ['-n', '2', '--bake', '0', '--drain-timeout', '10s', '--drain-spread', '1s']
  const launcher = spawn(process.execPath, [cli, ...own, ...options, '--', ...commandOf(app)], {
    cwd: values.dir,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const ended = once(launcher, 'exit')
  const verb = (name, ...more) =>
    spawnSync(process.execPath, [cli, name, ...own, ...more], { encoding: 'utf8', cwd: values.dir })
  try {
    const giveUpAt = Date.now() + 30_000
    while (!verb('status', '--json').stdout.includes('"state":"serving"')) {
      if (Date.now() > giveUpAt || launcher.exitCode !== null) throw new Error(`${app.name} does not serve`)
      await sleep(100)
    }
    const clients = spawn(process.execPath, [app.load], { cwd: values.dir, env, stdio: ['pipe', 'pipe', 'inherit'] })
    const output = text(clients.stdout)
    let done = 0
    const reasons = []
    for (let reload = 1; reload <= Number(values.reloads); reload++) {
      const { status, stderr } = await asynchronously('reload', ...own, '--wait', 'retired')
      if (status === 0) done++
      else reasons.push(`reload ${reload} ended with ${status}: ${stderr.trim()}`)
      console.error(`reload ${reload} of ${values.reloads}: ${status}`)
    }
    clients.stdin.end()
    const { requests, lost, reconnects, why } = JSON.parse(await output)
    for (const [what, times] of Object.entries(why)) reasons.push(`${times} × ${what}`)
    const counts = { requests, lost, closed: null, reconnects, kernel: 'shared', reasons }
    return { by: 'own clients', reloads: `${done} of ${values.reloads}`, ...counts }
  } finally {
    verb('stop')
    await ended
    rmSync(runtimeDir, { recursive: true, force: true })
  }
}

async function asynchronously(...words) {
  const child = spawn(process.execPath, [cli, ...words], { cwd: values.dir, stdio: ['ignore', 'ignore', 'pipe'] })
  const [stderr, [status]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  return { status, stderr }
}

async function freePort() {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const number = (value) => value?.toLocaleString('en-US') ?? '–'
const bold = (value) => (value === 0 ? '**0**' : number(value))

function page(results) {
  const rows = results.map(({ app, version, result }) => {
    const { by, reloads, requests, lost, closed, reconnects, kernel } = result
    const counts = [number(requests), bold(lost), closed === null ? '–' : bold(closed), number(reconnects)]
    return `| ${app} ${version} | ${by} | ${reloads} | ${counts.join(' | ')} | ${kernel} |`
  })
  const failed = results.filter(({ result }) => result.reasons.length > 0)
  return `# Real programs

Written by \`node scripts/real-apps.mjs\`: small programs with each library, unchanged by reuseport-run, under ${values.reloads} reloads each, two
workers, Node ${process.version}, Linux ${release()}, ${availableParallelism()} processors. \`verify\`: its clients, 16 of each kind (Next.js: 4), none of which retries. Own clients:
those of the library, as they come; for gRPC that includes its transparent retry of calls that no server has looked at, for socket.io its
option \`retries\`, by WebSocket: its long polling needs sticky sessions, as it does with any number of processes.

| program | clients | reloads | requests | lost | closed | reconnects | OutRsts |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}

"Closed": HTTP/1.1 connections that the server has ended. "Reconnects": connections opened again, after 1012 (not told by gRPC).

Next.js has 4 clients of each kind: more are too many for two processors. Node accepts one connection in each turn of its event loop (libuv
since 1.45), and with 16 of each kind (128 clients) a turn lasts up to 2 s, 3 s where other programs want the processors too, so that a new
connection may wait longer than its client's 10 s. Measured with 16 of each kind:

| beside it | reloads | requests | lost | slowest answer |
| --- | ---: | ---: | ---: | ---: |
| little: an eighth of the processors | 24 | 55,347 | **0** | 6.7 s |
| 7 busy loops | 5 | 4,628 | 29: 20 of them sent before the first reload; all were accepted and read, too late | – |
| 7 busy loops, clients that wait 60 s | 5 | 4,546 | **0** | 11.5 s |
| nothing, two Next.js without the launcher | none | 37,204 | **0** | 2.5 s |
| 3 busy loops, two Next.js without the launcher | none | 10,906 | 5, all before anything was reloaded | – |
| test suites | 12 | 21,301 | 9 reset: launcher and workers alike stood still for 3 to 7 s, longer than [keepAliveTimeout](limits.md#what-does-not-move) | – |
${failed.map(({ app, result }) => `\n${app} **failed**:\n\n${result.reasons.map((reason) => `- ${reason}`).join('\n')}\n`).join('')}`
}

const unknown = positionals.filter((name) => !APPS.some((app) => app.name === name))
if (unknown.length > 0) throw new Error(`no such app: ${unknown.join(', ')}`)
const apps = APPS.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
install(apps)
const kept = join(values.dir, 'results.json')
const before = existsSync(kept) ? JSON.parse(readFileSync(kept, 'utf8')) : {}
for (const app of apps) {
  console.error(`\n=== ${app.packages[0]} ${versionOf(app)}`)
  if (app.prepare !== undefined) run(join(values.dir, app.prepare[0]), app.prepare.slice(1), { cwd: values.dir })
  const result = app.verify === undefined ? await load(app) : verify(app)
  before[app.name] = { app: app.packages[0].replace(/(?<=.)@.*$/, ''), version: versionOf(app), result }
  console.error(JSON.stringify(result))
  writeFileSync(kept, JSON.stringify(before))
  writeFileSync(values.out, page(APPS.flatMap(({ name }) => before[name] ?? [])))
}
const failed = APPS.some(({ name }) => before[name] !== undefined && before[name].result.reasons.length > 0)
process.exitCode = failed ? 1 : 0
