/**
 * `node scripts/systemd-trial.mjs`: the unit of examples/systemd that fits this machine's systemd, under that systemd: as a manager of its own
 * (`systemd --user`), in a mount namespace with a /run and a cgroup of its own, so nothing of this machine is touched. Needs root, and a build. Half a
 * minute. What is counted: clients that open a connection per request and never retry.
 */
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './build.mjs'

const TIMES = 10
const PORT = 34_570
const CGROUP = '/sys/fs/cgroup/systemd-trial'
const version = Number(/^systemd (\d+)/.exec(execFileSync('systemctl', ['--version'], { encoding: 'utf8' }))[1])
const unit = version >= 254 ? 'shop.service' : 'shop-systemd-252.service'

if (process.argv[2] === 'inside') await inside(process.argv[3])
else {
  const place = mkdtempSync(join(tmpdir(), 'systemd-trial-'))
  const words = ['-m', '--cgroup', process.execPath, process.argv[1], 'inside', place]
  const { status } = spawnSync('unshare', words, { stdio: 'inherit' })
  rmSync(place, { recursive: true, force: true })
  process.exitCode = status
}

async function inside(place) {
  const shell = `mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup &&
    mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/user/0 ${CGROUP} && chmod 700 /run/user/0`
  execFileSync('sh', ['-c', shell], { stdio: 'inherit' })
  appendFileSync(join(CGROUP, 'cgroup.procs'), String(process.pid))
  Object.assign(process.env, { XDG_RUNTIME_DIR: '/run/user/0', XDG_CONFIG_HOME: join(place, 'config') })
  install(place)
  const log = openSync(join(place, 'systemd.log'), 'w')
  const manager = spawn('/lib/systemd/systemd', ['--user', '--unit=basic.target'], {
    stdio: ['ignore', log, log],
    env: { ...process.env, SYSTEMD_LOG_TARGET: 'console' },
    detached: true,
  })
  closeSync(log)
  const ended = new Promise((done) => manager.once('exit', done))
  try {
    await until('systemd runs', async () => (await tell('is-system-running')).stdout === 'running')
    await trial(place)
  } catch (error) {
    console.error(readFileSync(join(place, 'systemd.log'), 'utf8').slice(-4_000))
    throw error
  } finally {
    await tell('exit')
    await ended
    appendFileSync('/sys/fs/cgroup/cgroup.procs', String(process.pid))
    spawnSync('rmdir', [join(CGROUP, 'init.scope'), CGROUP])
  }
}

/** The unit as it is, but for what lies elsewhere here. */
function install(place) {
  const [app, units, program] = [
    join(place, 'app'),
    join(place, 'config', 'systemd', 'user'),
    join(place, 'reuseport-run'),
  ]
  mkdirSync(app)
  mkdirSync(units, { recursive: true })
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${join(root, 'dist/cli/main.js')} "$@"\n`, {
    mode: 0o755,
  })
  writeFileSync(join(app, 'app.js'), `require(${JSON.stringify(join(root, 'test/fixtures/servers/versioned.cjs'))})`)
  const text = readFileSync(join(root, 'examples', 'systemd', unit), 'utf8')
    .replace(/^User=.*\n/m, '')
    .replaceAll('/usr/local/bin/reuseport-run', program)
    .replaceAll('/srv/shop/current', app)
    .replace('-- node app.js', `--bake 500ms -- ${process.execPath} app.js ${PORT}`)
    .replace('[Service]', 'StartLimitIntervalSec=0\n\n[Service]')
  writeFileSync(join(units, 'shop.service'), text)
}

async function trial(place) {
  const deploy = (word) => writeFileSync(join(place, 'app', 'version'), word)
  const row = (what, ...cells) => console.log(`| ${[what, ...cells].join(' | ')} |`)
  const pids = () => {
    const verb = ['status', '--json', '--runtime-dir', '/run/user/0/shop', '--name', 'shop']
    const status = JSON.parse(execFileSync(join(place, 'reuseport-run'), verb, { encoding: 'utf8' }))
    return status.slots.map(({ worker }) => worker.pid)
  }
  console.log(`systemd ${version}, examples/systemd/${unit}\n`)
  row('`systemctl`', 'times', 'requests', 'lost', 'then')
  row('---', '---:', '---:', '---:', '---')

  deploy('one')
  await must('start', 'shop')
  row('`start`', 1, '', '', await show('StatusText'))

  await counted('`reload`', async (index) => {
    deploy(`version-${index}`)
    await must('reload', 'shop')
    same(await ask('/version'), `version-${index}`)
  })
  deploy('exits-at-load 3')
  // A signal has no answer but that it is over (Type=notify-reload).
  same((await tell('reload', 'shop')).status, version >= 254 ? 0 : 1)
  row('`reload` of a version that cannot start', 1, '', '', await show('StatusText'))

  deploy('two')
  await counted('`restart`', () => must('restart', 'shop'))

  let waiting = 0
  for (let index = 0; index < TIMES; index++) {
    const workers = pids()
    for (const pid of workers) process.kill(pid, 'SIGSTOP')
    const clients = Array.from({ length: 20 }, () => ask('/'))
    await until('they are in the queues', () => queued() === clients.length)
    await must('kill', '-s', 'KILL', 'shop')
    const answers = await Promise.all(clients)
    same(answers.filter((answer) => workers.includes(Number(answer))).length, 0)
    waiting += answers.length
    await until('it runs again', async () => (await show('SubState')) === 'running')
  }
  row(
    '`kill -s KILL`: launcher and workers, with 20 clients in the queues',
    TIMES,
    waiting,
    0,
    `NRestarts=${await show('NRestarts')}, ${await show('StatusText')}`,
  )

  await must('stop', 'shop')
  same(await ask('/').catch(({ code }) => code), 'ECONNREFUSED')
  row('`stop`', 1, '', '', `${await show('Result')}, ${await show('NFileDescriptorStore')} sockets kept`)

  async function counted(what, once) {
    const seen = { requests: 0, lost: 0 }
    let isOver = false
    const client = async () => {
      while (!isOver)
        await ask('/').then(
          () => seen.requests++,
          () => seen.lost++,
        )
    }
    const clients = Array.from({ length: 8 }, client)
    for (let index = 0; index < TIMES; index++) await once(index)
    isOver = true
    await Promise.all(clients)
    row(what, TIMES, seen.requests, seen.lost, await show('StatusText'))
    same(seen.lost, 0)
  }
}

function queued() {
  const { stdout } = spawnSync('ss', ['-Htln', `sport = :${PORT}`], { encoding: 'utf8' })
  return stdout.split('\n').reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[1] ?? 0), 0)
}

/** Beside the clients: nothing here waits for it in their place. */
function tell(...words) {
  return new Promise((done) => {
    execFile('systemctl', ['--user', '--no-pager', ...words], (error, stdout, stderr) =>
      done({ status: error === null ? 0 : error.code, stdout: stdout.trim(), stderr }),
    )
  })
}

async function must(...words) {
  const { status, stderr } = await tell(...words)
  if (status !== 0) throw new Error(`systemctl ${words.join(' ')} ended with ${status}: ${stderr}`)
}

async function show(property) {
  return (await tell('show', 'shop', '-p', property, '--value')).stdout
}

function same(real, expected) {
  if (real !== expected) throw new Error(`${real} in place of ${expected}`)
}

function ask(path) {
  return new Promise((done, fail) => {
    const call = get({ host: '127.0.0.1', port: PORT, path, agent: false }, (response) => {
      let text = ''
      response.on('data', (data) => {
        text += data
      })
      response.on('end', () => done(text))
      response.on('error', fail)
    })
    call.on('error', fail)
  })
}

async function until(what, look) {
  const deadline = Date.now() + 20_000
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`)
    await new Promise((done) => setTimeout(done, 20))
  }
}
