import { type ChildProcess, spawn } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Channel } from '../../src/channel'
import { type FromOld, HANDOVER_VERSION } from '../../src/library/handover/messages'
import { Offer, type OfferWorld } from '../../src/library/handover/offer'
import type { Native } from '../../src/native'
import { isAlive } from '../support/processes'
import { until } from '../support/until'
import { native } from '../support/worker/addon'

/*
 * The old one's side of a handover, up to the moment at which the new one has it. The new one is played by the test; a process that sleeps stands
 * for it where it has to die.
 */

interface Scene {
  offer: Offer
  told: string[]
  /** What the new one has got: types, or what it was refused for. */
  got: string[]
  fds: number[]
  says(message: object): void
  hangsUp(): void
}

let sleeper: ChildProcess
const open: Channel[] = []
beforeEach(() => {
  sleeper = spawn('sleep', ['60'], { stdio: 'ignore' })
})
afterEach(() => {
  for (const channel of open.splice(0)) channel.close()
  sleeper.kill('SIGKILL')
})

function scene(more: { isBusy?: boolean; uid?: number; pid?: number; readyTimeoutMs?: number } = {}): Scene {
  const [ours, theirs] = native.socketPair()
  const credentials = { pid: more.pid ?? (sleeper.pid as number), uid: more.uid ?? process.geteuid?.() ?? 0, gid: 0 }
  const kernel: Native = {
    ...native,
    peerCredentials: () => credentials,
    peerPidfd: () => native.pidfdOpen(credentials.pid),
  }
  const told: string[] = []
  const got: string[] = []
  const fds: number[] = []
  const channel = new Channel(native, theirs, () => {
    for (;;) {
      const packet = channel.receive()
      if (packet === 'empty') return
      if (packet === 'end') return void got.push('end')
      const message = JSON.parse(packet.data.toString()) as FromOld
      got.push(message.type === 'refused' ? `refused ${message.code}` : message.type)
      for (const fd of packet.fds) {
        fds.push(fd)
        native.close(fd)
      }
    }
  })
  channel.start()
  open.push(channel)
  const world: OfferWorld = {
    generation: 7,
    readyTimeoutMs: more.readyTimeoutMs ?? 60_000,
    begin: () => more.isBusy !== true,
    sockets: () => ['path', 'lock', 'tcp *:1'].map((name) => ({ name, fd: 0 })),
    keepFlows: () => undefined,
    taken: (_talk, takes) => told.push(`taken ${takes}`),
    over: () => told.push('over'),
    heard: ({ type }) => told.push(`heard ${type}`),
    ended: () => told.push('ended'),
  }
  const offer = new Offer(kernel, ours, world)
  return {
    offer,
    told,
    got,
    fds,
    says: (message) => void channel.send(message),
    hangsUp: () => channel.close(),
  }
}

const HELLO = { type: 'hello', version: HANDOVER_VERSION }
const READY = { type: 'ready', takes: ['tcp *:1'] }
const said = ({ got, told }: Scene, ...words: string[]): Promise<boolean> =>
  until(
    () => `${words} of ${got} ${told}`,
    () => words.every((word) => [...got, ...told].includes(word)),
  )

describe('a handover', () => {
  test('is done when the new one says that it accepts, and not before', async () => {
    const one = scene()
    one.says(HELLO)
    await said(one, 'sockets')
    expect(one.fds).toHaveLength(3)
    one.says(READY)
    await said(one, 'commit')
    expect(one.told).toEqual([])
    one.says({ type: 'acting' })
    // Behind it in the same breath.
    one.says({ type: 'take', listener: 'tcp *:2' })
    await said(one, 'heard take', 'taken')
    one.hangsUp()
    await said(one, 'ended')
    expect(one.told).toEqual(['taken tcp *:1', 'heard take', 'ended'])
    // It hears that the old one has let go.
    expect(one.got).toEqual(['sockets', 'commit', 'taken'])
    expect(isAlive(sleeper.pid as number)).toBe(true)
  })

  test.each([
    ['nothing', []],
    ['hello', [HELLO]],
    ['ready', [HELLO, READY]],
    ['acting, as its last word', [HELLO, READY, { type: 'acting' }]],
  ])('has not been if the new one hangs up after %s', async (_, words) => {
    const one = scene()
    for (const word of words) {
      one.says(word)
      if (word === HELLO) await said(one, 'sockets')
      if (word === READY) await said(one, 'commit')
    }
    one.hangsUp()
    await said(one, 'over')
    expect(one.told).toEqual(['over'])
  })

  test('goes by its order: a step too early is nothing', async () => {
    const one = scene()
    for (const word of [{ type: 'acting' }, READY, { type: 'no such' }, HELLO]) one.says(word)
    await said(one, 'sockets')
    for (const word of [{ type: 'acting' }, HELLO, { type: 'ready' }, { type: 'ready', takes: 'all' }, READY])
      one.says(word)
    await said(one, 'commit')
    expect(one.got).toEqual(['sockets', 'commit'])
    expect(one.told).toEqual([])
    one.offer.close()
    expect(one.told).toEqual(['over'])
  })
})

test.each([
  ['no type', {}],
  ['a descriptor too many', { type: 'hello', version: HANDOVER_VERSION, fds: ['x'] }],
  ['a list', []],
])('what is no message ends it: %s', async (_, word) => {
  const one = scene()
  one.says(word)
  await said(one, 'over', 'end')
  expect(one.got).toEqual(['end'])
})

test.each([
  ['busy', { isBusy: true }, HELLO],
  ['version', {}, { type: 'hello', version: HANDOVER_VERSION + 1 }],
  ['who', { uid: 12_345 }, undefined],
  ['who', { pid: process.pid }, undefined],
  ['who', { pid: 0 }, undefined],
])('refused: %s %o (O-08)', async (code, more, word) => {
  const one = scene(more)
  if (word !== undefined) one.says(word)
  await said(one, `refused ${code}`, 'end')
  expect(one.fds).toEqual([])
  expect(one.told).toEqual(['over'])
})

describe('a new one that is late', () => {
  test('to be ready is told so, and is over when it has closed what it has', async () => {
    const one = scene({ readyTimeoutMs: 20 })
    one.says(HELLO)
    await said(one, 'refused late')
    expect(one.told).toEqual([])
    one.hangsUp()
    await said(one, 'over')
    expect(isAlive(sleeper.pid as number)).toBe(true)
  })

  test('and does not hear it is killed, and waited for', async () => {
    const one = scene({ readyTimeoutMs: 20 })
    one.says(HELLO)
    await said(one, 'over')
    expect(isAlive(sleeper.pid as number)).toBe(false)
    // What it says now comes from the grave.
    expect(one.told).toEqual(['over'])
  })
})
