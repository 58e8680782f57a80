import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { type Look, slotTable } from '../../src/cli/status-table'
import { watch } from '../../src/cli/watch'
import type { Status, WorkerStatus } from '../../src/control-protocol'
import { until } from '../support/until'

const START = Date.parse('2026-11-22T12:00:00Z')

function worker(more: Partial<WorkerStatus> = {}): WorkerStatus {
  return {
    pid: 4711,
    generation: 2,
    state: 'serving',
    startedAt: new Date(START).toISOString(),
    connections: 14,
    requests: null,
    lagMs: 0.4,
    rss: 81_400_000,
    cpuMs: 1_000,
    text: null,
    stuck: null,
    ...more,
  }
}

function look(at: number, workers: readonly (WorkerStatus | null)[]): Look {
  const slots = workers.map((one, slot) => ({ slot, worker: one, adoptedBy: null }))
  const sockets = workers.map((_, slot) => ({
    slot,
    inode: slot,
    queue: slot,
    dropped: null,
    parked: false,
    holders: [],
  }))
  const listeners = ['tcp *:1', 'tcp *:2'].map((address) => ({
    address,
    backlog: 511,
    shared: false,
    activated: false,
    sockets,
  }))
  return { status: { name: 'shop', slots, listeners } as unknown as Status, at: START + at }
}

const plain = { before: null, width: Number.POSITIVE_INFINITY, pss: new Map<number, number>() }

test('a line for each slot: numbers to the right, what nobody knows left out', () => {
  const lines = slotTable(look(10_000, [worker(), worker({ pid: 12, stuck: 'busy', connections: null }), null]), plain)
  expect(lines).toEqual([
    'slot   pid  gen  state             up  memory   cpu  conns  queue     lag',
    '   0  4711    2  serving         10 s   81 MB  10 %     14      0  0.4 ms',
    '   1    12    2  serving, stuck  10 s   81 MB  10 %      -      2  0.4 ms',
    '   2     -    -  no worker          -       -     -      -      4       -',
  ])
})

test('rates are those between two looks, and of the same process', () => {
  const before = look(10_000, [worker({ requests: 100 }), worker({ pid: 12, requests: 900 })])
  const now = look(12_000, [worker({ requests: 5_100, cpuMs: 2_500 }), worker({ pid: 13, requests: 3 })])
  const [head, one, other] = slotTable(now, { ...plain, before })
  expect(head).toContain('cpu  conns  req/s  queue')
  expect(one).toMatch(/ 75 % {5}14 {3}2500 /)
  expect(other).toMatch(/ 8 % {5}14 {6}- /)
})

test.each([
  [200, 'slot pid gen state up memory pss cpu conns req/s queue lag'],
  [65, 'slot pid gen state up memory cpu conns req/s queue'],
  [60, 'slot pid gen state up memory cpu conns req/s'],
  [46, 'slot pid gen state memory conns req/s'],
  [31, 'slot pid gen state conns'],
  [10, 'slot pid state conns'],
])('in %d columns', (width, titles) => {
  const before = look(0, [worker({ requests: 0 })])
  const pss = new Map([[4711, 40e6]])
  const lines = slotTable(look(1_000, [worker({ requests: 10 })]), { before, width, pss })
  expect(lines[0]?.trim().split(/\s+/).join(' ')).toBe(titles)
  if (width >= 30) for (const line of lines) expect(line.length).toBeLessThanOrEqual(width)
})

interface FakeScreen {
  text: string
  write(text: string): void
  readonly columns: number
  readonly rows: number
  readonly isTTY: boolean
}

function makeConsole(isTTY: boolean, rows = 24): { screen: FakeScreen; keys: PassThrough & { modes: boolean[] } } {
  const screen: FakeScreen = {
    text: '',
    write(text) {
      this.text += text
    },
    columns: 80,
    rows,
    isTTY,
  }
  const modes: boolean[] = []
  const keys = Object.assign(new PassThrough(), { isTTY, modes, setRawMode: (mode: boolean) => void modes.push(mode) })
  return { screen, keys }
}

const lines = (one: Look): string[] => [`looked at ${one.at}`, ...one.status.slots.map(({ slot }) => `slot ${slot}`)]

test('on a terminal it is drawn over and over, survives a launcher that is away, and ends with q', async () => {
  const { screen, keys } = makeConsole(true, 4)
  let looks = 0
  const watching = watch(
    {
      look: async () => {
        looks++
        if (looks === 3) throw new Error('gone for a moment')
        return look(looks, [worker(), worker(), worker(), worker()])
      },
      lines,
      everyMs: 1,
      isJson: false,
    },
    { screen, keys: keys as never },
  )
  await until('four looks', () => looks >= 4)
  keys.write('x')
  keys.write('q')
  expect(await watching).toBe(0)
  expect(screen.text.startsWith(`looked at ${START + 1}\nslot 0\n  … 3 more lines\n\x1b[3A\x1b[J`)).toBe(true)
  expect(screen.text).toContain('shop: no answer (gone for a moment)\n\x1b[1A\x1b[J')
  expect(keys.modes).toEqual([true, false])
})

test('elsewhere: one look after the other, until there is no answer', async () => {
  for (const isJson of [false, true]) {
    const { screen, keys } = makeConsole(false)
    let looks = 0
    const watching = watch(
      {
        look: async () => {
          if (++looks === 3) throw new Error('gone')
          return look(looks, [])
        },
        lines,
        everyMs: 1,
        isJson,
      },
      { screen, keys: keys as never },
    )
    await expect(watching).rejects.toThrow('gone')
    expect(screen.text).not.toContain('\x1b')
    if (isJson)
      expect(
        screen.text
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).name),
      ).toEqual(['shop', 'shop'])
    else expect(screen.text).toBe(`looked at ${START + 1}\n\nlooked at ${START + 2}\n`)
  }
})
