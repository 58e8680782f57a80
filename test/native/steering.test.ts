import { once } from 'node:events'
import { connect } from 'node:net'
import { availableParallelism } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type InetAddress, native } from '../../src/native.js'
import { errorOf, systemError } from './support/errors'
import { resultOf } from './support/fixture'
import { openFiles, sameFilesAs } from './support/open-files'

const addon = native()
let before: number[]
let group: number[]
let port: number

beforeEach(() => {
  before = openFiles()
  group = []
  port = 0
})
afterEach(async () => {
  for (const fd of group) addon.close(fd)
  await sameFilesAs(before)
})

/** A reuseport group whose indexes are the numbers of its members. */
function makeGroup(size: number, host = '127.0.0.1'): void {
  for (let i = 0; i < size; i++) {
    const fd = addon.socket(host.includes(':') ? 'inet6' : 'inet', 'stream')
    group.push(fd)
    addon.setOption(fd, 'reusePort', 1)
    addon.bindInet(fd, host, port)
    port = (addon.localAddress(fd) as InetAddress).port
  }
  for (const fd of group) addon.listen(fd, 4096)
}

/** Makes `count` connections and gives how many of them wait at each member; takes them out again. */
async function shares(count: number, host = '127.0.0.1', localAddress?: string): Promise<number[]> {
  for (let done = 0; done < count; done += 100) {
    const batch = Array.from({ length: Math.min(100, count - done) }, () => connect({ port, host, localAddress }))
    await Promise.all(batch.map((client) => once(client, 'connect')))
    await Promise.all(batch.map((client) => once(client.destroy(), 'close')))
  }
  return group.map((fd) => {
    const { length } = addon.acceptQueue(fd)
    for (let i = 0; i < length; i++) addon.close(addon.accept(fd) as number)
    return length
  })
}

describe('by random', () => {
  it('weight 0 gets nothing, whichever member it is', async () => {
    makeGroup(3)
    addon.attachSteering(group[0] as number, [1, 0, 0], 'random')
    expect(await shares(100)).toEqual([100, 0, 0])
    addon.attachSteering(group[0] as number, [0, 0, 5], 'random')
    expect(await shares(100)).toEqual([0, 0, 100])
    addon.attachSteering(group[2] as number, [0, 1], 'random')
    expect(await shares(100)).toEqual([0, 100, 0])
  })

  it('gives [9, 1] a tenth', async () => {
    makeGroup(2)
    addon.attachSteering(group[1] as number, [9, 1], 'random')
    const [large = 0, small = 0] = await shares(2000)
    expect(large + small).toBe(2000)
    // 200 expected; six standard deviations (13.4) to either side.
    expect(small).toBeGreaterThan(120)
    expect(small).toBeLessThan(280)
  })
})

describe('by client', () => {
  it('sends one address to one member, and different ones to all', async () => {
    makeGroup(3, '0.0.0.0')
    addon.attachSteering(group[0] as number, [1, 1, 1], 'client')
    const members = new Set<number>()
    for (let i = 1; i <= 24; i++) {
      const counts = await shares(5, '127.0.0.1', `127.0.0.${i}`)
      expect(counts.filter((count) => count > 0)).toEqual([5])
      members.add(counts.indexOf(5))
    }
    expect(members.size).toBe(3)
  })

  it('reads IPv6 and, on a dual-stack group, IPv4', async () => {
    makeGroup(4, '::')
    addon.attachSteering(group[0] as number, [1, 1, 1, 1], 'client')
    expect((await shares(5, '::1')).filter((count) => count > 0)).toEqual([5])
    const members = new Set<number>()
    for (let i = 1; i <= 24; i++) members.add((await shares(2, '127.0.0.1', `127.0.0.${i}`)).indexOf(2))
    expect([...members].sort()).toEqual([0, 1, 2, 3])
  })
})

describe('a canary', () => {
  it('gets its share before anything else is chosen', async () => {
    makeGroup(3)
    const [first = 0] = group
    addon.attachSteering(first, [1, 0, 1], 'random', { index: 1, share: 1_000, by: 'random' })
    const [left = 0, own = 0, right = 0] = await shares(2000)
    expect(left + own + right).toBe(2000)
    // 200 expected; six standard deviations (13.4) to either side.
    expect(own).toBeGreaterThan(120)
    expect(own).toBeLessThan(280)
    expect(Math.min(left, right)).toBeGreaterThan(700)
    addon.attachSteering(first, [1, 0, 1], 'random', { index: 1, share: 0, by: 'client' })
    expect((await shares(100))[1]).toBe(0)
    addon.attachSteering(first, [1, 0, 1], 'random', { index: 1, share: 10_000, by: 'client' })
    expect(await shares(100)).toEqual([0, 100, 0])
  })

  it('by client keeps its clients when the others change', async () => {
    makeGroup(3, '0.0.0.0')
    const sides = async (weights: readonly number[]): Promise<boolean[]> => {
      addon.attachSteering(group[0] as number, weights, 'random', { index: 2, share: 5_000, by: 'client' })
      const seen: boolean[] = []
      for (let i = 1; i <= 24; i++) {
        const [, , own] = await shares(4, '127.0.0.1', `127.0.0.${i}`)
        expect([0, 4]).toContain(own)
        seen.push(own === 4)
      }
      return seen
    }
    const before = await sides([1, 1, 0])
    expect(new Set(before).size).toBe(2)
    expect(await sides([0, 1, 0])).toEqual(before)
    expect(await sides([1, 0, 0])).toEqual(before)
  })

  it('outside of the table is a RangeError', () => {
    makeGroup(2)
    const [fd = 0] = group
    for (const canary of [
      { index: 2, share: 1 },
      { index: -1, share: 1 },
      { index: 0, share: 10_001 },
      { index: 0, share: 0.1 },
    ])
      expect(errorOf(() => addon.attachSteering(fd, [1, 1], 'random', { ...canary, by: 'random' }))).toBeInstanceOf(
        RangeError,
      )
    for (const canary of [1, 'x', {}, { index: 0, share: 1, by: 'chance' }])
      expect(errorOf(() => addon.attachSteering(fd, [1, 1], 'random', canary as never))).toBeInstanceOf(TypeError)
    for (const none of [undefined, null]) addon.attachSteering(fd, [1, 1], 'random', none)
  })
})

describe('by cpu', () => {
  it('sends what each CPU handles to its member', async () => {
    makeGroup(2)
    addon.attachSteering(group[0] as number, [1, 1], 'cpu')
    // Over loopback the CPU that sends the SYN is the one that handles it.
    for (const cpu of [0, 1].slice(0, availableParallelism())) {
      await resultOf('connect.cjs', { args: [String(port), '20'], under: ['taskset', '-c', String(cpu)] })
      expect(await shares(0)).toEqual(cpu === 0 ? [20, 0] : [0, 20])
    }
  })
})

describe('a table', () => {
  it('that no program can be made of is a RangeError', () => {
    makeGroup(2)
    const fd = group[0] as number
    for (const weights of [[], [0], [0, 0], new Array(2001).fill(1), [-1], [0.5], [10_001], [Number.NaN]]) {
      expect(errorOf(() => addon.attachSteering(fd, weights, 'random'))).toBeInstanceOf(RangeError)
    }
    for (const weights of [undefined, '1', [undefined], ['1']]) {
      expect(errorOf(() => addon.attachSteering(fd, weights as never, 'random'))).toBeInstanceOf(TypeError)
    }
    expect(errorOf(() => addon.attachSteering(fd, [1], 'port' as never))).toBeInstanceOf(TypeError)
  })

  it('of 2,000 sockets is taken by the kernel, by whatever it chooses', () => {
    makeGroup(1)
    for (const by of ['random', 'client', 'cpu'] as const) {
      addon.attachSteering(group[0] as number, new Array(2000).fill(10_000), by)
    }
  })

  it('needs a reuseport socket', () => {
    const fd = addon.socket('inet', 'stream')
    group.push(fd)
    addon.bindInet(fd, '127.0.0.1', 0)
    expect(errorOf(() => addon.attachSteering(fd, [1], 'random'))).toEqual(systemError('EINVAL', 'setsockopt'))
  })
})

describe('detached', () => {
  it('the hash of the kernel chooses again; nothing attached is no error', async () => {
    makeGroup(2)
    addon.attachSteering(group[0] as number, [1, 0], 'random')
    expect(await shares(50)).toEqual([50, 0])
    addon.detachSteering(group[1] as number)
    addon.detachSteering(group[1] as number)
    const counts = await shares(200)
    expect(Math.min(...counts)).toBeGreaterThan(0)
  })
})
