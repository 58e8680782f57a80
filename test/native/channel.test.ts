import { once } from 'node:events'
import { fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_FDS_PER_MESSAGE, native, READABLE, WRITABLE } from '../../src/native.js'
import { errorOf, systemError } from './support/errors'
import { resultOf, startFixture } from './support/fixture'
import { flagsOf, openFiles, sameFilesAs } from './support/open-files'

const addon = native()
const text = (value: string): Uint8Array => Buffer.from(value)
const NONE = new Int32Array(0)
let before: number[]
let left: number
let right: number

beforeEach(() => {
  before = openFiles()
  ;[left, right] = addon.socketPair()
})
afterEach(async () => {
  addon.close(left)
  addon.close(right)
  await sameFilesAs(before)
})

describe('a socket that has stopped receiving', () => {
  it('refuses what its peer sends from then on, and gives what came before; it can still send', () => {
    addon.sendMessage(left, text('before'), [])
    addon.stopReceiving(right)
    expect(errorOf(() => addon.sendMessage(left, text('after'), []))).toEqual(systemError('EPIPE', 'sendmsg'))
    expect(addon.receiveMessage(right, 100)?.data.toString()).toBe('before')
    expect(addon.receiveMessage(right, 100)?.data.length).toBe(0)
    expect(addon.sendMessage(right, text('still'), [])).toBe(true)
    expect(addon.receiveMessage(left, 100)?.data.toString()).toBe('still')
  })

  it('must be a socket', () => {
    const ends = addon.pipe(false)
    expect(errorOf(() => addon.stopReceiving(ends[0]))).toEqual(systemError('ENOTSOCK', 'shutdown'))
    for (const end of ends) addon.close(end)
  })
})

describe('a message', () => {
  it('arrives whole, one at a time, in order', () => {
    expect(addon.sendMessage(left, text('one'), [])).toBe(true)
    expect(addon.sendMessage(left, text('two'), [])).toBe(true)
    expect(addon.receiveMessage(right, 100)).toEqual({ data: Buffer.from('one'), fds: NONE, truncated: false })
    expect(addon.receiveMessage(right, 100)?.data.toString()).toBe('two')
    expect(addon.receiveMessage(right, 100)).toBe(null)
  })

  it('of 64 KiB passes', () => {
    const data = Buffer.alloc(64 * 1024, 'x')
    expect(addon.sendMessage(left, data, [])).toBe(true)
    expect(addon.receiveMessage(right, 64 * 1024)?.data.equals(data)).toBe(true)
  })

  it('is the bytes of its view, not of the buffer beneath', () => {
    addon.sendMessage(left, text('abcdef').subarray(2, 4), [])
    expect(addon.receiveMessage(right, 100)?.data.toString()).toBe('cd')
  })

  it('larger than the send buffer is EMSGSIZE', () => {
    expect(errorOf(() => addon.sendMessage(left, Buffer.alloc(8 * 1024 * 1024), []))).toEqual(
      systemError('EMSGSIZE', 'sendmsg'),
    )
  })

  it('without bytes is refused: it would be the end of the channel', () => {
    expect(errorOf(() => addon.sendMessage(left, new Uint8Array(0), []))).toBeInstanceOf(RangeError)
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    expect(errorOf(() => addon.sendMessage(left, detached, []))).toBeInstanceOf(RangeError)
  })

  it('of anything but a Uint8Array is a TypeError', () => {
    for (const wrong of ['text', null, {}, [1], new Uint16Array(2), new ArrayBuffer(4)]) {
      expect(errorOf(() => addon.sendMessage(left, wrong as never, []))).toBeInstanceOf(TypeError)
    }
    for (const wrong of [undefined, 3, '1', { length: 0 }]) {
      expect(errorOf(() => addon.sendMessage(left, text('x'), wrong as never))).toBeInstanceOf(TypeError)
    }
    expect(errorOf(() => addon.sendMessage(left, text('x'), ['1'] as never))).toBeInstanceOf(TypeError)
  })
})

describe('descriptors', () => {
  it.each([0, 1, 16, MAX_FDS_PER_MESSAGE])('%i in one message arrive, close-on-exec (I-11)', (count) => {
    addon.sendMessage(left, text('x'), new Array(count).fill(0))
    const received = addon.receiveMessage(right, 100)
    expect(received).toMatchObject({ truncated: false })
    expect(received?.fds.length).toBe(count)
    for (const fd of received?.fds ?? []) {
      expect(flagsOf(fd).closeOnExec).toBe(true)
      addon.close(fd)
    }
  })

  it('254 are a RangeError (G-12)', () => {
    expect(
      errorOf(() => addon.sendMessage(left, text('x'), new Array(MAX_FDS_PER_MESSAGE + 1).fill(0))),
    ).toBeInstanceOf(RangeError)
  })

  it('keep their order', () => {
    const files = ['/dev/null', '/dev/zero', '/dev/full', '/etc/passwd'].map((path) => openSync(path, 'r'))
    addon.sendMessage(left, text('x'), files)
    const fds = [...(addon.receiveMessage(right, 100)?.fds ?? [])]
    const identity = (fd: number): string => `${fstatSync(fd).dev}:${fstatSync(fd).ino}`
    expect(fds.map(identity)).toEqual(files.map(identity))
    for (const fd of [...files, ...fds]) addon.close(fd)
  })

  it('in an Int32Array go as those in an array, and are closed together', () => {
    const files = Int32Array.from(['/dev/null', '/dev/zero'], (path) => openSync(path, 'r'))
    addon.sendMessage(left, text('x'), files)
    const got = addon.receiveMessage(right, 100)?.fds as Int32Array
    const inode = (fd: number): number => fstatSync(fd).ino
    expect([...got].map(inode)).toEqual([...files].map(inode))
    expect(errorOf(() => addon.closeAll([...got, 1_000_000, ...files]))).toEqual(systemError('EBADF', 'close'))
    for (const fd of [...got, ...files]) expect(errorOf(() => fstatSync(fd))).toMatchObject({ code: 'EBADF' })
    for (const wrong of [Int32Array.of(-1), new Int32Array(MAX_FDS_PER_MESSAGE + 1)])
      expect(errorOf(() => addon.sendMessage(left, text('x'), wrong))).toBeInstanceOf(RangeError)
  })

  it('that are not open fail the whole message', () => {
    expect(errorOf(() => addon.sendMessage(left, text('x'), [0, 1_000_000]))).toEqual(systemError('EBADF', 'sendmsg'))
    expect(addon.receiveMessage(right, 100)).toBe(null)
  })

  it('are closed when the message is longer than the room for it (I-12)', () => {
    const now = openFiles()
    addon.sendMessage(left, text('hello'), [0, 0, 0])
    expect(addon.receiveMessage(right, 4)).toEqual({ data: Buffer.from('hell'), fds: NONE, truncated: true })
    expect(openFiles()).toEqual(now)
    expect(addon.receiveMessage(right, 100)).toBe(null)
  })

  it('are closed when not all of them arrive: the limit of open files (I-12)', async () => {
    const under = ['prlimit', '--nofile=100:100']
    expect(await resultOf('receive-at-limit.cjs', { under })).toEqual([
      { free: 0, fds: 0, truncated: true, data: 'hello', leaked: 0 },
      { free: 4, fds: 0, truncated: true, data: 'hello', leaked: 0 },
      { free: 9, fds: 0, truncated: true, data: 'hello', leaked: 0 },
      { free: 10, fds: 10, truncated: false, data: 'hello', leaked: 0 },
    ])
  })
})

describe('a full queue', () => {
  it('takes nothing and leaks nothing; room makes the sender writable', () => {
    const now = openFiles()
    let sent = 0
    while (addon.sendMessage(left, text('x'), [0, 1, 2])) sent++
    expect(sent).toBeGreaterThan(0)
    expect(addon.sendMessage(left, text('x'), [0, 1, 2])).toBe(false)
    expect(openFiles()).toEqual(now)
    expect(addon.pollSync(left, WRITABLE, 0)).toBe(0)

    for (let received = 0; received < sent; received++) {
      for (const fd of addon.receiveMessage(right, 100)?.fds ?? []) addon.close(fd)
    }
    expect(addon.receiveMessage(right, 100)).toBe(null)
    expect(addon.pollSync(left, WRITABLE, 0)).toBe(WRITABLE)
    expect(addon.sendMessage(left, text('x'), [])).toBe(true)
  })

  it.runIf(process.getuid?.() === 0)(
    'of descriptors in flight, over all processes of a uid, is false too (G-12)',
    async () => {
      // A uid that nobody else has: the kernel counts per uid (kernel.md §7).
      const under = ['setpriv', '--reuid=54321', '--regid=54321', '--clear-groups', 'prlimit', '--nofile=100:100']
      expect(await resultOf('send-beyond-flight.cjs', { under })).toEqual({
        last: false,
        inFlight: 101,
        afterReceiving: true,
      })
    },
  )
})

describe('the end', () => {
  it('is a message of length 0, for ever', () => {
    addon.close(left)
    left = addon.dup(0)
    for (let i = 0; i < 3; i++)
      expect(addon.receiveMessage(right, 100)).toEqual({ data: Buffer.alloc(0), fds: NONE, truncated: false })
    expect(errorOf(() => addon.sendMessage(right, text('x'), []))).toEqual(systemError('EPIPE', 'sendmsg'))
  })

  it('comes after the last messages of a peer that did not read ours', () => {
    addon.sendMessage(right, text('never read'), [])
    addon.sendMessage(left, text('last'), [0])
    addon.close(left)
    left = addon.dup(0)
    const last = addon.receiveMessage(right, 100)
    expect(last?.data.toString()).toBe('last')
    for (const fd of last?.fds ?? []) addon.close(fd)
    expect(addon.receiveMessage(right, 100)?.data.length).toBe(0)
  })
})

describe('datagrams', () => {
  it('reach a path; "@" is the abstract namespace', () => {
    const directory = mkdtempSync(join(tmpdir(), 'notify-'))
    const sender = addon.socket('unix', 'datagram')
    const receiver = addon.socket('unix', 'datagram')
    const path = join(directory, 'notify')
    addon.bindUnix(receiver, path)
    addon.sendDatagram(sender, path, text('READY=1'), [])
    expect(addon.receiveMessage(receiver, 100)?.data.toString()).toBe('READY=1')
    expect(errorOf(() => addon.sendDatagram(sender, `${path}2`, text('x'), []))).toEqual(
      systemError('ENOENT', 'sendmsg'),
    )
    expect(errorOf(() => addon.sendDatagram(sender, '', text('x'), []))).toEqual(systemError('EINVAL', 'sendmsg'))
    expect(errorOf(() => addon.sendDatagram(sender, '@', text('x'), []))).toEqual(systemError('EINVAL', 'sendmsg'))
    // A path would be ENOENT.
    expect(errorOf(() => addon.sendDatagram(sender, '@nobody', text('x'), []))).toEqual(
      systemError('ECONNREFUSED', 'sendmsg'),
    )
    addon.close(sender)
    addon.close(receiver)
    rmSync(directory, { recursive: true })
  })
})

describe('who sent a datagram', () => {
  it('is told by the kernel, where it is asked for', () => {
    const directory = mkdtempSync(join(tmpdir(), 'sender-'))
    const sender = addon.socket('unix', 'datagram')
    const receiver = addon.socket('unix', 'datagram')
    const path = join(directory, 'notify')
    addon.bindUnix(receiver, path)
    addon.sendDatagram(sender, path, text('before'), [])
    addon.setOption(receiver, 'passCredentials', 1)
    addon.sendDatagram(sender, path, text('READY=1'), [])
    // What was sent before has nobody's name on it: 0 and the overflow ids.
    expect(addon.receiveMessage(receiver, 100)?.sender?.pid).toBe(0)
    expect(addon.receiveMessage(receiver, 100)?.sender).toEqual({
      pid: process.pid,
      uid: process.geteuid?.(),
      gid: process.getegid?.(),
    })
    addon.close(sender)
    addon.close(receiver)
    rmSync(directory, { recursive: true })
  })
})

describe('who is at the other end', () => {
  let directory: string
  let listener: number

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'peer-'))
    listener = addon.socket('unix', 'seqpacket')
    addon.bindUnix(listener, join(directory, 'channel'))
    addon.listen(listener, 1)
  })
  afterEach(() => {
    addon.close(listener)
    rmSync(directory, { recursive: true })
  })

  it('is known by pid, uid, gid and pidfd (I-16)', async () => {
    const child = startFixture('connect-and-wait.cjs', { args: [join(directory, 'channel')] })
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    const server = addon.accept(listener) as number
    expect(addon.peerCredentials(server)).toEqual({ pid: child.pid, uid: process.getuid?.(), gid: process.getgid?.() })

    // SO_PEERPIDFD came with Linux 6.5.
    const [major = 0, minor = 0] = release().split('.').map(Number)
    if (major > 6 || (major === 6 && minor >= 5)) {
      const pidfd = addon.peerPidfd(server)
      expect(flagsOf(pidfd).closeOnExec).toBe(true)
      expect(addon.pollSync(pidfd, READABLE, 0)).toBe(0)
      expect(addon.pidfdSignal(pidfd, 9)).toBe(true)
      expect(addon.pollSync(pidfd, READABLE, 10_000)).toBe(READABLE)
      addon.close(pidfd)
    } else {
      expect(errorOf(() => addon.peerPidfd(server))).toEqual(systemError('ENOPROTOOPT', 'getsockopt'))
      child.kill('SIGKILL')
    }
    await once(child, 'close')
    addon.close(server)
  })
})
