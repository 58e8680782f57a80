import { describe, expect, it } from 'vitest'
import { orderOf } from '../../src/launcher/adoption.js'
import type { Event, Offered } from '../../src/launcher/brain/events.js'
import { step } from '../../src/launcher/brain/step.js'
import { addressOfKey, listenerKey } from '../../src/protocol.js'
import { World } from '../support/world.js'

const KEY = 'tcp *:3000'
const ADDRESS = { kind: 'tcp', host: null, port: 3000, ipv6Only: false } as const

function offered(offer: number, how: Partial<Offered>): Offered {
  return {
    offer,
    pid: 4_000 + offer,
    generation: 1,
    slot: offer,
    state: 'serving',
    term: 1,
    working: 1,
    claims: [{ claim: `${offer}:1`, address: ADDRESS, backlog: 511, listening: true, says: false, said: false }],
    sockets: [],
    adopted: [],
    ...how,
  }
}

/** Two slots, and these workers, that come to a launcher. */
function taken(bakeMs: number, workers: readonly Partial<Offered>[]): ReturnType<typeof step> {
  const { state } = new World({ bakeMs })
  const event: Event = {
    type: 'adopt',
    at: 0,
    workers: workers.map((how, offer) => offered(offer, how)),
    listeners: [{ address: ADDRESS, shared: false, sockets: { 0: 'listening', 1: 'listening' }, order: [0, 1] }],
    slots: 2,
    asked: null,
    next: { generation: 3, run: 7 },
  }
  return step(state, event)
}

/** What becomes of them, and what is done at once. */
function adopted(...workers: Partial<Offered>[]): { state: ReturnType<typeof step>['state']; did: string[] } {
  const after = taken(5_000, workers)
  const did = after.effects.flatMap((effect) => {
    if (effect.do === 'order') return `${effect.order.type} ${effect.worker}`
    return effect.do === 'kill' || effect.do === 'spawn' ? `${effect.do} ${effect.worker}` : []
  })
  return { state: after.state, did }
}

describe('a launcher that takes over', () => {
  it('the old ones were told to pause, and the new ones are gone: they serve again', () => {
    const { state, did } = adopted({ state: 'paused' }, { state: 'paused' })
    expect(did).toEqual(expect.arrayContaining(['resume 1', 'resume 2']))
    expect(state).toMatchObject({ phase: 'running', working: 1, term: 1, run: null })
  })

  it('some of the old ones were told to pause, and no new one knows of a handover: the new ones leave', () => {
    const { state, did } = adopted(
      { state: 'paused' },
      { slot: 1 },
      { generation: 2, slot: 0 },
      { generation: 2, slot: 1, state: 'held' },
    )
    expect(did).toEqual(expect.arrayContaining(['resume 1', 'drain 3', 'kill 4']))
    expect(did).not.toContain('resume 2')
    expect(state).toMatchObject({ working: 1, term: 1, run: null })
  })

  it('none has been told a term, and one is a canary: that leaves, and nobody pauses for it', () => {
    const { state, did } = adopted({ term: 0 }, { generation: 2, slot: 2, term: 0 })
    expect(did).toContain('drain 2')
    expect(did).not.toContain('pause 1')
    expect(state).toMatchObject({ working: 1, run: null })
  })

  it('two serve in one slot, of which one was to relieve the other: one stays', () => {
    const { state, did } = adopted({}, {}, { slot: 0 })
    expect(did.filter((what) => what.startsWith('drain'))).toEqual(['drain 3'])
    expect(state).toMatchObject({ working: 1, run: null })
  })

  it('one knows of the handover: it is told to all, and baked', () => {
    const { state, did } = adopted(
      { state: 'paused' },
      { slot: 1, state: 'paused' },
      { generation: 2, slot: 0, term: 2, working: 2 },
      { generation: 2, slot: 1 },
    )
    expect(did.filter((what) => what.startsWith('term'))).toHaveLength(4)
    expect(state.slots.map(({ working }) => working)).toEqual([2, 1])
    // The other slot had not been told: its candidate leaves, and it is handed over when this one has baked.
    expect(state.run).toMatchObject({ id: 7, from: 1, to: 2, committed: true, batch: [0], rest: [1] })
    expect(did).toEqual(expect.arrayContaining(['resume 2', 'drain 4']))
  })

  it('a slot that was taken away and is there again has no word of before: it is of the version that works', () => {
    const { state, did } = adopted(
      { generation: 2, slot: 0, term: 3, working: 2 },
      { slot: 1, state: 'draining', term: 2, working: 1 },
      { slot: 0, state: 'draining', term: 3, working: 2 },
    )
    expect(state).toMatchObject({ working: 2, run: null })
    expect(state.slots.map(({ working }) => working)).toEqual([2, 2])
    expect(Object.values(state.workers).filter(({ state: is }) => is === 'spawned')).toMatchObject([
      { generation: 2, slot: 1 },
    ])
    expect(did).not.toContain('resume 2')
  })

  it('the undo has a higher term than the handover: the old ones serve, whatever the new ones believe', () => {
    const { state, did } = adopted(
      { term: 3 },
      { slot: 1, state: 'paused', term: 2, working: 2 },
      { generation: 2, slot: 0, state: 'draining', term: 3 },
      { generation: 2, slot: 1, term: 2, working: 2 },
    )
    expect(state.run).toMatchObject({ from: 1, to: 2, undo: { step: 'handover' } })
    expect(did).toEqual(expect.arrayContaining(['resume 2', 'drain 4']))
    expect(state.slots.map(({ working }) => working)).toEqual([1, 1])
    expect(state.term).toBe(4)
  })

  it('an old one that has not paused yet when the new ones know of the handover: it leaves all the same', () => {
    const old = { term: 1, working: 1 } as const
    const fresh = { generation: 2, term: 2, working: 2 } as const
    let { state, effects } = taken(0, [old, { slot: 1, ...old }, { slot: 0, ...fresh }, { slot: 1, ...fresh }])
    const orders = effects.flatMap((effect) => (effect.do === 'order' ? [effect] : []))
    const answer = (type: string): void => {
      for (const { worker, seq, order } of orders) {
        if (order.type !== type) continue
        const after = step(state, { type: 'acked', at: 1, worker, seq })
        state = after.state
        effects = [...effects, ...after.effects]
      }
    }
    answer('term')
    answer('pause')
    const left = effects.flatMap((effect) =>
      effect.do === 'order' && effect.order.type === 'drain' ? effect.worker : [],
    )
    expect(left).toEqual([1, 2])
    expect(state.run).toBe(null)
  })

  it('a worker of the first start serves, the others had not come so far: they are started again (B-03)', () => {
    const { state, did } = adopted({ term: 0 }, { slot: 1, state: 'held', term: 0 })
    expect(did).toEqual(expect.arrayContaining(['kill 2', 'term 1']))
    expect(state).toMatchObject({ phase: 'running', working: 1, term: 1 })
  })

  it('nobody serves: the first start begins anew (B-03)', () => {
    const { state, did } = adopted({ state: 'held', term: 0 }, { slot: 1, state: 'held', term: 0 })
    expect(did).toEqual(['kill 1', 'kill 2', 'spawn 3', 'spawn 4'])
    expect(state).toMatchObject({ phase: 'starting', next: { generation: 4, run: 7 } })
  })
})

describe('the order of a group', () => {
  it.each([
    ['as it was noted', [0, 1, 2], [0, 1, 2], [2, 0, 1], [2, 0, 1]],
    ['noted, and not yet done', [0, 1, 2], [0, 1], [0, 1, 2], [0, 1]],
    ['done, and not yet noted', [0, 1, 2], [0, 1, 2], [1, 0], [1, 0, 2]],
    ['gone with the launcher: the last one moves into the hole', [0, 1, 2], [0, 1, 2], [3, 0, 1, 2], [2, 0, 1]],
    ['gone from the end', [0, 1], [0, 1], [0, 1, 2, 3], [0, 1]],
    ['two not noted: not known', [0, 1, 2], [0, 1, 2], [0], null],
    ['two gone, and it depends on which went first', [0, 1], [0, 1], [2, 3, 0, 1], null],
  ])('%s', (_, there, listening, noted, order) => {
    expect(orderOf(there, listening, noted)).toEqual(order)
  })
})

it.each([
  'tcp *:3000',
  'tcp 127.0.0.1:80',
  'tcp [::1]:3000 ipv6only',
  'tcp [fe80::1%eth0]:1',
  'udp *:53',
  'unix /run/a b.sock',
])('%s is read as it was written', (key) => {
  const address = addressOfKey(key)
  expect(address && listenerKey(address)).toBe(key)
})

it.each(['', 'tcp', 'tcp *', 'unix a', 'tcp a:b', `${KEY}x`])('%j is no listener', (key) => {
  expect(addressOfKey(key)).toBeUndefined()
})
