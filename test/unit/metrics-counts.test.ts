import { expect, test } from 'vitest'
import type { Event } from '../../src/launcher/brain/events'
import type { State } from '../../src/launcher/brain/state'
import { Counts } from '../../src/launcher/metrics/counts'

/** Two slots of generation 1, and what differs. */
function state(more: object = {}): State {
  const slot = { working: 1, tally: { exits: [], step: 0 } }
  const worker = (id: number): object => ({ id, slot: id - 1, failure: null, hung: null })
  return { slots: [slot, slot], workers: { 1: worker(1), 2: worker(2) }, run: null, ...more } as unknown as State
}

const slots = (first: object): object => ({ slots: [{ ...state().slots[0], ...first }, state().slots[1]] })
const tick: Event = { type: 'timer', id: 'park:0', at: 5 }
const exited = (more: object = {}): Event => ({
  type: 'exited',
  worker: 1,
  code: 1,
  signal: null,
  stderr: [],
  at: 5,
  ...more,
})
const ended = slots({ tally: { exits: [5], step: 0 } })

/** Restarts of slot 0 that were counted, by reason. */
function restarts(event: Event, before: State, after: State): Record<string, number> {
  const counts = new Counts()
  counts.stepped(event, before, after, null)
  return Object.fromEntries(
    [...counts.all].flatMap(([counter, count]) => {
      const [, reason] = /restarts_total\{slot="0",reason="(\w+)"\}/.exec(counter) ?? []
      return reason === undefined || count === 0 ? [] : [[reason, count]]
    }),
  )
}

test.each<[string, Event, object, object, object]>([
  ['nothing has happened', tick, {}, {}, {}],
  ['a newer generation has the slot', tick, {}, slots({ working: 2 }), { reload: 1 }],
  ['it is given back', tick, slots({ working: 2 }), {}, {}],
  ['it was empty', tick, slots({ working: null }), {}, {}],
  ['a worker was to end', exited(), {}, {}, {}],
  ['it ended by itself', exited(), {}, ended, { crash: 1 }],
  ['for want of memory', exited({ oomKill: true }), {}, ended, { oom: 1 }],
  [
    'it stood still',
    exited(),
    { workers: { 1: { id: 1, slot: 0, failure: null, hung: 'busy' } } },
    ended,
    { unhealthy: 1 },
  ],
  [
    'it was given up',
    exited(),
    { workers: { 1: { id: 1, slot: 0, failure: 'no answer', hung: null } } },
    ended,
    { unhealthy: 1 },
  ],
  ['a warm spare ended', exited(), { workers: { 1: { id: 1, slot: -1, failure: null, hung: null } } }, ended, {}],
  [
    'it was old',
    tick,
    { relief: { fresh: 1, why: 'age', isDone: false } },
    { relief: { fresh: 1, why: 'age', isDone: true } },
    { max_age: 1 },
  ],
  [
    'that is not over yet',
    tick,
    { relief: { fresh: 1, why: 'memory', isDone: true } },
    { relief: { fresh: 1, why: 'memory', isDone: true } },
    {},
  ],
])('restarts: %s', (_what, event, before, after, expected) => {
  expect(restarts(event, state(before), state(after))).toEqual(expected)
})

test('a reload is counted when it has ended, by its verdict, with its time', () => {
  const counts = new Counts()
  const run = { id: 7, startedAt: 1_000 }
  const verdict = (id: number, result: string): never => ({ id, result }) as never
  counts.stepped({ ...tick, at: 2_000 }, state({ run }), state({ run }), verdict(7, 'done'))
  expect([...counts.all].filter(([, count]) => count > 0)).toEqual([])
  counts.stepped({ ...tick, at: 2_500 }, state({ run }), state(), verdict(7, 'undone'))
  const all = new Map(counts.all)
  const of = (series: string): number | undefined =>
    all.get(`${series.replace(/(_sum|_count|_bucket)?(\{.*)?$/, '')} ${series}`)
  expect(of('reuseport_reloads_total{result="undone"}')).toBe(1)
  expect(of('reuseport_reloads_total{result="done"}')).toBe(0)
  expect(of('reuseport_reload_duration_seconds_sum')).toBe(1.5)
  expect(of('reuseport_reload_duration_seconds_bucket{le="1"}')).toBe(0)
  expect(of('reuseport_reload_duration_seconds_bucket{le="2.5"}')).toBe(1)
  expect(new Map(new Counts(JSON.parse(JSON.stringify(counts.save()))).all)).toEqual(all)
})
