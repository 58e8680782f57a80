import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { KeepAliveLoad } from '../support/worker/keep-alive-load.js'
import { hasKeepAlive, openFiles } from '../support/worker/kernel.js'
import { fixture } from '../support/worker/program.js'
import { RawConnection, requestText } from '../support/worker/raw-connection.js'
import { drain, type One, outcomeOf, Succession, type Version } from '../support/worker/succession.js'

/*
 * Idle HTTP/1.1 connections of a worker that leaves go on in its successor (facts: node.md §5): what a client has begun with the old one is
 * answered by it, and the next request by the new one. Nobody is told to close.
 */

let scene: Succession
afterEach(() => scene.launcher.end())

const open = (): Promise<RawConnection> => RawConnection.open(scene.where)
const pid = (one: One): string => String(one.program.pid)

/** An old one that serves, and its successor at hand. */
async function begin(version: Version = {}): Promise<One> {
  scene = await Succession.on()
  return scene.start(version)
}

/** The connection is the successor's, and stays open. */
async function expectMoved(connection: RawConnection, next: One): Promise<void> {
  for (const _ of [1, 2]) expect(await connection.ask()).toMatchObject({ body: pid(next), isLast: false })
}

describe('goes on in the successor', () => {
  test('fresh, used, and with an empty line after its request', async () => {
    const old = await begin()
    const [fresh, used, lines] = [await open(), await open(), await open()]
    expect((await used.ask()).body).toBe(pid(old))
    lines.write(`${requestText()}\r\n`)
    await lines.response(0)
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 3 })
    for (const connection of [fresh, used, lines]) await expectMoved(connection, next)
  })

  test('after a pipeline that began while a slow request ran', async () => {
    const old = await begin()
    const connection = await open()
    connection.write(requestText('/held') + requestText('/slow', { 'x-ms': '1' }) + requestText())
    await old.program.line('slow')
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    process.kill(old.program.pid, 'SIGUSR1')
    await connection.response(2)
    expect(connection.responses).toMatchObject(Array(3).fill({ body: pid(old), isLast: false }))
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 1 })
    await expectMoved(connection, next)
  })

  test('with a pipeline that was written just before: one of them answers it, all of it', async () => {
    const old = await begin()
    const connection = await open()
    await connection.ask()
    const next = await scene.handOver(old)
    await scene.layLane(old, next, () => {
      process.kill(old.program.pid, 'SIGSTOP')
      connection.write(requestText().repeat(3))
      setImmediate(() => process.kill(old.program.pid, 'SIGCONT'))
    })
    await drain(old)
    await connection.response(3)
    const bodies = new Set(connection.responses.slice(1).map(({ body }) => body))
    expect([pid(old), pid(next)]).toContain([...bodies].join())
    expect(connection.responses.map(({ isLast }) => isLast)).toEqual([false, false, false, false])
    expect(await outcomeOf(old)).toMatchObject({ moved: 1 })
    await expectMoved(connection, next)
  })

  test.each([
    ['fresh', false],
    ['used', true],
  ])('half a head on a %s connection: not before it is answered', async (_, isUsed) => {
    const old = await begin()
    const connection = await open()
    if (isUsed) await connection.ask()
    connection.write('GET / HTTP/1.1\r\nHost:')
    // Served after it: the half has been read.
    await askHttp(scene.where as number)
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    connection.write(' x\r\n\r\n')
    expect(await connection.response(isUsed ? 1 : 0)).toMatchObject({ body: pid(old), isLast: false })
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 1 })
    await expectMoved(connection, next)
  })

  test('half a body, and one that waits to be asked for: not before they are answered', async () => {
    const old = await begin()
    const [half, expecting] = [await open(), await open()]
    const head = 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n'
    half.write(`${head}\r\n12345`)
    await old.program.line('body 5')
    expecting.write(`${head}Expect: 100-continue\r\n\r\n`)
    expect((await expecting.response(0)).head).toMatch(/^HTTP\/1.1 100 /)
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    half.write('67890')
    expecting.write('1234567890')
    expect(await half.response(0)).toMatchObject({ body: pid(old), isLast: false })
    expect(await expecting.response(1)).toMatchObject({ body: pid(old), isLast: false })
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 2 })
    for (const connection of [half, expecting]) await expectMoved(connection, next)
  })

  test('an upload that is answered before its end: when it is complete', async () => {
    const old = await begin()
    const connection = await open()
    connection.write('PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345')
    expect(await connection.response(0)).toMatchObject({ body: pid(old) })
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    await until('the old one looks at it again', async () => (await old.worker.order({ type: 'ping' })) === undefined)
    connection.write('67890')
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 1 })
    await expectMoved(connection, next)
  })

  test('a response that is being streamed: when it has ended', async () => {
    const old = await begin()
    const connection = await open()
    connection.send('/stream')
    await until('it has begun', () => connection.bytes > 0)
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    process.kill(old.program.pid, 'SIGUSR1')
    expect(await connection.response(0)).toMatchObject({ body: `begin ${pid(old)}`, isLast: false })
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 1 })
    await expectMoved(connection, next)
  })

  test('not an upgraded one: it stays to the deadline', async () => {
    const old = await begin()
    const [upgraded, idle] = [await open(), await open()]
    upgraded.send('/', { Connection: 'Upgrade', Upgrade: 'echo' })
    await upgraded.response(0)
    const next = await scene.handOver(old)
    await scene.leave(old, next, 700)
    upgraded.write('still there\n')
    await until('the old one answers', () => upgraded.text.includes(`${pid(old)} still there`))
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 1, moved: 1 })
    await expectMoved(idle, next)
  })

  test('of a unix listener', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rr-migrate-'))
    try {
      scene = await Succession.on(join(directory, 'app.sock'))
      const old = await scene.start()
      const [fresh, used] = [await open(), await open()]
      await used.ask()
      const next = await scene.handOver(old)
      await scene.leave(old, next)
      expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 2 })
      for (const connection of [fresh, used]) await expectMoved(connection, next)
    } finally {
      await scene.launcher.end()
      rmSync(directory, { recursive: true })
    }
  })

  test('of servers in worker_threads: each listener has a lane of its own', async () => {
    scene = await Succession.on()
    const launcher = scene.launcher
    const ports = [await freePort(), await freePort()]
    const start = async (first: number): Promise<Map<number, One>> => {
      const program = launcher.node(fixture('threads.cjs'), ports)
      const byPort = new Map<number, One>()
      for (const index of [first, first + 1]) {
        const worker = await launcher.worker(index)
        await worker.report('listening')
        const { address } = await worker.report('claim')
        if (address.kind === 'tcp') byPort.set(address.port, { worker, program })
      }
      launcher.listen()
      for (const { worker } of byPort.values()) await worker.order({ type: 'admit' })
      return byPort
    }
    const old = await start(0)
    const connections = await Promise.all(ports.map((port) => RawConnection.open(port)))
    const answers = await Promise.all(connections.map((connection) => connection.ask()))
    const next = await start(2)
    for (const [port, { worker }] of old) {
      await worker.order({ type: 'pause' })
      const [out, into] = native.socketPair()
      const listener = `tcp *:${port}`
      await next.get(port)?.worker.order({ type: 'receive', listener }, [{ name: 'lane', fd: into }])
      await worker.order({ type: 'migrate', listener }, [{ name: 'lane', fd: out }])
      for (const fd of [out, into]) native.close(fd)
    }
    for (const one of old.values()) {
      await drain(one)
      expect(await outcomeOf(one)).toMatchObject({ moved: 1 })
    }
    old.get(ports[0] as number)?.program.child.kill('SIGKILL')
    expect(await Promise.all(connections.map((connection) => connection.ask()))).toMatchObject(
      answers.map(({ body }) => ({ body, isLast: false })),
    )
  })
})

test('room for many descriptors is made while a worker is held, and nobody waits for it', async () => {
  const old = await begin()
  const sizeOf = (one: One): number =>
    Number(/^FDSize:\s+(\d+)$/m.exec(readFileSync(`/proc/${one.program.pid}/status`, 'utf8'))?.[1])
  await until('there is room', () => sizeOf(old) >= 8_192)
})

describe('under load', () => {
  test('three hand-overs: no request fails, no connection is closed, no descriptor is left', async () => {
    let old = await begin()
    const loads = [
      new KeepAliveLoad(scene.where as number, { connections: 8, thinkMs: 0 }),
      new KeepAliveLoad(scene.where as number, { connections: 200, thinkMs: 400 }),
    ]
    const accepted = (): number => old.program.lines.filter((line) => line === 'connection').length
    await until('all are there', () => accepted() === 208)
    for (let round = 0; round < 3; round++) {
      const next = await scene.handOver(old)
      const before = openFiles(next.program.pid).length
      await scene.leave(old, next)
      expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 208 })
      // The lane, too, is closed at both ends.
      await until('all of them and nothing else', () => openFiles(next.program.pid).length === before + 208)
      // What has moved is closed when there is time.
      await until('its copies are closed', () => openFiles(old.program.pid).length <= before)
      old.program.child.kill('SIGTERM')
      await old.program.ended
      old = next
    }
    for (const load of loads) {
      expect(await load.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
      expect(load.tally.answered).toBeGreaterThan(100)
    }
  })

  test('a client that asks again at once is caught between two of its requests, not by chance', async () => {
    const old = await begin()
    const connection = await open()
    const ask = (): void => connection.send('/slow', { 'x-ms': '20' })
    connection.onResponse = ask
    ask()
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    const from = connection.responses.length
    await until('the new one answers', () => connection.responses.at(-1)?.body === pid(next))
    // Between two requests it is idle for 0.1 ms in 20; a look every 25 ms finds that once in two hundred answers.
    expect(connection.responses.slice(from).filter(({ body }) => body === pid(old)).length).toBeLessThan(15)
    connection.onResponse = undefined
  })
})

describe('the options of the successor hold', () => {
  test('maxConnections: what is over it stays with the old one, which ends it politely', async () => {
    const old = await begin()
    const connections = [await open(), await open(), await open()]
    for (const connection of connections) await connection.ask()
    const next = await scene.handOver(old, { server: { maxConnections: 2 } })
    await scene.leave(old, next)
    await until('two are taken', () => next.program.lines.filter((line) => line === 'connection').length === 2)
    const answers = await Promise.all(connections.map((connection) => connection.ask()))
    expect(answers.filter(({ body }) => body === pid(next))).toMatchObject(Array(2).fill({ isLast: false }))
    expect(answers.filter(({ body }) => body === pid(old))).toMatchObject([{ isLast: true }])
    expect(await outcomeOf(old)).toEqual({ ended: 1, closed: 0, cut: 0, moved: 2 })
    expect(next.program.lines).not.toContain('drop')
  })

  test('keepAlive', async () => {
    const old = await begin()
    const connection = await open()
    expect(hasKeepAlive(scene.where as number, connection.socket.localPort as number)).toBe(false)
    const next = await scene.handOver(old, { options: { keepAlive: true, keepAliveInitialDelay: 60_000 } })
    await scene.leave(old, next)
    expect(await outcomeOf(old)).toMatchObject({ moved: 1 })
    expect(hasKeepAlive(scene.where as number, connection.socket.localPort as number)).toBe(true)
  })
})

describe('without a lane', () => {
  test('to another kind of server: it is drained as ever', async () => {
    const old = await begin()
    const connection = await open()
    await connection.ask()
    const next = await scene.handOver(old, { file: 'https.cjs' })
    await scene.leave(old, next)
    expect(await connection.ask()).toMatchObject({ body: pid(old), isLast: true })
    expect(await outcomeOf(old)).toEqual({ ended: 1, closed: 0, cut: 0, moved: 0 })
  })

  test('a lane that comes during the drain is as good: nobody is told to close who has not been told yet', async () => {
    const old = await begin()
    const [asked, idle] = [await open(), await open()]
    await idle.ask()
    asked.send('/held')
    await old.program.line('held')
    const next = await scene.handOver(old)
    await drain(old)
    await scene.layLane(old, next)
    process.kill(old.program.pid, 'SIGUSR1')
    expect(await asked.response(0)).toMatchObject({ body: pid(old), isLast: false })
    for (const connection of [asked, idle]) await expectMoved(connection, next)
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 2 })
  })

  test('a lane that ends during the drain: what runs then is told to close', async () => {
    const old = await begin()
    const connection = await open()
    connection.send('/held')
    await old.program.line('held')
    const next = await scene.handOver(old)
    await scene.leave(old, next)
    const withLane = openFiles(old.program.pid).length
    next.program.child.kill('SIGKILL')
    await until('its end of the lane is closed', () => openFiles(old.program.pid).length < withLane)
    process.kill(old.program.pid, 'SIGUSR1')
    expect(await connection.response(0)).toMatchObject({ body: pid(old), isLast: true })
    expect(await outcomeOf(old)).toEqual({ ended: 1, closed: 0, cut: 0, moved: 0 })
  })

  test('for a listener that is not there, or to a worker that leaves itself, is refused', async () => {
    const old = await begin()
    const [out, into] = native.socketPair()
    const lane = [{ name: 'lane' as const, fd: out }]
    await expect(old.worker.order({ type: 'migrate', listener: 'tcp *:1' }, lane)).rejects.toMatchObject({
      code: 'ENOENT',
    })
    await expect(old.worker.order({ type: 'receive', listener: 'tcp *:1' }, lane)).rejects.toMatchObject({
      code: 'ENOENT',
    })
    await drain(old, 5_000)
    await expect(old.worker.order({ type: 'receive', listener: scene.listener }, lane)).rejects.toMatchObject({
      code: 'EBUSY',
    })
    native.close(out)
    native.close(into)
  })
})
