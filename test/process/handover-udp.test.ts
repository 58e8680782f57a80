import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { ask as request } from '../support/clients'
import { DatagramClient } from '../support/datagram-client'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { openFiles } from '../support/worker/kernel'
import { Program, TEST_NODE } from '../support/worker/program'
import { drained, Row } from '../support/worker/row'

/*
 * bindReusePort with `handover`: UDP from process to process, without a launcher.
 */

test('ten processes in a row under load: no datagram is lost, none is answered twice', async () => {
  const row = new Row()
  const config = { udp: await freePort(), http: await freePort() }
  let now = await row.next(config)
  expect(now.lines[0]).toBe('listening [["none",1],["none",1]]')
  const client = new DatagramClient(config.udp)
  await client.isWith(now.pid)
  let open = 0
  for (let generation = 2; generation <= 10; generation++) {
    const old = now
    now = await row.next(config)
    expect(now.lines[0]).toBe(`listening [["predecessor",${generation}],["predecessor",${generation}]]`)
    expect(await drained(old)).toEqual({ moved: 0, ended: 1, closed: 0, cut: 0 })
    await client.isWith(now.pid)
    await until('it has heard of that', () => generation === 2 || openFiles(now.pid).length <= open)
    open = openFiles(now.pid).length
  }
  expect(await client.stop()).toEqual([])
  expect(client.twice).toEqual([])
  expect([...client.answeredBy.keys()]).toEqual(row.programs.map(({ pid }) => pid))
  expect(row.programs.flatMap(({ errors }) => errors)).toEqual([])
})

test('nothing reaches a process before its ready(): what comes waits, or is answered by the old one', async () => {
  const row = new Row()
  const config = { udp: await freePort(), recvBufferSize: 100_000 }
  const first = row.start({ ...config, late: true })
  await first.line('listening')
  const client = new DatagramClient(config.udp)
  await until('all are sent', () => client.sent === 50)
  expect(client.answeredBy.size).toBe(0)
  first.child.kill('SIGUSR2')
  await client.isWith(first.pid)

  const second = row.start({ ...config, late: true })
  await second.line('listening')
  const asked = client.sent
  await until('the old one answers on', () => client.sent > asked + 500)
  expect([...client.answeredBy.keys()]).toEqual([first.pid])
  second.child.kill('SIGUSR2')
  await drained(first)
  await client.isWith(second.pid)
  expect(first.lines.filter((line) => line.startsWith('event'))).toEqual([
    `event ${config.udp} handover []`,
    `event ${config.udp} drain [{"deadlineMs":30000}]`,
    `event ${config.udp} closed [{"hasSuccessor":true}]`,
  ])
  expect(await client.stop()).toEqual([])
  expect(client.twice).toEqual([])
  second.child.kill('SIGUSR1')
  await second.line('all closed')
  expect(await second.ended).toEqual({ code: 0, signal: null })
  await isFree(config.udp)
})

test('nobody else can bind beside it', async () => {
  const row = new Row()
  const config = { udp: await freePort() }
  await row.next(config)
  const other = createSocket({ type: 'udp4', reuseAddr: true })
  other.bind(config.udp)
  const [{ code }] = await once(other, 'error')
  expect(code).toBe('EADDRINUSE')
})

async function ask(port: number, text: string): Promise<string> {
  const socket = createSocket('udp4')
  socket.send(text, port, '127.0.0.1')
  const [data] = await once(socket, 'message')
  socket.close()
  return String(data)
}

/** Nobody has it: this one does not share. */
async function isFree(port: number): Promise<void> {
  const socket = createSocket('udp4').bind(port)
  await once(socket, 'listening')
  socket.close()
}

/** One datagram, each time of a port of its own. */
async function answers(port: number, program: Program): Promise<void> {
  expect(await ask(port, 'x')).toBe(`${program.pid} x`)
}

/** Without an answer. */
async function tells(port: number, text: string): Promise<void> {
  const socket = createSocket('udp4')
  await new Promise((done) => socket.send(text, port, '127.0.0.1', done))
  socket.close()
}

test('what has been received can still be answered, up to the deadline', async () => {
  const row = new Row()
  const config = { udp: await freePort(), keeps: true, drainTimeoutMs: 500 }
  const old = await row.next({ ...config, drainTimeoutMs: 60_000 })
  const held = ask(config.udp, 'held')
  await old.line('held')
  const next = await row.next(config)
  await old.line(`event ${config.udp} drain`)
  for (let flow = 0; flow < 20; flow++) await answers(config.udp, next)
  old.child.kill('SIGHUP')
  expect(await held).toBe(`${old.pid} held`)
  // After that a send() is no error, and its answer comes from nowhere.
  await tells(config.udp, 'late')
  await answers(config.udp, next)
  await row.next(config)
  expect(await next.line(`drained ${config.udp}`)).toBe('{"moved":0,"ended":0,"closed":0,"cut":1}')
  expect(await next.ended).toEqual({ code: 0, signal: null })
  expect(next.errors).toEqual([])
})

test('a new one that dies leaves nothing in the old one that swallows datagrams', async () => {
  const row = new Row()
  const config = { udp: await freePort(), keeps: true }
  const old = await row.next(config)
  const dead = await row.next(config)
  await old.line(`event ${config.udp} drain`)
  dead.child.kill('SIGKILL')
  await dead.ended
  const third = await row.next(config)
  expect(third.lines[0]).toBe('listening [["none",1]]')
  // Each of a port of its own: the kernel would send a part of them to the other one.
  for (let flow = 0; flow < 20; flow++) await answers(config.udp, third)
  expect(old.isRunning).toBe(true)
})

test('a socket that the next one does not bind is served by the old one up to its end', async () => {
  const row = new Row()
  const [udp, http] = [await freePort(), await freePort()]
  const old = await row.next({ udp, http })
  const held = request(http, '/held')
  await old.line('held')
  await row.next({ http })
  await old.line(`event ${http} drain`)
  await answers(udp, old)
  old.child.kill('SIGHUP')
  expect(await held).toBe('held')
  await drained(old)
  expect(old.lines).toContain(`event ${udp} closed [{"hasSuccessor":false}]`)
  await isFree(udp)
})

describe('udpLingerMs', () => {
  /** Of so many flows, each of which is heard of all the time. */
  const FLOWS = 20

  test("flows that are known stay with the old process, new ones are the new one's, and each changes once", async () => {
    const row = new Row()
    const config = { udp: await freePort(), udpLingerMs: 2_000 }
    const old = await row.next(config)
    const client = new DatagramClient(config.udp, FLOWS)
    await client.isWith(old.pid)
    const next = await row.next(config)
    // Each of these is a flow of its own.
    await until('it serves', async () => (await ask(config.udp, 'x')) === `${next.pid} x`)
    const fresh = client.add()
    await until('the new flow is answered', () => client.lastOf[fresh] !== 0)
    const known = (): number[] => client.lastOf.slice(0, FLOWS)
    expect(new Set(known())).toEqual(new Set([old.pid]))
    expect(old.lines.filter((line) => line.startsWith('event'))).toEqual([])
    await client.isWith(next.pid)
    expect(await drained(old)).toEqual({ moved: 0, ended: 1, closed: 0, cut: 0 })
    expect(client.turns).toEqual([...Array(FLOWS).fill([old.pid, next.pid]), [next.pid]])
    expect(await client.stop()).toEqual([])
    expect(client.twice).toEqual([])
    expect(old.errors).toEqual([])
  })

  test('flows are kept and let go under load: no datagram is lost, none is answered twice', async () => {
    const row = new Row()
    const config = { udp: await freePort(), udpLingerMs: 150 }
    let now = await row.next(config)
    const pids = [now.pid]
    const client = new DatagramClient(config.udp, FLOWS)
    for (let handover = 0; handover < 10; handover++) {
      await client.isWith(now.pid)
      const old = now
      now = await row.next(config)
      pids.push(now.pid)
      expect(await drained(old)).toEqual({ moved: 0, ended: 1, closed: 0, cut: 0 })
    }
    await client.isWith(now.pid)
    expect(client.turns).toEqual(Array(FLOWS).fill(pids))
    expect(await client.stop()).toEqual([])
    expect(client.twice).toEqual([])
  })

  test.each(['at commit', 'before acting'])('a new one that dies %s: the old one goes on', async (FAULT) => {
    const row = new Row()
    const config = { udp: await freePort(), udpLingerMs: 300 }
    const old = await row.next(config)
    const client = new DatagramClient(config.udp, FLOWS)
    await client.isWith(old.pid)
    expect((await row.start(config, { FAULT }).ended).signal).toBe('SIGKILL')
    const fresh = client.add()
    await client.isWith(old.pid)
    const next = await row.next(config)
    await drained(old)
    await client.isWith(next.pid)
    expect(client.turns).toEqual(Array(fresh + 1).fill([old.pid, next.pid]))
    expect(await client.stop()).toEqual([])
    expect(client.twice).toEqual([])
  })
})

const steps = {
  new: ['before hello', 'after hello', 'at sockets', 'before ready', 'after ready', 'at commit', 'before acting'],
  old: ['after sockets', 'at ready', 'before commit', 'after commit', 'at acting'],
}

test.each(steps.new)('the new one dies %s: no datagram is lost', async (FAULT) => {
  const row = new Row()
  const config = { udp: await freePort() }
  const old = await row.next(config)
  const client = new DatagramClient(config.udp)
  const fallen = row.start(config, { FAULT })
  expect((await fallen.ended).signal).toBe('SIGKILL')
  await client.isWith(old.pid)
  const next = await row.next(config)
  await drained(old)
  await client.isWith(next.pid)
  expect(await client.stop()).toEqual([])
  expect(client.twice).toEqual([])
})

test.each(steps.old)('the old one dies %s: no datagram is lost', async (FAULT) => {
  const row = new Row()
  const config = { udp: await freePort() }
  const old = await row.next(config, { FAULT })
  const client = new DatagramClient(config.udp)
  const next = await row.next(config)
  expect((await old.ended).signal).toBe('SIGKILL')
  await client.isWith(next.pid)
  const last = await row.next(config)
  await drained(next)
  await client.isWith(last.pid)
  expect(await client.stop()).toEqual([])
  expect(client.twice).toEqual([])
})

test.each(['at hello', 'before sockets'])('the old one dies %s: the new one has a socket of its own', async (FAULT) => {
  const row = new Row()
  const config = { udp: await freePort() }
  const old = await row.next(config, { FAULT })
  const next = await row.next(config)
  expect((await old.ended).signal).toBe('SIGKILL')
  expect(next.lines[0]).toBe('listening [["none",1]]')
  await answers(config.udp, next)
})

test('one that is sent away hears it as an error of its socket', async () => {
  const row = new Row()
  const config = { udp: await freePort(), readyTimeoutMs: 300 }
  const old = await row.next(config)
  const slow = row.start({ ...config, late: true })
  expect(await slow.line('error')).toMatch(/^ERR_HANDOVER .*it was not ready within 300 ms/)
  expect(await slow.ended).toEqual({ code: 0, signal: null })
  await answers(config.udp, old)
})

/** What becomes of a call in a program of its own; `taken`: a port that another socket has. */
async function outcomeOf(call: string, argv: readonly string[] = []): Promise<string> {
  const script = `
    const { createSocket } = require('node:dgram')
    const { bindReusePort } = require('reuseport-run')
    const [path, port] = process.argv.slice(1)
    process.on('warning', ({ code }) => console.log('warned', code))
    const bind = async () => { ${call} }
    bind().then((listener) => console.log('is', listener.inherited, listener.generation, typeof listener.address.port),
      ({ code, message }) => console.log('is', code ?? message)).finally(() => setImmediate(() => process.exit()))`
  const program = new Program([TEST_NODE, '-e', script, ...argv])
  const said = await program.line('is')
  await program.ended
  const [warning] = program.lines.filter((line) => line.startsWith('warned'))
  return warning === undefined ? said : `${said}, ${warning}`
}

test.each([
  ["return bindReusePort(createSocket('udp4'), { port: Number(port) })", 'none null number'],
  ["return bindReusePort(createSocket('udp6'), { port: Number(port), recvBufferSize: 4096 })", 'none null number'],
  ["return bindReusePort(createSocket('udp6'), { port: Number(port), handover: path })", 'none 1 number'],
  [
    "return bindReusePort(createSocket('udp4'), { port: Number(port), recvBufferSize: 2 ** 30 })",
    'none null number, warned REUSEPORT_RUN_RECV_BUFFER',
  ],
  ["return bindReusePort(createSocket('udp4'), { handover: path })", 'ERR_HANDOVER'],
  ["return bindReusePort(createSocket('udp4'), { port: 70_000, handover: path })", 'ERR_USAGE'],
  ["return bindReusePort(createSocket('udp4'), { port: 70_000 })", 'ERR_USAGE'],
  ["return bindReusePort(createSocket('udp4'), { port: Number(port), recvBufferSize: -1 })", 'ERR_USAGE'],
  ["return bindReusePort(createSocket('udp4'), { port: Number(port), udpLingerMs: -1 })", 'ERR_USAGE'],
  [
    "return bindReusePort(createSocket('udp4'), { port: Number(port), udpLingerMs: 30_000, handover: path })",
    'ERR_USAGE',
  ],
  ["return bindReusePort(createSocket('udp4'), { port: Number(port), address: '::1', handover: path })", 'EINVAL'],
  ["return bindReusePort(require('net').createServer(), { port: Number(port), handover: path })", 'ERR_USAGE'],
  [
    `globalThis[Symbol.for('reuseport-run.meeting')] = { version: 1 } // as under a launcher that knows nothing of it
     return bindReusePort(createSocket('udp4'), { port: Number(port), handover: path })`,
    'ERR_PROTOCOL',
  ],
  [
    `const socket = createSocket('udp4')
     await bindReusePort(socket, { port: Number(port), handover: path })
     return bindReusePort(socket, { port: Number(port) + 1, handover: path })`,
    'ERR_SOCKET_ALREADY_BOUND',
  ],
  [
    `await bindReusePort(createSocket('udp4'), { port: Number(port), handover: path })
     return bindReusePort(createSocket('udp4'), { port: Number(port), handover: path })`,
    'EADDRINUSE',
  ],
])('%s: %s', async (call, outcome) => {
  const row = new Row()
  expect(await outcomeOf(call, [row.path, String(await freePort())])).toBe(outcome)
})
