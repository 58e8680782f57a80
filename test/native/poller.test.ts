import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { native, type Poller, READABLE, WRITABLE } from '../../src/native.js'
import { until } from '../support/until'
import { errorOf, systemError } from './support/errors'
import { resultOf, runFixture } from './support/fixture'
import { openFiles, sameFilesAs } from './support/open-files'

const addon = native()
const text = (value: string): Uint8Array => Buffer.from(value)
let before: number[]
let left: number
let right: number
let pollers: Poller[]

beforeEach(() => {
  before = openFiles()
  ;[left, right] = addon.socketPair()
  pollers = []
})
afterEach(async () => {
  for (const poller of pollers) poller.close()
  addon.close(left)
  addon.close(right)
  await sameFilesAs(before)
})

function poll(fd: number, onEvents: (events: number) => void): Poller {
  const poller = new addon.Poller(fd, onEvents)
  pollers.push(poller)
  return poller
}

/** A Poller whose reports are collected. */
function watched(fd: number): { poller: Poller; reports: number[] } {
  const reports: number[] = []
  return { poller: poll(fd, (events) => reports.push(events)), reports }
}

const turnOfTheLoop = (): Promise<void> => new Promise((done) => setTimeout(() => setImmediate(done)))

describe('a poller', () => {
  it('reports what it was asked for', async () => {
    const { poller, reports } = watched(left)
    poller.start(READABLE)
    await turnOfTheLoop()
    expect(reports).toEqual([])
    addon.sendMessage(right, text('x'), [])
    await until('a report', () => reports.length > 0)
    expect(new Set(reports)).toEqual(new Set([READABLE]))
    poller.start(READABLE | WRITABLE)
    await until('both', () => reports.includes(READABLE | WRITABLE))
  })

  it('says nothing while paused, and what waited after', async () => {
    const { poller, reports } = watched(left)
    poller.start(READABLE)
    poller.start(0)
    addon.sendMessage(right, text('x'), [])
    await turnOfTheLoop()
    expect(reports).toEqual([])
    poller.start(READABLE)
    await until('a report', () => reports.length > 0)
  })

  it('reports the end of the other side', async () => {
    const { poller, reports } = watched(left)
    poller.start(READABLE)
    addon.close(right)
    right = addon.dup(0)
    await until('a report', () => reports.length > 0)
    expect(addon.receiveMessage(left, 10)?.data.length).toBe(0)
  })

  it('goes on after an error condition: a peer that closed with unread messages', async () => {
    const { poller, reports } = watched(left)
    poller.start(READABLE)
    addon.sendMessage(left, text('never read'), [])
    addon.sendMessage(right, text('last'), [])
    addon.close(right)
    right = addon.dup(0)
    await until('a report', () => reports.length > 0)
    expect(reports[0]).toBe(READABLE)
    expect(addon.receiveMessage(left, 10)?.data.toString()).toBe('last')
    const sofar = reports.length
    await until('another report', () => reports.length > sofar)
    expect(addon.receiveMessage(left, 10)?.data.length).toBe(0)
  })

  it('can be closed in its own callback, more than once, and never starts again', async () => {
    let calls = 0
    const poller = poll(left, () => {
      calls++
      poller.close()
      poller.close()
    })
    poller.start(READABLE)
    addon.sendMessage(right, text('x'), [])
    await until('the call', () => calls > 0)
    await turnOfTheLoop()
    expect(calls).toBe(1)
    poller.ref()
    poller.unref()
    expect(errorOf(() => poller.start(READABLE)).message).toBe('the poller is closed')
  })

  it('leaves its descriptor open', () => {
    const { poller } = watched(left)
    poller.start(READABLE)
    poller.close()
    addon.sendMessage(right, text('x'), [])
    expect(addon.receiveMessage(left, 10)?.data.toString()).toBe('x')
  })

  it('keeps the microtask queue running between its reports', async () => {
    const order: string[] = []
    const first = poll(left, () => {
      order.push('report')
      first.close()
      queueMicrotask(() => order.push('microtask'))
      process.nextTick(() => order.push('tick'))
    })
    const second = poll(right, () => {
      order.push('report')
      second.close()
    })
    first.start(WRITABLE)
    second.start(WRITABLE)
    await until('both', () => order.filter((what) => what === 'report').length === 2)
    expect(order.slice(0, 3)).toEqual(['report', 'tick', 'microtask'])
  })
})

describe('a descriptor', () => {
  it('that cannot be watched is refused', async () => {
    expect(errorOf(() => new addon.Poller(1_000_000, () => {}))).toEqual(systemError('EBADF', 'uv_poll_init'))
    const { openSync, closeSync } = await import('node:fs')
    const file = openSync('/etc/passwd', 'r')
    expect(errorOf(() => new addon.Poller(file, () => {}))).toEqual(systemError('EPERM', 'uv_poll_init'))
    closeSync(file)
  })

  it('that was closed meanwhile is EBADF, not the end of the process', () => {
    const copy = addon.dup(left)
    const { poller } = watched(copy)
    addon.close(copy)
    expect(errorOf(() => poller.start(READABLE))).toEqual(systemError('EBADF', 'fcntl'))
  })

  it('is watched by one poller at a time', () => {
    const { poller } = watched(left)
    poller.start(READABLE)
    expect(errorOf(() => poll(left, () => {}).start(READABLE))).toEqual(systemError('EEXIST', 'uv_poll_init'))
  })

  it('and callback are checked', () => {
    expect(errorOf(() => new addon.Poller('1' as never, () => {}))).toBeInstanceOf(TypeError)
    expect(errorOf(() => new addon.Poller(left, undefined as never))).toBeInstanceOf(TypeError)
    expect(errorOf(() => (addon.Poller as unknown as (fd: number) => void)(left))).toBeInstanceOf(TypeError)
    const { poller } = watched(left)
    for (const wrong of [-1, 4, 1.5]) expect(errorOf(() => poller.start(wrong))).toBeInstanceOf(RangeError)
    expect(errorOf(() => poller.start.call({} as never, READABLE))).toBeInstanceOf(TypeError)
  })
})

describe('the process', () => {
  it('ends although a descriptor is watched', async () => {
    expect(await runFixture('watch-quietly.cjs')).toMatchObject({ code: 0, stdout: '', stderr: '' })
  })

  it('does not end while a poller with ref() watches', async () => {
    expect(await runFixture('watch-quietly.cjs', { args: ['ref'] })).toMatchObject({
      code: 0,
      stdout: 'ended 7\n',
      stderr: '',
    })
  })

  it('hears an exception of the callback as uncaughtException', async () => {
    expect(await resultOf('throw-in-callback.cjs', { args: ['caught'] })).toEqual({
      message: 'from the callback',
      calls: 2,
    })
    const uncaught = await runFixture('throw-in-callback.cjs', { args: ['uncaught'] })
    expect(uncaught).toMatchObject({ code: 1, stdout: '' })
    expect(uncaught.stderr).toContain('from the callback')
  })

  it('may exit in the callback', async () => {
    expect(await runFixture('exit-under-flood.cjs', { args: ['42'] })).toMatchObject({
      code: 42,
      signal: null,
      stderr: '',
    })
  })
})

describe('garbage collection', () => {
  it('takes pollers that do not watch, with their handles, and no other', async () => {
    expect(await resultOf('collect-pollers.cjs', { nodeOptions: ['--expose-gc'] })).toEqual({
      made: 1000,
      neverStarted: 0,
      paused: 0,
      closed: 0,
      watching: 1000,
      reports: 1000,
    })
  })
})

describe('worker threads', () => {
  it('each have pollers on their own loop', async () => {
    expect(await resultOf('echo-in-threads.cjs', { args: ['8'] })).toEqual({ echoed: 800 })
  })

  it.each(['terminate', 'exit', 'throw', 'return'])('24 of them under a message flood end by %s', async (how) => {
    expect(await runFixture('end-threads-under-flood.cjs', { args: ['24', how] })).toMatchObject({
      code: 7,
      signal: null,
      stdout: '24 ended\n',
      stderr: '',
    })
  })
})
