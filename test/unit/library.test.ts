import { describe, expect, it } from 'vitest'
import { parseReport } from '../../src/launcher/report.js'
import { whatIsLacking } from '../../src/library/reuse-port.js'
import { World } from '../support/world.js'

const orders = (world: World, worker: number): string[] =>
  world.did('order').flatMap((effect) => (effect.do === 'order' && effect.worker === worker ? [effect.order.type] : []))
const modes = (world: World): string[] =>
  world.did('answer').map((effect) => (effect.do === 'answer' ? effect.answer.mode : ''))
const listened = (world: World): unknown[] =>
  world.did('listen').map((effect) => effect.do === 'listen' && [effect.listener, effect.slot])

/** A worker of the first start listens on one more address. */
function listenLate(world: World, worker: number, port: number, says: boolean): void {
  const claim = `1:${port}`
  const address = { kind: 'tcp', host: null, port, ipv6Only: false } as const
  world.tell({ type: 'claim', worker, claim, address, backlog: 511, says })
  world.tell({ type: 'listening', worker, claim })
}

describe('a program that says itself when it is ready', () => {
  it.each(['listening', 'message'] as const)(
    'is held at the first start too, until it has said so (--ready %s)',
    (ready) => {
      const world = new World({ ready }, () => 'never-says-itself').start()
      expect(modes(world)).toEqual(['hold', 'hold'])
      expect(world.state.phase).toBe('starting')
      world.tell({ type: 'ready', worker: 1, claim: '1:1' })
      world.settle()
      // The first to be ready serves: there is no old version that both would have to replace.
      expect([...world.acceptors].filter(([, workers]) => workers.size > 0).map(([slot]) => slot)).toEqual([0])
      expect(listened(world)).toEqual([['tcp *:3000', 0]])
      world.tell({ type: 'ready', worker: 2, claim: '1:1' })
      world.settle()
      expect(world.state).toMatchObject({ phase: 'running', working: 1 })
      expect([...world.acceptors.keys()]).toEqual([0, 1])
    },
  )

  it.each(['listening', 'message', 'notify'] as const)(
    'is refused when it does not, and told what to call (--ready %s)',
    (ready) => {
      const world = new World({ ready, readyTimeoutMs: 500 }, (generation) =>
        generation === 2 ? 'never-says-itself' : 'good',
      ).start()
      world.tell({ type: 'reload', caller: 1, wait: 'baked' })
      world.settle()
      while (world.verdicts.length === 0 && world.ring()) world.settle()
      expect(world.verdicts[0]?.verdict).toMatchObject({ result: 'aborted', step: 'ready' })
      expect(world.verdicts[0]?.verdict.reason).toContain('did not call listener.ready() for tcp *:3000 within 500 ms')
      expect(world.serving(1)).toEqual([0, 1])
    },
  )

  it('takes over when it has, without the word of --ready, and a respawn of it is held in the same way', () => {
    const world = new World({ ready: 'message' }, () => 'says-itself').start()
    world.tell({ type: 'reload', caller: 1, wait: 'retired' })
    world.settle()
    expect(world.verdicts.at(-1)?.verdict).toMatchObject({ result: 'done', to: 2 })
    world.conduct = () => 'never-says-itself'
    world.crash(3)
    world.settle()
    expect(world.serving(2)).toEqual([1])
    world.tell({ type: 'ready', worker: 5, claim: '1:1' })
    world.settle()
    expect(world.serving(2).sort()).toEqual([0, 1])
  })

  it('is ready when it has said so of every listener that has to', () => {
    const world = new World({ slots: 1 }, () => 'never-says-itself').start()
    listenLate(world, 1, 3001, true)
    listenLate(world, 1, 3002, false)
    // A plain listen() of such a program is held with the others.
    expect(modes(world)).toEqual(['hold', 'hold', 'hold'])
    world.tell({ type: 'ready', worker: 1, claim: '1:1' })
    world.settle()
    expect(world.state.phase).toBe('starting')
    world.tell({ type: 'ready', worker: 1, claim: '1:3001' })
    world.settle()
    expect(world.state.phase).toBe('running')
    expect(listened(world)).toHaveLength(3)
  })

  it('has a listener that it opens late, while it serves, held until it says so of that one', () => {
    const world = new World().start()
    listenLate(world, 1, 3001, true)
    world.settle()
    expect(modes(world)).toEqual(['go', 'go', 'hold'])
    expect(listened(world)).toEqual([])
    expect(orders(world, 1)).not.toContain('resume')
    world.tell({ type: 'ready', worker: 1, claim: '1:3001' })
    world.settle()
    expect(listened(world)).toEqual([['tcp *:3001', 0]])
    expect(orders(world, 1)).toContain('resume')
    expect(world.serving(1)).toEqual([0, 1])
  })

  it('accepts from a listener that was late for the order to serve, and from no silent one', () => {
    const world = new World({ slots: 1 }, () => 'never-says-itself').start()
    world.tell({ type: 'ready', worker: 1, claim: '1:1' })
    expect(orders(world, 1)).toContain('admit')
    listenLate(world, 1, 3001, true)
    listenLate(world, 1, 3002, true)
    world.tell({ type: 'ready', worker: 1, claim: '1:3001' })
    world.settle()
    expect(listened(world)).toEqual([
      ['tcp *:3000', 0],
      ['tcp *:3001', 0],
    ])
    expect(orders(world, 1).filter((type) => type === 'admit' || type === 'resume')).toEqual(['admit', 'resume'])
  })

  it('is not told to accept while it is being replaced', () => {
    const world = new World({ bakeMs: 5_000 }).start()
    listenLate(world, 1, 3001, true)
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    const reach = (step: string): void => {
      while (world.state.run?.step !== step) world.happen(0)
    }
    reach('handover')
    world.tell({ type: 'ready', worker: 1, claim: '1:3001' })
    expect(orders(world, 1).at(-1)).toBe('pause')
    expect(listened(world)).toEqual([])
    // Until it is gone back to.
    reach('bake')
    world.crash(4)
    world.settle()
    expect(world.verdicts.at(-1)?.verdict.result).toBe('undone')
    expect(listened(world)).toEqual([['tcp *:3001', 0]])
  })

  it('leaves when a late listener cannot be had, and is replaced', () => {
    const world = new World().start()
    listenLate(world, 1, 3001, true)
    world.tell({ type: 'ready', worker: 1, claim: '1:3001' })
    world.tell({ type: 'listen-failed', worker: 1, listener: 'tcp *:3001', message: 'somebody has it' })
    expect(orders(world, 1).at(-1)).toBe('drain')
    world.settle()
    expect(world.serving(1).sort()).toEqual([0, 1])
    expect(world.state.workers[1]).toBeUndefined()
  })
})

it.each([
  ['linux', 'v20.19.0', 'Node 20.19.0 cannot set SO_REUSEPORT (22.12, 23.1 and newer can)'],
  ['linux', 'v22.11.0', expect.stringContaining('22.11.0')],
  ['linux', 'v22.12.0', null],
  ['linux', 'v23.0.0', expect.stringContaining('23.0.0')],
  ['linux', 'v23.1.0', null],
  ['linux', 'v26.0.0', null],
  ['darwin', 'v26.0.0', 'SO_REUSEPORT is used on Linux only, and this is darwin'],
] as const)('SO_REUSEPORT on %s with Node %s', (platform, version, lack) => {
  expect(whatIsLacking(platform, version)).toEqual(lack)
})

it('is believed in what it says of itself only in the form that it has (I-05)', () => {
  const claim = { type: 'claim', id: 1, address: { kind: 'tcp', host: null, port: 1, ipv6Only: false }, backlog: 1 }
  const isTaken = (report: object): boolean => {
    try {
      return parseReport(Buffer.from(JSON.stringify(report))) !== undefined
    } catch {
      return false
    }
  }
  expect([{}, { ready: 'program' }].map((more) => isTaken({ ...claim, ...more }))).toEqual([true, true])
  expect([{ ready: 'x' }, { ready: true }, { ready: null }].some((more) => isTaken({ ...claim, ...more }))).toBe(false)
  expect([{}, { id: 1 }].map((more) => isTaken({ type: 'ready', ...more }))).toEqual([true, true])
  expect([{ id: '1' }, { id: null }, { id: 1.5 }].some((more) => isTaken({ type: 'ready', ...more }))).toBe(false)
})
