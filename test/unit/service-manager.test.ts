import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { takeServiceEnvironment } from '../../src/launcher/service/environment'
import { FdStore } from '../../src/launcher/service/fd-store'
import { heritageOf } from '../../src/launcher/service/heritage'
import { type News, newsOf, type View } from '../../src/launcher/service/news'
import { parseStoredName, type StoredName, storedName } from '../../src/launcher/service/stored-name'
import type { Native } from '../../src/native'
import { ServiceSocket } from '../../src/service-socket'
import { temporaryDirectory } from '../support/launcher'
import { ROOT } from '../support/paths'
import { until } from '../support/until'
import { World } from '../support/world'

const TCP = 'tcp *:3000'
const at = (slot: number, index = slot, listener = TCP): StoredName => ({ listener, slot, index })

describe('the environment of a service', () => {
  const take = (env: NodeJS.ProcessEnv): unknown => {
    const { variables: _, ...rest } = takeServiceEnvironment(env)
    return { ...rest, left: Object.keys(env) }
  }
  const nothing = { socket: undefined, watchdogMs: undefined, mostStored: 0, left: [] }

  it('is taken out, and understood', () => {
    const env = {
      NOTIFY_SOCKET: '@a',
      WATCHDOG_USEC: '1500',
      WATCHDOG_PID: String(process.pid),
      FDSTORE: '7',
      PATH: '/',
    }
    expect(take(env)).toEqual({ socket: '@a', watchdogMs: 1.5, mostStored: 7, left: ['PATH'] })
  })

  it.each<[NodeJS.ProcessEnv, object]>([
    [{}, {}],
    [{ NOTIFY_SOCKET: '' }, {}],
    [{ NOTIFY_SOCKET: 'vsock:2:9999' }, {}],
    [
      { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '1000' },
      { socket: '/run/n', watchdogMs: 1 },
    ],
    [{ WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' }, {}],
    [{ WATCHDOG_USEC: '0', FDSTORE: '-1' }, {}],
    [{ WATCHDOG_USEC: '1e3', FDSTORE: 'yes' }, {}],
  ])('%j', (env, expected) => {
    expect(take(env)).toEqual({ ...nothing, ...expected })
  })
})

describe('names of stored sockets', () => {
  it('come back as they were, and are such as systemd takes', () => {
    const path = fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => `unix /${text.replaceAll('\0', '')}`)
    const listener = fc.oneof(
      fc.constantFrom(TCP, 'tcp [::1]:80 ipv6only', 'udp 127.0.0.1:53', 'unix /run/a+b c%.sock'),
      path,
    )
    fc.assert(
      fc.property(fc.record({ listener, slot: fc.nat(1_023), index: fc.nat(1_023) }), (one) => {
        const name = storedName(one)
        if (name === null) return expect(encodeURIComponent(one.listener).length).toBeGreaterThan(200)
        // fdname_is_valid(): no control character, no ':', ASCII.
        expect(name).toMatch(/^[\x21-\x39\x3b-\x7e]{1,255}$/)
        expect(parseStoredName(name)).toEqual(one)
      }),
    )
  })

  it('are no names of a socket unit', () => {
    for (const name of [
      'web',
      'reuseport-run',
      'reuseport-run.0.0.',
      'reuseport-run.a.0.tcp',
      'reuseport-run.0.0.%',
      '',
    ])
      expect(parseStoredName(name)).toBeNull()
  })
})

describe('what the service manager is told', () => {
  const view = (phase: View['phase'], reload = 0, isReloading = false): View => ({
    phase,
    reload,
    isReloading,
    text: '',
  })
  it.each<[string, readonly View[], readonly News[]]>([
    ['a start', [view('starting'), view('starting'), view('running'), view('running')], ['ready']],
    ['workers that serve already', [view('running')], ['ready']],
    ['a reload', [view('running'), view('running', 1, true), view('running', 1)], ['ready', 'reloading', 'ready']],
    ['one that ends at once', [view('running'), view('running', 1)], ['ready', 'reloading', 'ready']],
    [
      'one after the other',
      [view('running'), view('running', 1, true), view('running', 2, true), view('running', 2)],
      ['ready', 'reloading', 'ready', 'reloading', 'ready'],
    ],
    [
      'one that comes and goes beside the end of another',
      [view('running'), view('running', 1, true), view('running', 2)],
      ['ready', 'reloading', 'ready', 'reloading', 'ready'],
    ],
    ['one that was asked for before', [view('starting'), view('running', 1, true)], ['ready', 'reloading']],
    [
      'a stop in a reload',
      [view('running'), view('running', 1, true), view('stopping', 1)],
      ['ready', 'reloading', 'stopping'],
    ],
    ['a stop', [view('stopping'), view('stopping'), view('stopped')], ['stopping']],
  ])('%s', (_, views, expected) => {
    expect(views.flatMap((now, index) => newsOf(views[index - 1] ?? null, now))).toEqual(expected)
  })
})

describe('the store', () => {
  it('knows the order of every group, whatever is closed in whatever order', () => {
    const slots = fc.array(fc.nat(6), { maxLength: 30 })
    fc.assert(
      fc.property(slots, (moves) => {
        const kept = new Map<string, number>()
        /** What the kernel does (kernel.md §3). */
        const group: number[] = []
        const store = new FdStore({
          most: 100,
          log: () => expect.fail(),
          barrier: () => Promise.resolve(true),
          send: ([what, name = ''], [fd] = []) => {
            if (what === 'FDSTOREREMOVE=1') expect(kept.delete(name)).toBe(true)
            else kept.set(name, fd as number)
          },
        })
        for (const slot of moves) {
          const socket = { listener: TCP, slot }
          const place = group.indexOf(slot)
          if (place === -1) {
            group.push(slot)
            store.keep(socket, slot)
          } else {
            const last = group.pop() as number
            if (place < group.length) group[place] = last
            store.drop(socket, (moved) => moved.slot)
          }
          expect(Object.fromEntries(kept)).toEqual(
            Object.fromEntries(group.map((one, index) => [`FDNAME=${storedName(at(one, index))}`, one])),
          )
        }
      }),
    )
  })

  it('says when it is full, and what was given back is in it', () => {
    const said: string[] = []
    const store = new FdStore({
      most: 2,
      log: (_, event) => said.push(event),
      barrier: () => Promise.resolve(true),
      send: (lines) => said.push(lines.join()),
    })
    store.took([at(0)])
    store.keep(at(0), 10)
    store.keep(at(1), 11)
    store.keep(at(2), 12)
    store.keep(at(3), 13)
    expect(said).toEqual([`FDSTORE=1,FDNAME=${storedName(at(1))},FDPOLL=0`, 'store.full'])
  })

  it('lets go of a socket before its group does, and has it again if it is wanted', async () => {
    const said: string[] = []
    let answers = false
    const store = new FdStore({
      most: 9,
      log: () => {},
      barrier: () => Promise.resolve(answers),
      send: ([what = '']) => said.push(what),
    })
    expect(store.release([at(0)])).toBeUndefined()
    store.keep(at(0), 10)
    expect(await store.release([at(0)])).toBe(false)
    answers = true
    // What it did not confirm is asked for once more.
    expect(await store.release([at(0)])).toBe(true)
    expect(store.release([at(0)])).toBeUndefined()
    store.keepAgain(at(0), 10)
    store.keepAgain(at(1), 11)
    expect(said).toEqual(['FDSTORE=1', 'FDSTOREREMOVE=1', 'FDSTORE=1'])
  })
})

describe('the socket of the service manager', () => {
  it('keeps the order of what it could not take at once', async () => {
    const taken: string[] = []
    let room = 1
    const fake = {
      socket: () => 1,
      close: () => {},
      closeAll: () => {},
      sendDatagram: (_fd: number, _path: string, data: Uint8Array) => {
        if (room-- <= 0) return false
        taken.push(String(data))
        return true
      },
    }
    const socket = new ServiceSocket(fake as unknown as Native, '/run/notify')
    for (const word of ['one', 'two', 'three']) {
      socket.send([word])
      // Room for one comes back while another waits.
      if (word === 'two') room = 1
    }
    expect(taken).toEqual(['one'])
    await until('it is tried again', () => taken.length === 2)
    room = 9
    await until('all is told', () => taken.length === 3)
    expect(taken).toEqual(['one', 'two', 'three'])
    socket.close()
  })
})

describe('what a predecessor has left', () => {
  it('is in the order of its group for the brain: what goes is steered away from', () => {
    const world = new World({ slots: 3 })
    world.group.push(2, 0, 1)
    world.state.stored = { [TCP]: [2, 0, 1] }
    world.start()
    expect(world.state.stored).toEqual({})
    expect(world.state.listeners[TCP]).toMatchObject({
      order: [2, 0, 1],
      sockets: { 0: 'listening', 1: 'listening', 2: 'listening' },
    })
    world.tell({ type: 'scale', caller: null, workers: 2, isRelative: false })
    expect(world.program).toEqual([0, 1, 1])
    world.settle()
    expect(world.state.listeners[TCP]?.order).toEqual(world.group)
  })

  const how = { workers: 2, canScale: true, given: [] }

  it('is for as many slots, in the order of the group', () => {
    const stored = [at(2, 0), at(0, 2), at(1, 1), at(0, 0, 'unix /a')]
    expect(heritageOf(stored, how)).toMatchObject({
      orders: { [TCP]: [2, 1, 0], 'unix /a': [0] },
      slots: 3,
      isInOrder: true,
    })
  })

  it('cannot be steered when one is missing', () => {
    expect(heritageOf([at(0), at(1, 2)], how)).toMatchObject({ orders: { [TCP]: [0, 1] }, isInOrder: false })
    expect(heritageOf([at(0, 1)], how)).toMatchObject({ slots: 2, isInOrder: false })
  })

  it('is not for slots that cannot be scaled away, nor for a socket that comes from elsewhere', () => {
    const foreign = heritageOf([at(0), at(1), at(2)], { ...how, canScale: false })
    expect(foreign).toMatchObject({ orders: { [TCP]: [0, 1] }, slots: 2, isInOrder: true })
    expect([1, 2].map((slot) => foreign.isWanted(at(slot)))).toEqual([true, false])
    expect(heritageOf([at(0), at(5)], { ...how, given: [TCP] })).toMatchObject({ orders: {}, slots: 2 })
  })
})

describe('the units', () => {
  const folder = join(ROOT, 'examples', 'systemd')
  const units = readdirSync(folder)
  const version = Number(
    /^systemd (\d+)/.exec(execFileSync('systemd-analyze', ['--version'], { encoding: 'utf8' }))?.[1],
  )

  it.each(units)('%s is one that systemd takes without a word', (name) => {
    const place = temporaryDirectory()
    // Only its place on the disk is not what it will be.
    for (const one of units)
      writeFileSync(
        join(place, one),
        readFileSync(join(folder, one), 'utf8').replaceAll('/usr/local/bin/reuseport-run', '/bin/true'),
      )
    // It ends well whatever it says, and it says it on stderr.
    const words = ['-c', 'systemd-analyze verify --man=no "$1" 2>&1', 'sh', join(place, name)]
    const lines = execFileSync('sh', words, { encoding: 'utf8' }).split('\n').filter(Boolean)
    const isTooOld = name !== 'shop-systemd-252.service' && version < 253
    expect(
      lines.filter((line) => !isTooOld || !line.endsWith('Failed to parse service type, ignoring: notify-reload')),
    ).toEqual([])
  })

  it('differ in what systemd has learnt', () => {
    const settings = (name: string): string[] =>
      readFileSync(join(folder, name), 'utf8')
        .split('\n')
        .filter((line) => /^\w+=/.test(line))
    const [now, before] = [settings('shop.service'), settings('shop-systemd-252.service')]
    expect(now.filter((line) => !before.includes(line))).toEqual(['Type=notify-reload'])
    expect(before.filter((line) => !now.includes(line))).toEqual([
      'Type=notify',
      'ExecReload=/usr/local/bin/reuseport-run reload --name shop',
      'Environment=FDSTORE=64',
    ])
  })
})
