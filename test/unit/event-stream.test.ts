import { EventEmitter } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { EventStream } from '../../src/launcher/event-stream'
import type { Log } from '../../src/log'
import { until } from '../support/until'

interface Reader {
  readonly socket: Socket
  text: string
}

async function start(): Promise<{ events: EventStream; log: Log; logged: string[]; read: () => Promise<Reader> }> {
  const events = new EventStream()
  const logged: string[] = []
  const server = createServer((_request, response) => {
    if (!events.add(response)) response.writeHead(503).end()
  })
  await new Promise<void>((done) => server.listen(0, done))
  onTestFinished(() => void server.close())
  const read = async (): Promise<Reader> => {
    const socket = connect((server.address() as AddressInfo).port)
    onTestFinished(() => void socket.destroy())
    const reader: Reader = { socket, text: '' }
    socket.on('data', (data: Buffer) => {
      reader.text += data
    })
    socket.write('GET /events HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('an answer', () => reader.text !== '')
    return reader
  }
  return { events, log: events.beside((_level, event) => void logged.push(event)), logged, read }
}

const numbersIn = (text: string): number[] => [...text.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n))

test('each reader gets each event as a line of JSON, the log goes on as before, and the end is the end', async () => {
  const { events, log, logged, read } = await start()
  log('info', 'nobody.reads')
  const readers = [await read(), await read()]
  log('warn', 'worker.stuck', { pid: 7, n: 1 })
  for (const reader of readers) {
    await until('it is there', () => reader.text.includes('"n":1'))
    const [line] = reader.text.split('\n').filter((one) => one.startsWith('{'))
    expect(JSON.parse(line as string)).toMatchObject({ level: 40, msg: 'worker.stuck', workerPid: 7, pid: process.pid })
    expect(reader.text).not.toContain('nobody.reads')
  }
  expect(logged).toEqual(['nobody.reads', 'worker.stuck'])
  const ended = readers.map(({ socket }) => new Promise((done) => socket.once('end', done)))
  events.end()
  await Promise.all(ended)
})

test('who does not read misses lines and is told how many; the others miss none', async () => {
  const { log, read } = await start()
  const [slow, fast] = [await read(), await read()]
  slow.socket.pause()
  const filler = 'x'.repeat(50_000)
  let n = 0
  // Until what the kernel keeps for the slow one is full, and our own share as well.
  for (; n < 400; n++) {
    log('info', 'much', { n, filler })
    if (n % 4 === 3) await until('the fast one has it', () => fast.text.length > (n + 1) * filler.length)
  }
  expect(numbersIn(fast.text)).toHaveLength(n)
  slow.socket.resume()
  await until('it is told', () => slow.text.includes('events.dropped'))
  const [, lines] = /"msg":"events.dropped","lines":(\d+)/.exec(slow.text) as unknown as [string, string]
  log('info', 'much', { n: 99_999 })
  await until('it goes on', () => slow.text.includes('"n":99999'))
  expect(numbersIn(slow.text).length - 1 + Number(lines)).toBe(n)
})

test('there is an end to how many may read', async () => {
  const { read } = await start()
  const readers = await Promise.all(Array.from({ length: 40 }, () => read()))
  await until('the last ones are refused', () => readers.filter(({ text }) => text.includes(' 503 ')).length === 8)
})

/** An answer of which nothing is read. */
class Unread extends EventEmitter {
  writableLength = 0
  isDestroyed = false
  writeHead(): void {}
  flushHeaders(): void {}
  write(line: string): void {
    this.writableLength += line.length
  }
  destroy(): void {
    this.isDestroyed = true
  }
}

test('one that does not read makes room for one that wants to (I-06, S-05)', () => {
  const events = new EventStream()
  const log = events.beside(() => {})
  const answers = Array.from({ length: 32 }, () => new Unread())
  const add = (answer: Unread): boolean => events.add(answer as unknown as ServerResponse)
  expect(answers.map(add)).not.toContain(false)
  expect(add(new Unread())).toBe(false)
  const stalled = answers[7] as Unread
  stalled.writableLength = 262_144
  log('info', 'one.more')
  expect([add(new Unread()), add(new Unread())]).toEqual([true, false])
  expect(answers.filter(({ isDestroyed }) => isDestroyed)).toEqual([stalled])
})
