import { Counter, Registry } from 'prom-client'
import { expect, test } from 'vitest'
import type { Figures } from '../../src/figures'
import { render, seriesOf } from '../../src/launcher/metrics/exposition'
import { notReady } from '../../src/launcher/metrics/readiness'
import { appFamilies } from '../../src/launcher/metrics/registry-families'
import { WorkerFigures } from '../../src/launcher/metrics/worker-figures'
import type { MetricsRegistry } from '../../src/meeting'
import { readMetrics } from '../support/scrape'

const figures = (more: Partial<Figures> = {}): string =>
  JSON.stringify({
    thread: 0,
    answered: { connections: 1, responses: 3, errors: 1, times: [1, 0, 0, 0, 2], ms: 2.5 },
    loop: { activeMs: 100, idleMs: 900 },
    heapUsed: 5e6,
    registries: [],
    ...more,
  })

const family = (more: object): object => ({
  name: 'app_total',
  help: '',
  type: 'counter',
  values: [{ value: 1, labels: {} }],
  ...more,
})

test('whatever is in a label or a help is read as it was written', async () => {
  const odd = 'a "b" \\ c\nd {}=, é'
  const values = new Map([
    [seriesOf('odd', { odd, other: '' }), 1.5],
    [seriesOf('odd', { odd: '', other: 'x' }), Number.POSITIVE_INFINITY],
  ])
  const empty = { name: 'empty', type: 'gauge' as const, help: 'not shown', values: new Map() }
  const { helps, values: read } = await readMetrics(render([{ name: 'odd', type: 'gauge', help: odd, values }, empty]))
  expect([...helps]).toEqual([['odd', odd]])
  expect([...read]).toEqual([
    [`odd{odd=${JSON.stringify(odd)},other=""}`, 1.5],
    ['odd{odd="",other="x"}', Number.POSITIVE_INFINITY],
  ])
})

test('what a program calls its metrics is believed as far as it is a metric', () => {
  const bad = [
    null,
    7,
    'text',
    family({ name: 'no name' }),
    family({ name: 'x\n# TYPE y' }),
    family({ type: 'other' }),
    family({ values: 'none' }),
    family({ aggregator: 'omit' }),
  ]
  expect(appFamilies(bad, 0)).toEqual([])
  const values = [
    null,
    { value: '7', labels: {} },
    { value: 'NaN', labels: {} },
    { value: 1, labels: { 'a"}': 'x' } },
    { value: 1, labels: { a: {} } },
    { value: 1, labels: {}, metricName: 'another' },
    { value: 2, labels: { a: 'x"\n' } },
    { value: 3 },
  ]
  expect(appFamilies([family({ values })], 0)).toMatchObject([
    {
      name: 'app_total',
      values: [
        { series: 'app_total{a="x\\"\\n"}', value: 2, grows: true },
        { series: 'app_total', value: 3, grows: true },
      ],
    },
  ])
})

test('a registry of prom-client is one, with the labels that all of its metrics have', async () => {
  const registry = new Registry()
  registry.setDefaultLabels({ app: 'shop' })
  new Counter({ name: 'hits', help: 'all', labelNames: ['path'], registers: [registry] }).inc({ path: '/' }, 2)
  const shared: MetricsRegistry = registry
  expect(appFamilies(await shared.getMetricsAsJSON(), 0)).toEqual([
    {
      name: 'hits',
      type: 'counter',
      help: 'all',
      values: [{ series: 'hits{path="/",app="shop"}', value: 2, grows: true }],
    },
  ])
})

test('gauges and summaries say of which slot they are; a label of the program with that name is kept under another', () => {
  const gauge = family({ name: 'g', type: 'gauge', values: [{ value: 'NaN', labels: { slot: 'a' } }] })
  const summary = family({
    name: 's',
    type: 'summary',
    values: [
      { value: 1, labels: { quantile: 0.5 } },
      { value: 2, labels: {}, metricName: 's_sum' },
    ],
  })
  expect(appFamilies([gauge, summary], 3).flatMap(({ values }) => values)).toEqual([
    { series: 'g{exported_slot="a",slot="3"}', value: Number.NaN, grows: false },
    { series: 's{quantile="0.5",slot="3"}', value: 1, grows: false },
    { series: 's_sum{slot="3"}', value: 2, grows: true },
  ])
})

test.each([
  ['nothing', ''],
  ['half of it', figures().slice(0, 80)],
  ['null', 'null'],
  ['no numbers', figures({ answered: null as never })],
  ['counts that are text', figures({ heapUsed: '1' as never })],
  ['no list', figures({ registries: {} as never })],
])('figures that make no sense change nothing: %s', (_what, text) => {
  const all = new WorkerFigures()
  all.told({ pid: 1, text: figures() }, 0)
  const before = JSON.stringify(all.save())
  all.told({ pid: 1, text }, 0)
  expect(JSON.stringify(all.save())).toBe(before)
})

test('of a worker that has gone its counters stay and its gauges go; names of ours are ours', () => {
  const all = new WorkerFigures()
  const gauge = family({ name: 'app_open', type: 'gauge' })
  const ours = family({ name: 'reuseport_generation' })
  all.told({ pid: 1, text: figures({ registries: [family({}), gauge, ours] }) }, 0)
  all.told({ pid: 2, text: figures({ registries: [family({})] }) }, 0)
  const names = (pids: number[]): string[] => all.app(new Set(pids)).flatMap(({ values }) => [...values.keys()])
  expect(names([1, 2])).toEqual(['app_total', 'app_open{slot="0"}'])
  all.keep((pid) => pid === 2)
  expect(names([1, 2])).toEqual(['app_total'])
  expect([...(all.app(new Set([2]))[0]?.values ?? [])]).toEqual([['app_total', 2]])
  expect(all.own.get('reuseport_http_responses_total reuseport_http_responses_total{slot="0"}')).toBe(6)
  const bucket = (le: string): number | undefined =>
    all.own.get(
      `reuseport_http_response_duration_seconds reuseport_http_response_duration_seconds_bucket{le="${le}",slot="0"}`,
    )
  expect([bucket('0.00025'), bucket('0.0005'), bucket('+Inf')]).toEqual([2, 6, 6])
})

test('the event loop: its share since the last look, unless that was just now', () => {
  const all = new WorkerFigures()
  const told = (activeMs: number, idleMs: number): number | null | undefined => {
    all.told({ pid: 1, text: figures({ loop: { activeMs, idleMs } }) }, 0)
    return all.loopAndHeap(1)?.utilization
  }
  expect(told(100, 900)).toBeNull()
  expect(told(150, 950)).toBeNull()
  expect(told(600, 1_400)).toBe(0.5)
  expect(told(700, 1_400)).toBe(0.5)
  expect(all.loopAndHeap(2)).toBeNull()
})

test('ready: every slot has its worker, or one that accepts for it', () => {
  const worker = (id: number, slot: number, more: object = {}): object => ({
    id,
    slot,
    generation: 1,
    state: 'serving',
    stuck: false,
    ...more,
  })
  const slot = { working: 1, isJoining: false }
  const state = (more: object): Parameters<typeof notReady>[0] =>
    ({
      phase: 'running',
      slots: [slot, slot],
      listeners: {},
      workers: { 1: worker(1, 0), 2: worker(2, 1) },
      ...more,
    }) as never
  expect(notReady(state({}))).toBeNull()
  expect(notReady(state({ phase: 'starting' }))).toBe('starting')
  expect(notReady(state({ phase: 'stopping' }))).toBe('stopping')
  const one = { workers: { 1: worker(1, 0) } }
  expect(notReady(state(one))).toBe('nobody accepts in slot 1')
  expect(notReady(state({ workers: { 1: worker(1, 0), 2: worker(2, 1, { stuck: true }) } }))).not.toBeNull()
  expect(notReady(state({ workers: { 1: worker(1, 0), 2: worker(2, 1, { state: 'paused' }) } }))).not.toBeNull()
  expect(notReady(state({ ...one, listeners: { a: { adoptedBy: { 1: 1 } } } }))).toBeNull()
  expect(notReady(state({ ...one, listeners: { a: { adoptedBy: { 1: 9 } } } }))).not.toBeNull()
  expect(notReady(state({ ...one, slots: [slot, { ...slot, isJoining: true }] }))).toBeNull()
})
