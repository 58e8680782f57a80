import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { native } from '../../src/native'
import { Clients, ask as request } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { LineClients } from '../support/line-clients'
import { fixture, ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { accepts, isAlive, listeningInodes, signal } from '../support/processes'
import { until } from '../support/until'
import { askHttp, askHttps, askNet, askUnix } from '../support/worker/clients'
import { KeepAliveLoad } from '../support/worker/keep-alive-load'
import { openFiles } from '../support/worker/kernel'
import { Program, TEST_NODE } from '../support/worker/program'
import { RawConnection } from '../support/worker/raw-connection'
import { drained, Row } from '../support/worker/row'

/*
 * listenReusePort with `handover`: from process to process, without a launcher.
 */

async function everything(row: Row): Promise<{ http: number; https: number; net: number; unix: string }> {
  return {
    http: await freePort(),
    https: await freePort(),
    net: await freePort(),
    unix: `${row.directory}/app.sock`,
  }
}

const pidOf = ({ pid }: Program): string => String(pid)

/** It is asked by everybody who comes from now on. */
async function serves(port: number, program: Program): Promise<void> {
  expect(await askHttp(port)).toBe(pidOf(program))
}

test('ten processes in a row, under clients of every kind: nothing is lost, idle connections move', async () => {
  const row = new Row()
  const config = await everything(row)
  let now = await row.next(config)
  expect(now.lines[0]).toBe('listening [["none",1],["none",1],["none",1],["none",1]]')
  const fresh = new Clients(config.http)
  const busy = new KeepAliveLoad(config.http, { connections: 8, thinkMs: 20 })
  const idle = new KeepAliveLoad(config.http, { connections: 60, thinkMs: 900 })
  const path = new KeepAliveLoad(config.unix, { connections: 10, thinkMs: 100 })
  const secure = new KeepAliveLoad(config.https, { connections: 10, thinkMs: 100, tls: true })
  const lines = new LineClients(config.net, 10)
  const clients = [busy, idle, path, secure]
  await until('all have been answered', () => clients.every(({ opened, connections }) => opened >= connections))
  for (let generation = 2; generation <= 10; generation++) {
    const old = now
    now = await row.next(config)
    expect(JSON.parse(now.lines[0]?.slice('listening '.length) ?? '')).toEqual(
      Array(4).fill(['predecessor', generation]),
    )
    const { moved, cut, closed } = await drained(old)
    expect({ cut, closed }).toEqual({ cut: 0, closed: 0 })
    // Of HTTP without TLS all, but for what had a connection of its own.
    expect(moved).toBeGreaterThanOrEqual(78)
    await until('the lines go on', () => lines.areWith([now.pid]))
  }
  expect((await fresh.stop()).failures).toEqual([])
  await lines.stop()
  expect(lines.failures).toEqual([])
  for (const load of [busy, idle, path]) expect(await load.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
  expect(await secure.stop()).toMatchObject({ failed: 0, closedIdle: 0 })
  expect(row.programs.flatMap(({ errors }) => errors)).toEqual([])
}, 60_000)

test('nothing reaches a process before its ready(), and none is refused meanwhile', async () => {
  const row = new Row()
  const http = await freePort()
  const first = row.start({ http, late: true })
  await first.line('listening')
  expect(await askHttp(http)).toBe('ECONNREFUSED')
  first.child.kill('SIGUSR2')
  await until('it serves', async () => (await askHttp(http)) === pidOf(first))

  const second = row.start({ http, late: true })
  expect(await second.line('listening')).toBe('[["predecessor",2]]')
  await serves(http, first)
  expect(first.lines.filter((line) => line.startsWith('event'))).toEqual([])
  second.child.kill('SIGUSR2')
  await drained(first)
  await serves(http, second)
  expect(first.lines.filter((line) => line.startsWith('event'))).toEqual([
    `event ${http} handover []`,
    `event ${http} drain [{"deadlineMs":30000}]`,
    `event ${http} closed [{"hasSuccessor":true}]`,
  ])
})

test('close() gives everything up, and leaves no file behind; nothing has piled up until then', async () => {
  const row = new Row()
  const config = await everything(row)
  let last = await row.next(config)
  const open: number[] = []
  for (let generation = 2; generation <= 5; generation++) {
    const old = last
    last = await row.next(config)
    await drained(old)
    await until('it has heard of that', async () => {
      open[generation] = openFiles(last.pid).length
      return generation === 2 || (open[generation] as number) <= (open[2] as number)
    })
  }
  last.child.kill('SIGUSR1')
  await last.line('all closed')
  expect(await last.ended).toEqual({ code: 0, signal: null })
  expect(await askHttp(config.http)).toBe('ECONNREFUSED')
  expect(readdirSync(row.directory)).toEqual([])
})

test('a pidfile and systemd know whose turn it is', async () => {
  const row = new Row()
  const [notify, pidFile] = [`${row.directory}/notify.sock`, `${row.directory}/app.pid`]
  const socket = native().socket('unix', 'datagram')
  onTestFinished(() => native().close(socket))
  native().bindUnix(socket, notify)
  const told: string[] = []
  const heard = (): readonly string[] => {
    for (let one = native().receiveMessage(socket, 4_096); one !== null; one = native().receiveMessage(socket, 4_096))
      told.push(Buffer.from(one.data).toString())
    return told
  }
  row.mark['NOTIFY_SOCKET'] = notify
  const config = { http: await freePort(), pidFile }
  const first = await row.next(config)
  await until('it is written', () => existsSync(pidFile))
  expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`)
  expect(heard()).toEqual([`READY=1\nMAINPID=${first.pid}`])
  const second = await row.next(config)
  await drained(first)
  expect(readFileSync(pidFile, 'utf8')).toBe(`${second.pid}\n`)
  expect(heard().slice(1)).toEqual([`MAINPID=${second.pid}`])
  // One that never serves changes nothing.
  const third = row.start({ ...config, late: true })
  await third.line('listening')
  signal(third.pid, 'SIGKILL')
  await third.ended
  expect([readFileSync(pidFile, 'utf8'), heard().length]).toEqual([`${second.pid}\n`, 2])
  second.child.kill('SIGUSR1')
  await second.ended
  expect(readdirSync(row.directory)).toEqual(['notify.sock'])
})

test('a pidfile that cannot be written is a warning', async () => {
  const row = new Row()
  const http = await freePort()
  const program = await row.next({ http, pidFile: `${row.directory}/not/there.pid` })
  await serves(http, program)
  await until('it warns', () => program.errors.some((line) => /REUSEPORT_RUN_PID_FILE.*ENOENT/.test(line)))
})

test('migrate: false: connections are told to close, and no request fails', async () => {
  const row = new Row()
  const config = { http: await freePort(), migrate: false }
  const old = await row.next(config)
  const load = new KeepAliveLoad(config.http, { connections: 20, thinkMs: 200 })
  await until('all have been answered', () => load.opened === 20)
  await row.next(config)
  expect(await drained(old)).toEqual({ moved: 0, ended: 20, closed: 0, cut: 0 })
  expect(await load.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 20 })
})

test('what is in hand is answered, and what is still open at the deadline is cut', async () => {
  const row = new Row()
  const config = { http: await freePort(), drainTimeoutMs: 60_000 }
  const old = await row.next(config)
  const held = request(config.http, '/held')
  await old.line('held')
  const next = await row.next({ ...config, drainTimeoutMs: 300 })
  await old.line(`event ${config.http} drain`)
  old.child.kill('SIGHUP')
  expect(await held).toBe('held')
  await drained(old)

  const cut = request(config.http, '/held').catch(() => 'cut')
  await next.line('held')
  await row.next(config)
  expect(await next.line(`drained ${config.http}`)).toBe('{"moved":0,"ended":0,"closed":0,"cut":1}')
  next.child.kill('SIGKILL')
  expect(await cut).toBe('cut')
})

test('under a launcher the same program is handed over by that', async () => {
  const row = new Row()
  const config = await everything(row)
  const command = ['node', fixture('worker/handover.cjs'), row.path, JSON.stringify(config)]
  const launcher = await startLauncher({ command, options: ['-n', '1'] })
  const clients = new Clients(config.http)
  const lines = new LineClients(config.net, 5)
  const path = new KeepAliveLoad(config.unix, { connections: 10, thinkMs: 100 })
  await until('all are answered', () => path.opened === 10 && lines.answers > 5)
  for (let generation = 2; generation <= 4; generation++) {
    const { result, workers } = await launcher.reload('retired')
    expect([result, workers[0]?.cut]).toEqual(['done', 0])
    expect(launcher.output).toContain(`listening ${JSON.stringify(Array(4).fill(['launcher', generation]))}`)
  }
  expect((await clients.stop()).failures).toEqual([])
  await lines.stop()
  expect(lines.failures).toEqual([])
  expect(await path.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
  expect(existsSync(row.path)).toBe(false)
  await launcher.stop()
})

describe('a program that accepts by itself', () => {
  test('gets the socket alone, and is not drained before it says so', async () => {
    const row = new Row()
    const http = await freePort()
    const next = async (): Promise<Program> => {
      const program = row.begin(fixture('worker/handover-bare.cjs'), [String(http)])
      await program.line('ready')
      return program
    }
    let now = await next()
    expect(now.lines).toEqual([`ready none {"address":"::","family":"IPv6","port":${http}}`])
    const answers = new Set<string>()
    let goes = true
    const asked = (async () => {
      while (goes) answers.add(await askHttp(http))
    })()
    for (let generation = 2; generation <= 4; generation++) {
      const old = now
      await until('it has been asked', () => answers.has(pidOf(old)))
      const held = request(http, '/held')
      await old.line('held')
      now = await next()
      await until('the next one has been asked', () => answers.has(pidOf(now)))
      expect(old.lines.at(-1)).toBe('held')
      old.child.kill('SIGHUP')
      expect(await held).toBe('held')
      expect(await old.line('closed')).toBe('{"hasSuccessor":true}')
      expect(await old.line('drained')).toBe('{"moved":0,"ended":1,"closed":0,"cut":0}')
      expect(await old.ended).toEqual({ code: 0, signal: null })
    }
    goes = false
    await asked
    expect([...answers].sort()).toEqual(row.programs.map(pidOf).sort())
  })

  test('has to say where from', async () => {
    const script = `require('reuseport-run').listenReusePort({ port: 1 }).catch(({ code }) => console.log('failed', code))`
    const program = new Program([TEST_NODE, '-e', script])
    expect(await program.line('failed')).toBe('ERR_USAGE')
    await program.ended
  })
})

describe('a program that starts its successor itself', () => {
  /** What GET / has been answered by: a process that is nobody's child here. */
  const served = (port: number, not: readonly string[]): Promise<number> =>
    until('another one serves', async () => {
      const pid = await askHttp(port)
      return /^\d+$/.test(pid) && !not.includes(pid) && Number(pid)
    })

  test('at a signal, in the directory that its name leads to now', async () => {
    const row = new Row()
    const http = await freePort()
    const [current, releases] = [join(row.directory, 'current'), ['one', 'two'].map((one) => join(row.directory, one))]
    for (const release of releases) {
      mkdirSync(release)
      copyFileSync(fixture('worker/handover-renews.cjs'), join(release, 'server.cjs'))
    }
    const turn = (release: string): void => {
      symlinkSync(release, `${current}~`)
      renameSync(`${current}~`, current)
    }
    turn(releases[0] as string)
    const argv = [row.path, String(http), ROOT]
    const first = new Program([TEST_NODE, 'server.cjs', ...argv], { ...row.mark, PWD: current }, current)
    row.programs.push(first)
    await first.line(`serves ${first.pid} ${releases[0]}`)
    const clients = new Clients(http)
    await clients.more(50)
    turn(releases[1] as string)
    first.child.kill('SIGUSR2')
    const second = await served(http, [pidOf(first)])
    await first.line(`serves ${second} ${releases[1]}`)
    await until('the first one ends', () => !isAlive(first.pid))
    await clients.more(50)
    signal(second, 'SIGUSR2')
    await served(http, [pidOf(first), String(second)])
    await until('the second one ends', () => !isAlive(second))
    await clients.more(50)
    expect((await clients.stop()).failures).toEqual([])
    expect(first.errors).toEqual([])
  })

  test('serves on when that fails, and says so', async () => {
    const row = new Row()
    const http = await freePort()
    const first = row.begin(fixture('worker/handover-renews.cjs'), [String(http), ROOT, 'alone'])
    await first.line('serves')
    for (let time = 1; time <= 2; time++) {
      first.child.kill('SIGUSR2')
      await until(
        'it is told',
        () => first.errors.filter((line) => /REUSEPORT_RUN_NOT_RENEWED.*code 3/.test(line)).length === time,
      )
    }
    await serves(http, first)
  })
})

describe('sockets that the next process does not listen on', () => {
  test('are served by the old one up to its end, and are closed then (O-07)', async () => {
    const row = new Row()
    const { http, net, unix } = await everything(row)
    const old = await row.next({ http, net, unix })
    const held = request(http, '/held')
    await old.line('held')
    const next = await row.next({ http })
    await old.line(`event ${http} drain`)
    await serves(http, next)
    expect(await askNet(net)).toBe(pidOf(old))
    expect(await askUnix(unix)).toBe(pidOf(old))
    old.child.kill('SIGHUP')
    expect(await held).toBe('held')
    await drained(old)
    expect(await askNet(net)).toBe('ECONNREFUSED')
    expect(existsSync(unix)).toBe(false)
    expect(old.lines).toContain(`event ${net} closed [{"hasSuccessor":false}]`)
    expect(old.lines).toContain(`event ${http} closed [{"hasSuccessor":true}]`)
    expect(old.lines).not.toContain(`event ${net} handover []`)
  })

  test('are its own when it listens on them after all, one after the other', async () => {
    const row = new Row()
    const config = await everything(row)
    const old = await row.next(config)
    const lines = new LineClients(config.net, 5)
    const path = new KeepAliveLoad(config.unix, { connections: 10, thinkMs: 20 })
    await until('all are answered', () => lines.areWith([old.pid]) && path.opened === 10)
    const next = await row.next({ ...config, byTurns: true })
    expect(next.lines[0]).toBe('listening [["predecessor",2],["predecessor",2],["predecessor",2],["predecessor",2]]')
    expect(await drained(old)).toMatchObject({ moved: 10, cut: 0 })
    expect(old.lines.filter((line) => line.includes('"hasSuccessor":true'))).toHaveLength(4)
    await until('all are answered', () => lines.areWith([next.pid]))
    await lines.stop()
    expect(lines.failures).toEqual([])
    expect(await path.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
  })

  test('and new ones are its own', async () => {
    const row = new Row()
    const { http, net } = await everything(row)
    const old = await row.next({ http })
    const next = await row.next({ http, net })
    expect(next.lines[0]).toBe('listening [["predecessor",2],["none",2]]')
    await drained(old)
    expect(await askNet(net)).toBe(pidOf(next))
  })
})

describe('who may take over', () => {
  test('of two newcomers one: the other is told that it is busy (O-05)', async () => {
    const row = new Row()
    const config = { http: await freePort() }
    const old = await row.next(config)
    const first = row.start({ ...config, late: true })
    await first.line('listening')
    const second = row.start(config)
    expect(await second.line('failed')).toMatch(/^ERR_HANDOVER_BUSY /)
    expect(await second.ended).toEqual({ code: 0, signal: null })
    await serves(config.http, old)
    first.child.kill('SIGUSR2')
    await drained(old)
    await serves(config.http, first)
  })

  test('of two that start at the same time one, at the first start and later (O-05)', async () => {
    for (let race = 0; race < 4; race++) {
      const row = new Row()
      const config = { http: await freePort(), late: true }
      const first = await winnerOf([row.start(config), row.start(config)])
      await serves(config.http, first)
      const second = await winnerOf([row.start(config), row.start(config)])
      await drained(first)
      await serves(config.http, second)
    }
  })

  /** It is ready when the other one has been sent away. */
  async function winnerOf(programs: Program[]): Promise<Program> {
    const said = (word: string): Program[] =>
      programs.filter(({ lines }) => lines.some((line) => line.startsWith(word)))
    await until('both know', () => said('listening').length + said('failed').length === 2)
    expect(said('failed ERR_HANDOVER_BUSY')).toHaveLength(1)
    const [winner] = said('listening') as [Program]
    winner.child.kill('SIGUSR2')
    await winner.line('ready')
    return winner
  }

  test.runIf(process.getuid?.() === 0)('no other user (O-06, S-16)', async () => {
    const row = new Row()
    const config = { http: await freePort() }
    const old = await row.next(config)
    chmodSync(row.directory, 0o777)
    const as = ['setpriv', '--reuid', '65534', '--clear-groups']
    expect(await row.start(config, {}, as).line('failed')).toMatch(/^ERR_HANDOVER .*EACCES/)
    // Not even if the file lets it in.
    chmodSync(row.path, 0o777)
    expect(await row.start(config, {}, as).line('failed')).toMatch(/^ERR_HANDOVER .*another user listens there/)
    await serves(config.http, old)
    expect(old.lines.some((line) => line.startsWith('event'))).toBe(false)
  })

  test('a path that is something else is left alone', async () => {
    const row = new Row()
    writeFileSync(row.path, 'mine')
    const program = row.start({ http: await freePort() })
    expect(await program.line('failed')).toMatch(/^ERR_HANDOVER /)
    expect(existsSync(row.path)).toBe(true)
  })

  test('the path of a dead process is taken over (O-01)', async () => {
    const row = new Row()
    const config = await everything(row)
    const dead = await row.next(config)
    dead.child.kill('SIGKILL')
    await dead.ended
    const next = await row.next(config)
    expect(next.lines[0]).toBe('listening [["none",1],["none",1],["none",1],["none",1]]')
    expect(await askUnix(config.unix)).toBe(pidOf(next))
    expect(await askHttps(config.https)).toBe(pidOf(next))
  })
})

describe('a fault at any step leaves one that serves, and nobody waits', () => {
  const steps = {
    new: ['before hello', 'after hello', 'at sockets', 'before ready', 'after ready', 'at commit', 'before acting'],
    old: [
      ...['at hello', 'before sockets', 'after sockets', 'at ready', 'before commit', 'after commit'],
      ...['at acting', 'before lane', 'after lane'],
    ],
  }
  /** A process was lost with what it had in hand, its queue was not. */
  async function serving(port: number, survivor: Program): Promise<void> {
    await until('the survivor serves', async () => (await askHttp(port)) === pidOf(survivor))
    await until('it accepts', () => accepts(survivor.pid, listeningInodes(port)))
  }

  test.each(steps.new)('the new one dies: %s (O-03)', async (FAULT) => {
    const row = new Row()
    const config = { http: await freePort() }
    const old = await row.next(config)
    const connection = await RawConnection.open(config.http)
    await connection.ask()
    const fallen = row.start(config, { FAULT })
    expect((await fallen.ended).signal).toBe('SIGKILL')
    await serving(config.http, old)
    expect(await connection.ask()).toMatchObject({ body: pidOf(old), isLast: false })
    const next = await row.next(config)
    await drained(old)
    expect(await connection.ask()).toMatchObject({ body: pidOf(next), isLast: false })
  })

  test('the new one dies when it has just begun to serve: the next one can, whoever had the sockets', async () => {
    const row = new Row()
    const config = { http: await freePort() }
    await row.next(config)
    const fallen = row.start(config, { FAULT: 'after acting' })
    expect((await fallen.ended).signal).toBe('SIGKILL')
    const next = await row.next(config)
    await serving(config.http, next)
    await until('it is alone', () => row.programs.filter(({ isRunning }) => isRunning).length === 1)
  })

  test.each(steps.old)('the old one dies: %s (O-04)', async (FAULT) => {
    const row = new Row()
    const config = { http: await freePort() }
    const old = await row.next(config, { FAULT })
    // Or it has no lane to open.
    const connection = await RawConnection.open(config.http)
    await connection.ask()
    const next = await row.next(config)
    expect((await old.ended).signal).toBe('SIGKILL')
    await serving(config.http, next)
    const last = await row.next(config)
    await drained(next)
    await serving(config.http, last)
  })

  test('a new one that has not been ready in time is sent away', async () => {
    const row = new Row()
    const config = { http: await freePort(), readyTimeoutMs: 300 }
    const old = await row.next(config)
    const slow = row.start({ ...config, late: true })
    await slow.line('listening')
    expect(await slow.line('error')).toMatch(/^ERR_HANDOVER .*it was not ready within 300 ms/)
    expect(await slow.ended).toEqual({ code: 0, signal: null })
    await serving(config.http, old)
    const next = await row.next(config)
    await drained(old)
    await serving(config.http, next)
  })

  test('a new one that is late goes on alone if the old one has died when it hears of it', async () => {
    const row = new Row()
    const config = { http: await freePort(), readyTimeoutMs: 300 }
    const old = await row.next(config, { FAULT: 'after refused' })
    const slow = row.start(config, { FAULT: 'before ready', STOP: '1' })
    expect((await old.ended).signal).toBe('SIGKILL')
    slow.child.kill('SIGCONT')
    await serving(config.http, slow)
    expect(slow.lines.filter((line) => line.startsWith('error'))).toEqual([])
    const last = await row.next(config)
    await drained(slow)
    await serving(config.http, last)
  })

  test('an old one that stands still when the new one serves: nobody comes after that before it has let go', async () => {
    const row = new Row()
    const config = { http: await freePort() }
    const old = await row.next(config, { FAULT: 'at acting', STOP: '1' })
    const next = await row.next(config)
    expect(await row.start(config, { BRISK: '1' }).line('failed')).toMatch(/^ERR_HANDOVER_BUSY /)
    await serving(config.http, next)
    old.child.kill('SIGCONT')
    await drained(old)
    const last = await row.next(config)
    await drained(next)
    await serving(config.http, last)
    await until('it is alone', () => row.programs.filter(({ isRunning }) => isRunning).length === 1)
  })

  test.each(['before ready', 'before acting'])('a new one that stands still is killed: %s', async (FAULT) => {
    const row = new Row()
    const config = { http: await freePort(), readyTimeoutMs: 300 }
    const old = await row.next(config, { BRISK: '1' })
    const stuck = row.start(config, { FAULT, STOP: '1' })
    expect((await stuck.ended).signal).toBe('SIGKILL')
    await serving(config.http, old)
    const next = await row.next(config)
    await drained(old)
    await serving(config.http, next)
  })

  test('an old one that stands still is not waited for, and nothing was taken from it (O-02)', async () => {
    const row = new Row()
    const config = { http: await freePort() }
    const old = await row.next(config, { FAULT: 'at ready', STOP: '1' })
    const next = row.start(config, { BRISK: '1' })
    expect(await next.line('error')).toMatch(/^ERR_HANDOVER .*has not let go/)
    expect(await next.ended).toEqual({ code: 0, signal: null })
    old.child.kill('SIGCONT')
    await serving(config.http, old)
    const third = await row.next(config)
    await drained(old)
    await serving(config.http, third)
  })
})
