// Who runs the same program side by side: how each is started on a port, reloaded until nothing of the old is left, as far as it tells, and
// stopped. Each is to be alone in its network namespace.

import { execFile, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { root, run } from '../../scripts/build.mjs'
import { serving } from '../launcher.mjs'

const require = createRequire(import.meta.url)
const execute = promisify(execFile)
const here = import.meta.dirname
const PROGRAM = join(root, 'examples', 'http', 'app.js')
const MAIN = join(root, 'dist', 'cli', 'main.js')
const cache = join(root, 'node_modules', '.cache')
const PM2 = join(cache, 'pm2', 'node_modules', 'pm2')

export const WORKERS = 2
/** What every workers' process is: `node app.js`. */
const NODE = [process.execPath]
export const PLAIN = [...NODE, PROGRAM]

/**
 * By name: `start({ port, scratch, options })` gives `pid` of its supervisor, if there is one, `version`, `reload`, if it can, `control`, if it can
 * be asked what runs (`look` asks once more, `leave` ends that; `commands` ask as a whole), and `stop`. `options` are for the launcher alone.
 */
export const CONTENDERS = {
  'reuseport-run': {
    start: async ({ scratch, options = [] }) => {
      const { ControlClient } = require('../../dist/control-client.js')
      // Without the bake: the others have none, and it only makes the run longer.
      const own = ['--name', 'bench', '--runtime-dir', scratch, '-n', String(WORKERS), '--bake', '0', ...options]
      const words = [MAIN, ...own, '--log-format', 'json', '--', ...NODE, PROGRAM]
      const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] })
      // By its log: whoever asks it gives it work.
      await serving(child)
      let control
      const connected = async () => {
        control ??= await ControlClient.connect({ name: 'bench', runtimeDir: scratch })
        return control
      }
      return {
        pid: child.pid,
        version: require('../../package.json').version,
        reload: async () => (await (await connected()).reload({ wait: 'retired' })).result === 'done',
        control: async () => {
          const client = await connected()
          const words = [MAIN, 'status', '--json', '--name', 'bench', '--runtime-dir', scratch]
          return { look: () => client.status(), leave() {}, commands: { 'reuseport-run status --json': { words } } }
        },
        stop: async () => {
          if (child.exitCode !== null || child.signalCode !== null) return
          child.kill('SIGTERM')
          await once(child, 'exit')
        },
      }
    },
  },
  'plain node': {
    start: async () => withChildren([PLAIN], process.version),
  },
  'plain reuseport': {
    start: async () => {
      const preload = join(here, 'plain-reuseport.cjs')
      return withChildren(Array(WORKERS).fill([...NODE, '-r', preload, PROGRAM]), process.version)
    },
  },
  'node:cluster': { start: () => startCluster({ policy: 'rr' }) },
  'node:cluster, no schedule': { start: () => startCluster({ policy: 'none' }) },
  pm2: {
    start: async ({ scratch }) => {
      const env = { ...process.env, PM2_HOME: scratch, PM2_DISCRETE_MODE: 'true' }
      const pm2 = async (...words) =>
        (await execute(process.execPath, [join(PM2, 'bin', 'pm2'), ...words], { env })).stdout
      await pm2('start', PROGRAM, '-i', String(WORKERS), '--name', 'bench')
      return {
        pid: Number(readFileSync(join(scratch, 'pm2.pid'), 'utf8')),
        version: JSON.parse(readFileSync(join(PM2, 'package.json'), 'utf8')).version,
        reload: async () => (await pm2('reload', 'bench')).includes('✓'),
        control: async () => {
          Object.assign(process.env, env)
          const api = require(PM2)
          const ask = (what) =>
            new Promise((resolve, reject) => api[what]((error, answer) => (error ? reject(error) : resolve(answer))))
          await ask('connect')
          const commands = Object.fromEntries(
            ['ping', 'jlist'].map((verb) => [`pm2 ${verb}`, { words: [join(PM2, 'bin', 'pm2'), verb], env }]),
          )
          return { look: () => ask('list'), leave: () => api.disconnect(), commands }
        },
        stop: () => pm2('kill'),
      }
    },
  },
  nginx: {
    start: async ({ port, scratch }) => {
      const file = join(scratch, 'nginx.conf')
      writeFileSync(file, nginxConfig(port, scratch))
      const { stderr } = spawnSync('nginx', ['-v'], { encoding: 'utf8' })
      const words = ['-c', file, '-p', scratch]
      const started = withChildren([['nginx', ...words]], stderr.trim().replace(/^.*nginx\//, ''))
      return {
        ...started,
        // It has ended when the order is given.
        reload: async () => {
          await execute('nginx', [...words, '-s', 'reload'])
          return true
        },
      }
    },
  },
  'C, epoll': {
    start: async ({ port }) => withChildren([[compiled('contenders/hello.c'), String(port), String(WORKERS)]], ''),
  },
}

function withChildren(commands, version) {
  const children = commands.map(([file, ...words]) => spawn(file, words, { stdio: 'ignore' }))
  return {
    pid: children.length === 1 ? children[0].pid : undefined,
    version,
    stop: () =>
      Promise.all(
        children.map(async (child) => {
          if (child.exitCode !== null || child.signalCode !== null) return
          child.kill('SIGTERM')
          await once(child, 'exit')
        }),
      ),
  }
}

export async function startCluster({ policy, program = PROGRAM, workers = WORKERS }) {
  const child = fork(join(here, 'cluster.cjs'), [program, String(workers)], {
    env: { ...process.env, NODE_CLUSTER_SCHED_POLICY: policy },
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
}

/** As much like the program's answer as it can be made. */
function nginxConfig(port, scratch) {
  return `
daemon off; worker_processes ${WORKERS}; error_log /dev/null; pid ${scratch}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000;
  client_body_temp_path ${scratch}; proxy_temp_path ${scratch}; fastcgi_temp_path ${scratch}; uwsgi_temp_path ${scratch}; scgi_temp_path ${scratch};
  server { listen ${port} reuseport; location / { return 200 "hello from process $pid\\n"; } }
}`
}

/** A C file of this directory's parent, compiled once. */
export function compiled(source) {
  const path = join(root, 'bench', source)
  const binary = join(cache, 'bench', source.replace(/\W/g, '-'))
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(path).mtimeMs) {
    mkdirSync(dirname(binary), { recursive: true })
    run('cc', ['-O2', '-Wall', '-Wextra', '-o', binary, path])
  }
  return binary
}

/** Programs of the distribution, and the package of Debian that has them. */
const TOOLS = { nginx: 'nginx-light', wrk: 'wrk' }

/** What contenders and load clients need that is not here yet. */
export function provide(names) {
  if (names.includes('pm2') && !existsSync(PM2)) {
    const folder = join(cache, 'pm2')
    mkdirSync(folder, { recursive: true })
    run('npm', ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', 'pm2@7'])
  }
  for (const [tool, debian] of Object.entries(TOOLS))
    if (names.includes(tool) && spawnSync(tool, ['-v']).error !== undefined)
      throw new Error(`${tool} is not installed: apt-get install ${debian}`)
}

/** Somebody answers on this port. */
export function answers(port) {
  return retry(
    () =>
      new Promise((resolve, reject) => {
        const socket = connect(port, '127.0.0.1', () =>
          socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
        )
        socket.once('data', () => resolve(socket.destroy()))
        socket.once('error', reject)
        socket.once('close', () => reject(new Error('closed without an answer')))
      }),
    1,
  )
}

async function retry(work, everyMs = 20) {
  const deadline = performance.now() + 60_000
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((done) => setTimeout(done, everyMs))
    }
  }
}
