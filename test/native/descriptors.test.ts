import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { native, READABLE, WRITABLE } from '../../src/native.js'
import { errorOf, systemError } from './support/errors'
import { flagsOf, openFiles, sameFilesAs } from './support/open-files'
import { startShell, waitFor } from './support/shell'

const addon = native()
let before: number[]

beforeEach(() => {
  before = openFiles()
})
afterEach(async () => {
  await sameFilesAs(before)
})

describe('arguments', () => {
  it('of the wrong type are TypeErrors, numbers outside their range RangeErrors (S-14)', () => {
    for (const wrong of ['3', null, undefined, {}, 3n, true]) {
      expect(errorOf(() => addon.close(wrong as never))).toBeInstanceOf(TypeError)
    }
    for (const wrong of [-1, 1.5, NaN, Infinity, 2 ** 31]) {
      expect(errorOf(() => addon.close(wrong))).toBeInstanceOf(RangeError)
    }
    expect(errorOf(() => addon.pipe(1 as never))).toBeInstanceOf(TypeError)
    expect(errorOf(() => addon.pollSync(0, 0, 0))).toBeInstanceOf(RangeError)
    expect(errorOf(() => addon.pollSync(0, READABLE, -1))).toBeInstanceOf(RangeError)
  })
})

describe('close', () => {
  it('is EBADF the second time', () => {
    const copy = addon.dup(0)
    addon.close(copy)
    expect(errorOf(() => addon.close(copy))).toEqual(systemError('EBADF', 'close'))
  })
})

describe('dup', () => {
  it('never gives 0, 1 or 2 and is close-on-exec', () => {
    const copy = addon.dup(1)
    expect(copy).toBeGreaterThan(2)
    expect(flagsOf(copy).closeOnExec).toBe(true)
    addon.close(copy)
  })

  it('of nothing is EBADF', () => {
    expect(errorOf(() => addon.dup(1_000_000))).toEqual(systemError('EBADF', 'fcntl'))
  })
})

describe('dup with a least number', () => {
  it('gives that one, or the next that is free', () => {
    const copies = [addon.dup(1, 500), addon.dup(1, 500), addon.dup(1, 0)]
    expect(copies.slice(0, 2)).toEqual([500, 501])
    expect(copies[2]).toBeGreaterThan(2)
    for (const copy of copies) addon.close(copy)
  })

  it('beyond the limit is EINVAL', () => {
    expect(errorOf(() => addon.dup(1, 2 ** 31 - 1))).toEqual(systemError('EINVAL', 'fcntl'))
  })
})

describe('dup2', () => {
  it('makes the target refer to the same, not close-on-exec', () => {
    const [read, write] = addon.pipe(false)
    const target = addon.dup(0)
    addon.dup2(write, target)
    addon.close(write)
    writeSync(target, 'x')
    expect(addon.pollSync(read, READABLE, 1000)).toBe(READABLE)
    expect(flagsOf(target).closeOnExec).toBe(false)
    addon.close(target)
    addon.close(read)
  })

  it('onto itself still takes close-on-exec away', () => {
    const copy = addon.dup(0)
    addon.dup2(copy, copy)
    expect(flagsOf(copy).closeOnExec).toBe(false)
    addon.close(copy)
  })
})

describe('pipe', () => {
  it('is non-blocking at the read end only, if asked', () => {
    for (const nonBlocking of [true, false]) {
      const [read, write] = addon.pipe(nonBlocking)
      expect(flagsOf(read)).toEqual({ closeOnExec: true, nonBlocking })
      expect(flagsOf(write)).toEqual({ closeOnExec: true, nonBlocking: false })
      addon.close(read)
      addon.close(write)
    }
  })
})

describe('tryLock', () => {
  let directory: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lock-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  it('is refused while another process holds it, and given when that one has died', () => {
    const path = join(directory, 'lock')
    const fd = openSync(path, 'w')
    const holder = startShell(`exec 9>${path}; flock 9; echo locked; exec sleep 1000`)
    expect(addon.pollSync(holder.output, READABLE, 10_000)).toBe(READABLE)
    expect(addon.tryLock(fd)).toBe(false)
    addon.pidfdSignal(holder.pidfd, 9)
    waitFor(holder.pidfd)
    addon.close(holder.output)
    expect(addon.tryLock(fd)).toBe(true)
    expect(addon.tryLock(fd)).toBe(true)
    closeSync(fd)
  })

  it('belongs to the open file description: another one in the same process is refused', () => {
    const path = join(directory, 'lock')
    const [first, second] = [openSync(path, 'w'), openSync(path, 'w')]
    expect(addon.tryLock(first)).toBe(true)
    expect(addon.tryLock(second)).toBe(false)
    closeSync(first)
    expect(addon.tryLock(second)).toBe(true)
    closeSync(second)
  })
})

describe('pollSync', () => {
  it('gives what is ready of what was asked for, and 0 when the time is over', () => {
    const [left, right] = addon.socketPair()
    expect(addon.pollSync(left, READABLE | WRITABLE, 1000)).toBe(WRITABLE)
    const start = performance.now()
    expect(addon.pollSync(left, READABLE, 30)).toBe(0)
    expect(performance.now() - start).toBeGreaterThanOrEqual(30)
    addon.sendMessage(right, Buffer.from('x'), [])
    expect(addon.pollSync(left, READABLE | WRITABLE, 0)).toBe(READABLE | WRITABLE)
    addon.close(right)
    addon.close(left)
  })

  it('gives everything that was asked for when the other end is gone', () => {
    const [read, write] = addon.pipe(false)
    addon.close(read)
    expect(addon.pollSync(write, WRITABLE, 0)).toBe(WRITABLE)
    expect(addon.pollSync(write, READABLE, 0)).toBe(READABLE)
    addon.close(write)
  })

  it('of nothing is EBADF', () => {
    expect(errorOf(() => addon.pollSync(1_000_000, READABLE, 0))).toEqual(systemError('EBADF', 'poll'))
  })
})

describe('writeNow', () => {
  it('writes what there is room for, to a pipe and to a socket that would wait, and nothing when there is none', () => {
    const pipe = addon.pipe(false)
    const sockets = addon.socketPair()
    addon.setNonBlocking(sockets[1], false)
    for (const [reader, writer] of [pipe, sockets]) {
      const data = Buffer.alloc(4_096, 'x')
      let written = 0
      for (let last = 1; last > 0; written += last) last = addon.writeNow(writer, data)
      expect(written).toBeGreaterThan(65_535)
      readSync(reader, Buffer.alloc(8_192))
      expect(addon.writeNow(writer, data)).toBeGreaterThan(0)
      expect(flagsOf(writer).nonBlocking).toBe(false)
      for (const fd of [reader, writer]) addon.close(fd)
    }
  })

  it('to nobody is EPIPE, and no signal', () => {
    const [reader, writer] = addon.pipe(false)
    addon.close(reader)
    expect(errorOf(() => addon.writeNow(writer, Buffer.from('x')))).toEqual(systemError('EPIPE', 'write'))
    addon.close(writer)
  })
})
