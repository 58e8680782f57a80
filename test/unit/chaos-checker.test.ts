import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type Logged, violation } from '../support/log-automaton.js'
import { ROOT } from '../support/paths.js'

/* The checker of the chaos run (scripts/chaos): a history as it should be, and histories with one thing wrong, which must be refused for it. */

interface Hold {
  readonly port: number
  readonly from: number
  readonly to: number | null
}
interface Ledger {
  readonly pid: number
  readonly kind: string | null
  readonly number: number | null
  readonly since: number
  readonly held: readonly Hold[]
}
type Answer = readonly [string, number, number, number, number, number, string, number]
interface Loss {
  readonly client: string
  readonly opened: number
  readonly at: number
  readonly localPort: number | null
  readonly bucket: string
}
interface History {
  readonly answers: readonly Answer[]
  readonly lost: readonly Loss[]
  readonly closed: readonly Loss[]
  readonly ledgers: readonly Ledger[]
  readonly deploys: readonly { at: number; kind: string; number: number }[]
  readonly orders: readonly object[]
  readonly kills: readonly { pid: number; at: number }[]
  readonly deaths: readonly { from: number; to: number }[]
  readonly log: readonly (Logged & { at: number; pid: number; level: number })[]
}
interface Found {
  readonly reasons: readonly string[]
  readonly explained: Readonly<Record<string, number>>
  readonly late: number
}

const load = (name: string): Promise<unknown> =>
  import(pathToFileURL(join(ROOT, 'scripts', 'chaos', name)).href) as Promise<unknown>
const { check, launchersOf } = (await load('checker.mjs')) as {
  check(history: History, replay: typeof violation): Found
  launchersOf(log: readonly object[]): readonly (readonly object[])[]
}
const { parseLedger } = (await load('ledger.mjs')) as { parseLedger(pid: number, text: string): Ledger }

const LAUNCHER = 1
const hold = (port: number, from: number, to: number | null): Hold => ({ port, from, to })
const worker = (pid: number, since: number, held: readonly Hold[] = [], kind = 'good', number = 0): Ledger => ({
  ...{ pid, kind, number, since, held },
})
const answer = (opened: number, port: number, pid: number, number = 0, kind = 'good'): Answer => [
  ...(['fresh', opened, opened, opened + 5, port, pid, kind, number] as const),
]
const loss = (opened: number, at: number, localPort: number | null, bucket = 'reset-after-request'): Loss => ({
  ...{ client: 'kept', opened, at, localPort, bucket },
})
const say = (at: number, msg: string, more: object = {}): History['log'][number] => ({
  ...{ at, msg, pid: LAUNCHER, level: 30 },
  ...more,
})
const of = (pid: number, slot: number, generation: number): object => ({ workerPid: pid, slot, generation })

/** Two workers, of which 10 is killed at 500 with the connection of port 5000 in hand, and started again as 12; a reload to 20 and 21, done at 900. */
const GOOD: History = {
  answers: [answer(100, 5100, 10), answer(110, 5101, 11), answer(950, 5102, 20, 1)],
  lost: [loss(200, 501, 5000)],
  closed: [],
  ledgers: [
    worker(10, 50, [hold(5100, 101, 105), hold(5000, 201, null)]),
    worker(11, 50, [hold(5101, 111, 115), hold(5001, 210, 920)]),
    worker(12, 550),
    worker(20, 800, [hold(5102, 951, 955), hold(5001, 921, 990)], 'good', 1),
    worker(21, 800, [], 'good', 1),
  ],
  deploys: [{ at: 700, kind: 'good', number: 1 }],
  orders: [{ order: 'reload', wait: 'baked', at: 710, end: 900, number: 1, result: 'done' }],
  kills: [{ pid: 10, at: 500 }],
  deaths: [],
  log: [
    say(40, 'launcher.started'),
    ...[10, 11].map((pid, slot) => say(45, 'worker.spawned', of(pid, slot, 1))),
    ...[10, 11].map((pid, slot) => say(60, 'worker.serving', of(pid, slot, 1))),
    say(61, 'launcher.serving'),
    say(502, 'worker.exited', { ...of(10, 0, 1), level: 50 }),
    say(503, 'worker.spawned', of(12, 0, 1)),
    say(560, 'worker.serving', of(12, 0, 1)),
    say(720, 'reload.started', { id: 1, from: 1, to: 2 }),
    ...[20, 21].map((pid, slot) => say(730, 'worker.spawned', of(pid, slot, 2))),
    ...[20, 21].map((pid, slot) => say(810, 'worker.serving', of(pid, slot, 2))),
    say(820, 'reload.admitted', { id: 1 }),
    say(821, 'reload.baking', { id: 1 }),
    say(899, 'reload.done', { id: 1 }),
    ...[12, 11].flatMap((pid, slot) => [
      say(980, 'worker.drained', of(pid, slot, 1)),
      say(985, 'worker.exited', of(pid, slot, 1)),
    ]),
    say(990, 'reload.retired', { id: 1 }),
  ],
}

const checked = (changes: Partial<History>): Found => check({ ...GOOD, ...changes }, violation)
const more = <Key extends keyof History>(key: Key, ...added: History[Key][number][]): Partial<History> => ({
  [key]: [...GOOD[key], ...added],
})
/** With another ledger in the place of the one of this pid. */
const noted = (ledger: Ledger): Partial<History> => ({
  ledgers: GOOD.ledgers.map((one) => (one.pid === ledger.pid ? ledger : one)),
})
/** For a while. */
const STUCK = ['worker.stuck', 'worker.back'].map((msg, index) => say(830 + index, msg, of(11, 1, 1)))
const bad = (number = 9): Answer => answer(960, 5900, 21, number)

it('a good history is taken, with what a killed worker had in hand', () => {
  expect(checked({})).toMatchObject({ reasons: [], explained: { lost: 1, closed: 0, 'in hand': 1 }, late: 0 })
})

describe('taken, since a worker that ended explains it', () => {
  it.each<[string, Partial<History>, string]>([
    ['an idle connection that it had', { lost: [], closed: [loss(200, 501, 5000, 'closed')] }, 'in hand'],
    ['one that it had taken and not noted', { lost: [loss(495, 501, 5555)] }, 'unnoted'],
    [
      'one that was reset before its client knew its port',
      { lost: [loss(200, 501, null, 'reset-connecting')] },
      'in hand',
    ],
    [
      'one that an old worker had given to it, and that it had not noted',
      {
        lost: [loss(205, 501, 5001)],
        ...noted(worker(11, 50, [hold(5001, 210, 490)])),
        log: GOOD.log.toSpliced(6, 0, say(495, 'worker.drained', of(11, 1, 1))),
      },
      'in transit',
    ],
  ])('%s', (_, changes, reason) => {
    const { reasons, explained } = checked(changes)
    expect(reasons).toEqual([])
    expect(explained[reason]).toBe(1)
  })

  it('a version that ends by itself', () => {
    const brief = worker(20, 800, [hold(5102, 951, null)], 'brief', 1)
    const exit = say(991, 'worker.exited', { ...of(20, 0, 2), level: 50 })
    expect(checked({ ...noted(brief), ...more('lost', loss(950, 992, 5102)), ...more('log', exit) }).reasons).toEqual(
      [],
    )
  })

  it('a generation whose drain was cut short', () => {
    const log = GOOD.log.toSpliced(-5, 0, say(970, 'generation.cut', { generation: 1 }))
    const changes = {
      ...noted(worker(11, 50, [hold(5009, 210, null)])),
      ...more('closed', loss(205, 986, 5009, 'closed')),
    }
    expect(checked({ ...changes, log }).reasons).toEqual([])
    expect(checked(changes).reasons).toEqual([expect.stringMatching(/^1 closed, and not with a worker/)])
  })
})

describe('refused as lost', () => {
  it.each<[string, Partial<History>]>([
    ['in the hands of one that lives', more('lost', loss(300, 501, 5001), loss(205, 501, 5001))],
    ['with nobody, and nobody died', { kills: [], ...more('lost', loss(600, 610, 5556)) }],
    ['a second one that was not noted', { lost: [loss(495, 501, 5555), loss(496, 501, 5556)] }],
    ['opened after the end of the only one that died', { lost: [loss(3_000, 3_001, 5555)] }],
    [
      'that had moved on to one that lives',
      { ...noted(worker(11, 50, [hold(5000, 300, 501)])), log: GOOD.log.filter(({ msg }) => msg !== 'worker.drained') },
    ],
    ['that the killed one had given back long before', noted(worker(10, 50, [hold(5000, 201, 205)]))],
    ['of one that had ended in order before it was killed', { kills: [{ pid: 10, at: 503 }] }],
    ['not answered in time', { lost: [loss(200, 501, 5000, 'response-timeout')] }],
    ['answered by 500', { lost: [loss(200, 501, 5000, 'bad-status')] }],
    ['refused', { lost: [loss(200, 501, null, 'refused')] }],
    [
      'two that were reset early, of one that it had',
      { lost: [1, 2].map(() => loss(200, 501, null, 'reset-connecting')) },
    ],
    [
      'one that was reset early, when all that it had are known',
      {
        lost: [loss(200, 501, 5000), loss(210, 501, null, 'reset-connecting')],
      },
    ],
  ])('%s', (_, changes) => {
    const { reasons } = checked(changes)
    expect(reasons[0]).toMatch(/^\d lost, and not with a worker/)
  })
})

describe('refused', () => {
  it.each<[string, RegExp, Partial<History>]>([
    [
      'an idle connection that a living worker closed',
      /^1 closed, and/,
      more('closed', loss(205, 600, 5001, 'closed')),
    ],
    [
      'an answer that nobody asked for',
      /^1 closed, and/,
      { lost: [], closed: [loss(200, 501, 5000, 'unasked-bytes')] },
    ],
    ['an answer of what failed its health check', /cannot serve/, more('answers', answer(960, 5103, 21, 2, 'unwell'))],
    ['an answer of the old version after the reload', /older version/, more('answers', answer(901, 5103, 11))],
    [
      'the same, of a worker that was stuck before',
      /older version/,
      { ...more('answers', answer(901, 5103, 11)), log: GOOD.log.toSpliced(9, 0, ...STUCK) },
    ],
    [
      'an old version, though an order of less has been answered since',
      /older version/,
      {
        ...more('answers', answer(960, 5103, 11)),
        ...more('orders', { order: 'reload', wait: 'baked', at: 1, end: 940, number: 0, result: 'done' }),
      },
    ],
    [
      'a reload that was done into a bad version',
      /^1 reloads done/,
      { deploys: [{ at: 700, kind: 'silent', number: 1 }] },
    ],
    [
      'an order that nobody answered',
      /^1 orders without/,
      more('orders', { order: 'scale', at: 600, end: 610, error: 'ECONNRESET' }),
    ],
    [
      'one, when the upgrade was over',
      /^1 orders without/,
      {
        ...more('orders', { order: 'scale', at: 600, end: 610, error: 'ECONNRESET' }),
        log: GOOD.log.toSpliced(9, 0, say(565, 'upgrade.started'), say(570, 'upgrade.done')),
      },
    ],
    [
      'an order that was not answered in time, whoever died',
      /^1 orders without/,
      {
        ...more('orders', { order: 'scale', at: 600, end: 610, error: 'late', isLate: true }),
        deaths: [{ from: 605, to: 700 }],
      },
    ],
    [
      'a good worker that ended by itself',
      /^1 good workers/,
      more('log', say(991, 'worker.exited', { ...of(21, 1, 2), level: 50 })),
    ],
    [
      'a log that no launcher may write',
      /^the log of launcher 1: worker.serving: it has exited/,
      more('log', say(991, 'worker.serving', of(11, 1, 1))),
    ],
    ['a torn line in it', /^1 torn lines/, more('log', say(991, 'torn'))],
  ])('%s', (_, reason, changes) => {
    expect(checked(changes).reasons).toEqual([expect.stringMatching(reason)])
  })
})

describe('taken', () => {
  it.each<[string, Partial<History>]>([
    ['the old version until the reload is done', more('answers', answer(899, 5103, 11))],
    ['a newer version than was asked for', more('answers', bad())],
    [
      'the old version after one that was only admitted',
      { ...more('answers', answer(901, 5103, 11)), orders: [{ ...GOOD.orders[0], wait: 'admitted' }] },
    ],
    [
      'the old version after a reload that failed',
      { ...more('answers', answer(901, 5103, 11)), orders: [{ ...GOOD.orders[0], result: 'undone' }] },
    ],
    [
      'the old version, of a worker that stood still when it was to pause',
      {
        ...more('answers', answer(901, 5103, 11)),
        log: GOOD.log.toSpliced(13, 0, say(815, 'worker.silent', { ...of(11, 1, 1), order: 'pause' })),
      },
    ],
    [
      'the same, of one that was known to be stuck then',
      { ...more('answers', answer(901, 5103, 11)), log: GOOD.log.toSpliced(9, 0, ...STUCK.slice(0, 1)) },
    ],
    [
      'a bad version that was replaced before the answer',
      {
        deploys: [
          { at: 700, kind: 'silent', number: 1 },
          { at: 715, kind: 'good', number: 2 },
        ],
      },
    ],
    [
      'an order whose launcher died',
      {
        ...more('orders', { order: 'scale', at: 600, end: 610, error: 'ECONNRESET' }),
        deaths: [{ from: 605, to: 700 }],
      },
    ],
  ])('%s', (_, changes) => {
    expect(checked(changes).reasons).toEqual([])
  })
})

it('the log is that of one launcher after the other, and an upgrade begins none', () => {
  const log = [
    { pid: 1, msg: 'launcher.started' },
    { pid: 1, msg: 'upgrade.done' },
    { pid: 2, msg: 'adoption.started' },
    { pid: 2, msg: 'launcher.started' },
    { pid: 1, msg: 'adoption.started' },
  ]
  expect(launchersOf(log)).toEqual([log.slice(0, 2), log.slice(2, 4), log.slice(4)])
})

it('a ledger: ports come back, and the last line may be cut', () => {
  expect(parseLedger(7, '= good 3 50.5\n+1 60\n+2 61\n-1 62\n+1 63\n-2 6')).toEqual({
    ...{ pid: 7, kind: 'good', number: 3, since: 50.5 },
    held: [hold(1, 60, 62), hold(2, 61, null), hold(1, 63, null)],
  })
})
