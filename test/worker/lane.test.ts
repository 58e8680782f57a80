import { execFileSync } from 'node:child_process'
import { openSync, readdirSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import type { LaneBatch } from '../../src/protocol.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { openFiles } from '../support/worker/kernel.js'
import { RawConnection } from '../support/worker/raw-connection.js'
import { drain, type One, outcomeOf, Succession, type Version } from '../support/worker/succession.js'

/*
 * A lane under everything that can happen to it. A connection belongs to exactly one of the two workers at any moment: to the sender until
 * it can read an answer, from then on to the receiver, but for those that the answer names.
 */

let scene: Succession
const mine: number[] = []
afterEach(async () => {
  for (const fd of mine.splice(0)) native.close(fd)
  await scene.launcher.end()
})

const pid = (one: One): string => String(one.program.pid)

/** An old one that is paused, its successor, and used connections of the old one. */
async function begin(
  count = 3,
  versions: { old?: Version; next?: Version } = {},
): Promise<{ old: One; next: One; connections: RawConnection[] }> {
  scene = await Succession.on()
  const old = await scene.start(versions.old)
  const connections = await Promise.all(Array.from({ length: count }, () => RawConnection.open(scene.where)))
  await Promise.all(connections.map((connection) => connection.ask()))
  return { old, next: await scene.handOver(old, versions.next), connections }
}

/** The test's end of a lane. */
async function laneTo(one: One, type: 'receive' | 'migrate'): Promise<number> {
  const fd = await scene.laneTo(one, type)
  mine.push(fd)
  return fd
}

interface Batch extends LaneBatch {
  readonly fds: readonly number[]
}

async function receiveBatch(lane: number): Promise<Batch> {
  const { data, fds } = await until('a batch', () => native.receiveMessage(lane, 65_536) ?? undefined)
  mine.push(...fds)
  return { ...(JSON.parse(data.toString()) as LaneBatch), fds: [...fds] }
}

const send = (lane: number, message: unknown, fds: readonly number[] = []): boolean =>
  native.sendMessage(lane, Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)), fds)

async function closedBy(lane: number): Promise<void> {
  await until('the end of the lane', () => {
    const packet = native.receiveMessage(lane, 65_536)
    for (const fd of packet?.fds ?? []) native.close(fd)
    return packet?.data.length === 0
  })
}

/** Answered by this one, with the word that it is the last. */
async function expectDrained(connections: readonly RawConnection[], by: One): Promise<void> {
  for (const connection of connections) expect(await connection.ask()).toMatchObject({ body: pid(by), isLast: true })
}

describe('a receiver that', () => {
  test('is killed with connections in its queue loses none of them', async () => {
    const { old, next, connections } = await begin()
    await scene.layLane(old, next, () => void process.kill(next.program.pid, 'SIGSTOP'))
    await drain(old)
    next.program.child.kill('SIGKILL')
    await next.program.ended
    await expectDrained(connections, old)
    expect(await outcomeOf(old)).toEqual({ ended: 3, closed: 0, cut: 0, moved: 0 })
  })

  test('stands still does not keep them: the sender takes them back, and serves them', async () => {
    const { old, next, connections } = await begin()
    const before = openFiles(next.program.pid).length
    await scene.layLane(old, next, () => void process.kill(next.program.pid, 'SIGSTOP'))
    await drain(old)
    await expectDrained(connections, old)
    expect(await outcomeOf(old)).toEqual({ ended: 3, closed: 0, cut: 0, moved: 0 })
    process.kill(next.program.pid, 'SIGCONT')
    // What it finds in the lane now is not its own.
    await until('nothing is left of it', () => openFiles(next.program.pid).length === before)
    expect(next.program.lines).not.toContain('connection')
    expect(connections.map(({ responses, error }) => [responses.length, error])).toEqual(Array(3).fill([2, undefined]))
  })

  test('has no descriptor left refuses them all', async () => {
    const { old, next, connections } = await begin(100, { next: { descriptors: 80 } })
    await scene.leave(old, next)
    await expectDrained(connections, old)
    expect(await outcomeOf(old)).toEqual({ ended: 100, closed: 0, cut: 0, moved: 0 })
    expect(await (await RawConnection.open(scene.where)).ask()).toMatchObject({ body: pid(next) })
  })

  test('begins to drain takes no more', async () => {
    const { old, next, connections } = await begin()
    const lane = await laneTo(next, 'receive')
    await drain(next)
    await closedBy(lane)
    await drain(old)
    await expectDrained(connections, old)
  })

  test('may take one takes one, however fast they come', async () => {
    const { next } = await begin(0, { next: { server: { maxConnections: 1 } } })
    const lane = await laneTo(next, 'receive')
    const clients = [native.socket('inet', 'stream'), native.socket('inet', 'stream')]
    mine.push(...clients)
    process.kill(next.program.pid, 'SIGSTOP')
    for (const [index, fd] of clients.entries()) send(lane, { batch: index, leftMs: [null] }, [fd])
    process.kill(next.program.pid, 'SIGCONT')
    const answers: unknown[] = []
    for (const _ of clients)
      answers.push(
        JSON.parse((await until('an answer', () => native.receiveMessage(lane, 1_000) ?? undefined)).data.toString()),
      )
    expect(answers).toEqual([
      { batch: 0, refused: [] },
      { batch: 1, refused: [0] },
    ])
  })

  test('closes its server refuses what comes', async () => {
    const { next } = await begin()
    const lane = await laneTo(next, 'receive')
    process.kill(next.program.pid, 'SIGUSR2')
    await next.worker.report('released')
    const connection = native.socket('inet', 'stream')
    mine.push(connection)
    send(lane, { batch: 1, leftMs: [null] }, [connection])
    const answer = await until('an answer', () => native.receiveMessage(lane, 1_000) ?? undefined)
    expect(JSON.parse(answer.data.toString())).toEqual({ batch: 1, refused: [0] })
  })
})

describe('a sender', () => {
  test('keeps what is refused, and does not offer it again; what is taken is not its own any more', async () => {
    const { old, connections } = await begin()
    const before = openFiles(old.program.pid).length
    const lane = await laneTo(old, 'migrate')
    const { batch, leftMs, fds } = await receiveBatch(lane)
    expect(leftMs).toHaveLength(3)
    for (const left of leftMs) expect(left).toBeGreaterThan(4_000)
    const taken = fds[0] as number
    send(lane, { batch, refused: [1, 2] })
    await drain(old)
    const { port } = native.peerAddress(taken) as { port: number }
    const kept = connections.filter(({ socket }) => socket.localPort !== port)
    await expectDrained(kept, old)
    expect(await outcomeOf(old)).toEqual({ ended: 2, closed: 0, cut: 0, moved: 1 })
    expect(native.receiveMessage(lane, 1_000)?.data.length, 'the end, and no further batch').toBe(0)
    await until('nothing of them is left', () => openFiles(old.program.pid).length === before - 3)
    expect(
      old.program.lines.filter((line) => line === 'connection'),
      'the program had them all the time',
    ).toHaveLength(3)
  })

  test('says nothing to a client whose connection is under way', async () => {
    const { old, connections } = await begin()
    const lane = await laneTo(old, 'migrate')
    const { batch } = await receiveBatch(lane)
    process.kill(old.program.pid, 'SIGHUP')
    await old.program.line('farewell 3')
    send(lane, { batch, refused: [] })
    await drain(old)
    expect(await outcomeOf(old)).toMatchObject({ cut: 0, moved: 3 })
    expect(connections.map(({ text, closedAt }) => [text, closedAt])).toEqual(Array(3).fill(['', undefined]))
  })

  test.each([
    ['no JSON', '{'],
    ['no answer', '{}'],
    ['to no batch', { batch: 99, refused: [] }],
    ['without a list', { batch: 1, refused: 'none' }],
    ['null', null],
  ])('takes back what is answered with nonsense: %s', async (_, nonsense) => {
    const { old, connections } = await begin()
    const lane = await laneTo(old, 'migrate')
    await receiveBatch(lane)
    const [some] = native.socketPair()
    mine.push(some)
    send(lane, nonsense, [some])
    await closedBy(lane)
    await drain(old)
    await expectDrained(connections, old)
    expect(await outcomeOf(old)).toEqual({ ended: 3, closed: 0, cut: 0, moved: 0 })
  })

  test('needs no descriptor to spare but that of the lane', async () => {
    const { old, next, connections } = await begin()
    // One more than it has: for the lane.
    const used = new Set(readdirSync(`/proc/${old.program.pid}/fd`).map(Number))
    let free = 3
    while (used.has(free)) free++
    execFileSync('prlimit', ['--pid', String(old.program.pid), `--nofile=${free + 1}:${free + 1}`])
    await scene.leave(old, next)
    for (const connection of connections)
      expect(await connection.ask()).toMatchObject({ body: pid(next), isLast: false })
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 0, cut: 0, moved: 3 })
  })

  test('at its deadline takes back what nobody has taken, and ends it', async () => {
    const { old, connections } = await begin()
    const lane = await scene.laneTo(old, 'migrate')
    await drain(old, 300)
    expect(await outcomeOf(old)).toEqual({ ended: 0, closed: 3, cut: 0, moved: 0 })
    // With the copies in it that nobody has read.
    native.close(lane)
    for (const connection of connections) {
      await connection.closed()
      expect(connection.error).toBeUndefined()
    }
  })

  test('that is told to serve again has all of them, and does not close them', async () => {
    const { old, connections } = await begin()
    const lane = await laneTo(old, 'migrate')
    await receiveBatch(lane)
    await drain(old)
    await old.worker.order({ type: 'resume' })
    for (const connection of connections)
      expect(await connection.ask()).toMatchObject({ body: pid(old), isLast: false })
    await closedBy(lane)
  })

  test('goes on without a launcher', async () => {
    const { old, next, connections } = await begin()
    await scene.leave(old, next)
    scene.launcher.die()
    for (const connection of connections)
      expect(await connection.ask()).toMatchObject({ body: pid(next), isLast: false })
  })

  test('of very many connections sends no more than ten batches that nobody has answered', async () => {
    const { old, next, connections } = await begin(2_200)
    const lane = await laneTo(old, 'migrate')
    const sizes: number[] = []
    for (let batch = 1; batch <= 10; batch++) sizes.push((await receiveBatch(lane)).leftMs.length)
    expect(sizes).toEqual(Array(10).fill(200))
    for (let turns = 0; turns < 5; turns++) await old.worker.order({ type: 'ping' })
    expect(native.receiveMessage(lane, 65_536)).toBeNull()
    send(lane, { batch: 1, refused: [] })
    expect((await receiveBatch(lane)).leftMs).toHaveLength(200)
    await scene.leave(old, next)
    expect(await outcomeOf(old)).toMatchObject({ cut: 0, moved: 2_200 })
    expect(connections.filter(({ closedAt }) => closedAt !== undefined)).toEqual([])
  })
})

describe('a broken or evil peer', () => {
  test.each([
    ['no JSON', '{', 0],
    ['no batch', {}, 1],
    ['null', null, 0],
    ['a list of words', { batch: 1, leftMs: ['long'] }, 1],
    ['times past', { batch: 1, leftMs: [-1] }, 1],
    ['more connections than it says', { batch: 1, leftMs: [] }, 1],
    ['fewer', { batch: 1, leftMs: [1, 2] }, 1],
  ])('of a receiver: %s ends the lane, and nothing else', async (_, message, count) => {
    const { next } = await begin(0)
    const before = openFiles(next.program.pid).length
    const lane = await laneTo(next, 'receive')
    const fds = Array.from({ length: count }, () => native.socket('inet', 'stream'))
    mine.push(...fds)
    send(lane, message, fds)
    await closedBy(lane)
    expect(openFiles(next.program.pid)).toHaveLength(before)
    expect(await (await RawConnection.open(scene.where)).ask()).toMatchObject({ body: pid(next) })
  })

  test('what is no connection is refused, and closed (I-14)', async () => {
    const { next } = await begin(0)
    const before = openFiles(next.program.pid).length
    const lane = await laneTo(next, 'receive')
    const listening = native.socket('inet', 'stream')
    native.bindInet(listening, '127.0.0.1', 0)
    native.listen(listening, 1)
    const fds = [openSync('/dev/null', 'r'), ...native.pipe(false), listening]
    mine.push(...fds)
    send(lane, { batch: 7, leftMs: [1, 2, 3, null] }, fds)
    const answer = await until('an answer', () => native.receiveMessage(lane, 1_000) ?? undefined)
    expect(JSON.parse(answer.data.toString())).toEqual({ batch: 7, refused: [0, 1, 2, 3] })
    // The lane itself is open still.
    expect(openFiles(next.program.pid)).toHaveLength(before + 1)
  })
})
