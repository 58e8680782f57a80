import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, openSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type InetAddress, native, READABLE } from '../../src/native.js'
import { errorOf, systemError } from './support/errors'
import { resultOf } from './support/fixture'
import { flagsOf, openFiles, sameFilesAs } from './support/open-files'

const addon = native()
const isRoot = process.getuid?.() === 0
let before: number[]
let open: number[]
let clients: Socket[]

beforeEach(() => {
  before = openFiles()
  open = []
  clients = []
})
afterEach(async () => {
  for (const client of clients) client.destroy()
  for (const fd of open) addon.close(fd)
  await sameFilesAs(before)
})

function socket(...args: Parameters<typeof addon.socket>): number {
  const fd = addon.socket(...args)
  open.push(fd)
  return fd
}

/** Bound to a free port of 127.0.0.1. */
function bound(setUp: (fd: number) => void = () => {}): { fd: number; port: number } {
  const fd = socket('inet', 'stream')
  setUp(fd)
  addon.bindInet(fd, '127.0.0.1', 0)
  return { fd, port: (addon.localAddress(fd) as InetAddress).port }
}

async function connected(port: number): Promise<Socket> {
  const client = connect(port, '127.0.0.1').on('error', () => {})
  clients.push(client)
  await once(client, 'connect')
  return client
}

describe('socket', () => {
  it('is close-on-exec and non-blocking, of the family and type asked for', () => {
    const [AF_UNIX, AF_INET, AF_INET6] = [1, 2, 10]
    const [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] = [1, 2, 5]
    const table = [
      ['inet', 'stream', AF_INET, SOCK_STREAM],
      ['inet6', 'stream', AF_INET6, SOCK_STREAM],
      ['inet6', 'datagram', AF_INET6, SOCK_DGRAM],
      ['unix', 'stream', AF_UNIX, SOCK_STREAM],
      ['unix', 'seqpacket', AF_UNIX, SOCK_SEQPACKET],
    ] as const
    for (const [family, type, domain, number] of table) {
      const fd = socket(family, type)
      expect(flagsOf(fd)).toEqual({ closeOnExec: true, nonBlocking: true })
      expect(addon.getOption(fd, 'domain')).toBe(domain)
      expect(addon.getOption(fd, 'type')).toBe(number)
    }
    expect(errorOf(() => addon.socket('inet', 'seqpacket'))).toMatchObject({
      code: 'ESOCKTNOSUPPORT',
      syscall: 'socket',
    })
    expect(errorOf(() => addon.socket('ipx' as never, 'stream'))).toBeInstanceOf(TypeError)
    expect(errorOf(() => addon.socket('inet', 'raw' as never))).toBeInstanceOf(TypeError)
  })
})

describe('options', () => {
  it('are set and read', () => {
    const fd = socket('inet6', 'stream')
    for (const option of ['reuseAddress', 'reusePort', 'ipv6Only'] as const) {
      expect(addon.getOption(fd, option)).toBe(0)
      addon.setOption(fd, option, 1)
      expect(addon.getOption(fd, option)).toBe(1)
      addon.setOption(fd, option, 0)
      expect(addon.getOption(fd, option)).toBe(0)
    }
    addon.setOption(fd, 'sendBuffer', 10_000)
    // The kernel doubles it for its own books (socket(7)).
    expect(addon.getOption(fd, 'sendBuffer')).toBe(20_000)
  })

  it('that can only be read, or are unknown, are refused', () => {
    const fd = socket('inet', 'stream')
    for (const option of ['type', 'domain', 'acceptConnections'] as const) {
      expect(errorOf(() => addon.setOption(fd, option, 1))).toEqual(systemError('ENOPROTOOPT', 'setsockopt'))
    }
    expect(errorOf(() => addon.getOption(fd, 'linger' as never))).toBeInstanceOf(TypeError)
    const file = openSync('/dev/null', 'r')
    open.push(file)
    expect(errorOf(() => addon.getOption(file, 'type'))).toEqual(systemError('ENOTSOCK', 'getsockopt'))
  })

  it('tell a listening socket from one that is only bound', () => {
    const { fd } = bound()
    expect(addon.getOption(fd, 'acceptConnections')).toBe(0)
    addon.listen(fd, 8)
    expect(addon.getOption(fd, 'acceptConnections')).toBe(1)
  })
})

describe('bindInet', () => {
  it('gives the address back', () => {
    const v4 = socket('inet', 'stream')
    addon.bindInet(v4, '127.0.0.1', 0)
    expect(addon.localAddress(v4)).toEqual({ family: 4, host: '127.0.0.1', port: expect.any(Number) })
    const v6 = socket('inet6', 'stream')
    addon.bindInet(v6, '::1', 0)
    expect(addon.localAddress(v6)).toEqual({ family: 6, host: '::1', port: expect.any(Number) })
  })

  it('says EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENODEV (F-05)', () => {
    const { fd, port } = bound()
    addon.listen(fd, 1)
    const second = socket('inet', 'stream')
    expect(errorOf(() => addon.bindInet(second, '127.0.0.1', port))).toEqual(systemError('EADDRINUSE', 'bind'))
    expect(errorOf(() => addon.bindInet(second, '192.0.2.1', 0))).toEqual(systemError('EADDRNOTAVAIL', 'bind'))
    expect(errorOf(() => addon.bindInet(second, 'localhost', 0))).toEqual(systemError('EINVAL', 'bind'))
    expect(errorOf(() => addon.bindInet(second, '::1', 0))).toEqual(systemError('EAFNOSUPPORT', 'bind'))
    expect(errorOf(() => addon.bindInet(fd, '127.0.0.1', 0))).toEqual(systemError('EINVAL', 'bind'))
    const v6 = socket('inet6', 'stream')
    expect(errorOf(() => addon.bindInet(v6, 'fe80::1%nowhere', 0))).toEqual(systemError('ENODEV', 'bind'))
    expect(errorOf(() => addon.bindInet(second, '127.0.0.1', 65_536))).toBeInstanceOf(RangeError)
    expect(errorOf(() => addon.bindInet(second, '127.0.0.1\0', 0))).toBeInstanceOf(TypeError)
  })

  it.runIf(isRoot)('says EACCES of a low port to another uid, and EADDRINUSE of a group that root has', async () => {
    const { fd, port } = bound((fd) => addon.setOption(fd, 'reusePort', 1))
    addon.listen(fd, 1)
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    expect(await resultOf('bind-as-another.cjs', { args: [String(port)], under: nobody })).toEqual({
      low: 'EACCES',
      group: 'EADDRINUSE',
      network: 'EPERM',
    })
  })
})

describe('bindUnix', () => {
  let directory: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'bind-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  it('takes 107 bytes (F-07)', () => {
    const path = join(directory, 'x'.repeat(107 - directory.length - 1))
    expect(path.length).toBe(107)
    const fd = socket('unix', 'stream')
    addon.bindUnix(fd, path)
    expect(addon.localAddress(fd)).toEqual({ path })
    const second = socket('unix', 'stream')
    expect(errorOf(() => addon.bindUnix(second, `${path}x`))).toEqual(systemError('ENAMETOOLONG', 'bind'))
  })

  it('never names a socket in the abstract namespace', () => {
    const fd = socket('unix', 'stream')
    expect(errorOf(() => addon.bindUnix(fd, ''))).toEqual(systemError('EINVAL', 'bind'))
    expect(errorOf(() => addon.bindUnix(fd, '\0abstract'))).toBeInstanceOf(TypeError)
    expect(addon.localAddress(fd)).toEqual({ path: '' })
  })

  it('says EADDRINUSE of a path that is there, and connect ECONNREFUSED when nobody listens on it', () => {
    const path = join(directory, 'a')
    addon.bindUnix(socket('unix', 'stream'), path)
    const second = socket('unix', 'stream')
    expect(errorOf(() => addon.bindUnix(second, path))).toEqual(systemError('EADDRINUSE', 'bind'))
    expect(errorOf(() => addon.connectUnix(second, path))).toEqual(systemError('ECONNREFUSED', 'connect'))
    expect(errorOf(() => addon.connectUnix(second, `${path}b`))).toEqual(systemError('ENOENT', 'connect'))
  })

  it('connects, and says EAGAIN when the queue of the other side is full', () => {
    const path = join(directory, 'a')
    const listener = socket('unix', 'seqpacket')
    addon.bindUnix(listener, path)
    addon.listen(listener, 0)
    const client = socket('unix', 'seqpacket')
    addon.connectUnix(client, path)
    expect(errorOf(() => addon.connectUnix(socket('unix', 'seqpacket'), path))).toEqual(
      systemError('EAGAIN', 'connect'),
    )
    const server = addon.accept(listener) as number
    open.push(server)
    addon.sendMessage(client, Buffer.from('hello'), [])
    expect(addon.receiveMessage(server, 100)?.data.toString()).toBe('hello')
  })
})

describe('connectInet', () => {
  it('connects two descriptors of this process, and each knows the other', () => {
    const { fd, port } = bound()
    addon.listen(fd, 1)
    const client = socket('inet', 'stream')
    addon.connectInet(client, '127.0.0.1', port)
    expect(addon.pollSync(fd, READABLE, 1_000)).toBe(READABLE)
    const server = addon.accept(fd) as number
    open.push(server)
    expect(addon.peerAddress(server)).toEqual(addon.localAddress(client))
    expect(addon.peerAddress(client)).toEqual(addon.localAddress(server))
  })

  it('says what is wrong, now or when the connection is used', () => {
    const { fd, port } = bound()
    expect(errorOf(() => addon.peerAddress(fd))).toEqual(systemError('ENOTCONN', 'getpeername'))
    const client = socket('inet', 'stream')
    expect(errorOf(() => addon.connectInet(client, 'localhost', port))).toEqual(systemError('EINVAL', 'connect'))
    addon.connectInet(client, '127.0.0.1', port)
    expect(errorOf(() => addon.peerAddress(client))).toEqual(systemError('ENOTCONN', 'getpeername'))
  })
})

describe('accept', () => {
  it('gives null when nobody waits, then the connection: close-on-exec and non-blocking', async () => {
    const { fd, port } = bound()
    addon.listen(fd, 8)
    expect(addon.accept(fd)).toBe(null)
    await connected(port)
    expect(addon.pollSync(fd, READABLE, 1000)).toBe(READABLE)
    const accepted = addon.accept(fd) as number
    open.push(accepted)
    expect(flagsOf(accepted)).toEqual({ closeOnExec: true, nonBlocking: true })
    expect(addon.accept(fd)).toBe(null)
  })

  it('of a socket that does not listen is EINVAL', () => {
    expect(errorOf(() => addon.accept(bound().fd))).toEqual(systemError('EINVAL', 'accept'))
  })
})

describe('acceptQueue', () => {
  it('shows how many connections wait, and how many may', async () => {
    const { fd, port } = bound()
    addon.listen(fd, 3)
    expect(addon.acceptQueue(fd)).toEqual({ length: 0, limit: 3 })
    await connected(port)
    await connected(port)
    expect(addon.acceptQueue(fd)).toEqual({ length: 2, limit: 3 })
    addon.close(addon.accept(fd) as number)
    expect(addon.acceptQueue(fd)).toEqual({ length: 1, limit: 3 })
    addon.listen(fd, 100)
    expect(addon.acceptQueue(fd)).toEqual({ length: 1, limit: 100 })
  })

  it('is EINVAL of a socket that does not listen, ENOTSUP of a unix socket', () => {
    expect(errorOf(() => addon.acceptQueue(bound().fd))).toEqual(systemError('EINVAL', 'getsockopt'))
    expect(errorOf(() => addon.acceptQueue(socket('unix', 'stream')))).toEqual(systemError('ENOTSUP', 'getsockopt'))
  })
})

describe('receiveQueue', () => {
  it('shows what waits to be read, and how much had no room', async () => {
    const fd = socket('inet', 'datagram')
    addon.bindInet(fd, '127.0.0.1', 0)
    expect(addon.receiveQueue(fd)).toEqual({ bytes: 0, dropped: 0 })
    const client = createSocket('udp4')
    const { port } = addon.localAddress(fd) as InetAddress
    const send = (): Promise<unknown> => new Promise((done) => client.send('x', port, '127.0.0.1', done))
    await send()
    const { bytes } = addon.receiveQueue(fd)
    expect(bytes).toBeGreaterThan(1)
    for (let sent = 0; addon.receiveQueue(fd).dropped < 3 && sent < 100_000; sent++) await send()
    expect(addon.receiveQueue(fd).dropped).toBe(3)
    expect(addon.receiveQueue(fd).bytes % bytes).toBe(0)
    client.close()
    await once(client, 'close')
  })
})
