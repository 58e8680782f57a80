import { describe, expect, test } from 'vitest'
import { type Evidence, judge, totalOf } from '../../src/verify/judge'
import { BUCKETS, isLost, noCounts } from '../../src/verify/load/buckets'
import type { Tally } from '../../src/verify/load/recorder'
import type { ReloadRecord } from '../../src/verify/reloads'

const tally = (change: Partial<Tally> = {}): Tally => ({
  kind: 'keep-alive',
  connections: 1,
  ends: 'anyhow',
  buckets: { ...noCounts(), ok: 10 },
  connects: 1,
  reconnects: 0,
  endedPolitely: 0,
  idleClosed: 0,
  unaskedBytes: 0,
  latencyMs: null,
  ...change,
})

const slot = {
  slot: 0,
  oldPid: 1,
  newPid: 2,
  ms: { admitted: 5, exited: 9 },
  kept: null,
  warmup: null,
  answered: null,
  moved: 0,
  closed: 0,
  cut: 0,
  kinds: {},
  requests: [],
  moreRequests: 0,
}
const reload = (change: Partial<ReloadRecord> = {}): ReloadRecord => ({
  number: 1,
  at: 0,
  result: 'done',
  step: 'retire',
  reason: null,
  stderr: [],
  admittedMs: 5,
  retiredMs: 9,
  answeredMs: 10,
  kernel: { shared: false, OutRsts: 0, ListenDrops: 0, ListenOverflows: 0 },
  workers: [slot],
  ...change,
})

const nothing = { OutRsts: 0, EstabResets: 0, AttemptFails: 0, ListenDrops: 0, ListenOverflows: 0 }
const clean: Evidence = {
  workers: 1,
  asked: 1,
  reloads: [reload()],
  tallies: [tally()],
  minRequests: 0,
  counters: { judged: true, change: nothing },
  exit: { code: 0, signal: null },
  leftProcesses: [],
  leftSockets: [],
  troubles: [],
}

test('nothing speaks against a clean run', () => {
  expect(judge(clean)).toEqual([])
})

test('what is counted but not lost does not speak against it', () => {
  const retried = { ...noCounts(), ok: 10, retried: 3 }
  expect(judge({ ...clean, tallies: [tally({ buckets: retried, endedPolitely: 3, idleClosed: 2 })] })).toEqual([])
})

describe('a connection that the server has closed', () => {
  const closed = (ends: Tally['ends'], change: Partial<Tally>): string[] =>
    judge({ ...clean, tallies: [tally({ ends, ...change })] })

  test('speaks against it where it should have moved', () => {
    const reason = '3 connections of the kind "keep-alive" were closed (1 of them without notice) instead of moved'
    expect(closed('never', { endedPolitely: 2, idleClosed: 1 })).toEqual([reason])
  })

  test('speaks against it where it should have been announced', () => {
    const reason = '1 connections of the kind "keep-alive" were closed without notice'
    expect(closed('politely', { endedPolitely: 2, idleClosed: 1 })).toEqual([reason])
    expect(closed('politely', { endedPolitely: 2 })).toEqual([])
  })
})

describe('a single one fails the run:', () => {
  test.each(BUCKETS.filter(isLost))('%s', (bucket) => {
    const buckets = { ...noCounts(), ok: 10, [bucket]: 1 }
    expect(judge({ ...clean, tallies: [tally({ buckets })] })).toEqual([`1 of 11 requests were lost: 1 ${bucket}`])
  })

  test.each<[string, Partial<Evidence>, RegExp]>([
    ['bytes nobody asked for', { tallies: [tally({ unaskedBytes: 1 })] }, /^1 connections got bytes/],
    ['too few requests', { minRequests: 11 }, /^only 10 of at least 11 requests/],
    ['a kind that was never answered', { tallies: [tally(), tally({ kind: 'mute', buckets: noCounts() })] }, /"mute"/],
    ['no clients at all', { tallies: [] }, /^no request was sent/],
    ['a reload too few', { reloads: [] }, /^only 0 of 1 reloads/],
    [
      'a reload undone',
      { reloads: [reload({ result: 'undone', step: 'bake' })] },
      /^reload 1 was undone in the step bake/,
    ],
    ['a missing worker', { reloads: [reload({ workers: [] })] }, /^reload 1 was about 0 workers instead of 1/],
    [
      'an old worker',
      { reloads: [reload({ workers: [{ ...slot, newPid: 1 }] })] },
      /process 1 in slot 0 is an old one/,
    ],
    ['no new worker', { reloads: [reload({ workers: [{ ...slot, newPid: null }] })] }, /names no new worker in slot 0/],
    ['a cut connection', { reloads: [reload({ workers: [{ ...slot, cut: 1 }] })] }, /cut 1 connections/],
    [
      'a reset',
      { counters: { judged: true, change: { ...nothing, OutRsts: 1, EstabResets: 1 } } },
      /^OutRsts \+1, outside of the reloads: /,
    ],
    [
      'a refusal',
      { counters: { judged: true, change: { ...nothing, OutRsts: 1, AttemptFails: 1 } } },
      /^OutRsts \+1, .*AttemptFails \+1/,
    ],
    [
      'a reset at a reload, which is named',
      {
        reloads: [
          reload(),
          reload({ number: 2, kernel: { shared: false, OutRsts: 1, ListenDrops: 0, ListenOverflows: 0 } }),
        ],
        counters: { judged: true, change: { ...nothing, OutRsts: 1, EstabResets: 1 } },
      },
      /^OutRsts \+1, at reload 2: /,
    ],
    ['a drop', { counters: { judged: true, change: { ...nothing, ListenDrops: 1 } } }, /^ListenDrops \+1/],
    ['an overflow', { counters: { judged: true, change: { ...nothing, ListenOverflows: 1 } } }, /^ListenOverflows \+1/],
    ['counters that cannot be read', { counters: { judged: true, change: null } }, /cannot be read/],
    ['a launcher that goes on', { exit: null }, /did not end/],
    ['an exit code', { exit: { code: 1, signal: null } }, /ended with code 1/],
    ['a signal', { exit: { code: null, signal: 'SIGSEGV' } }, /ended with SIGSEGV/],
    ['a process left', { leftProcesses: [{ pid: 7, command: 'sleep 60' }] }, /^process 7 was left behind: sleep 60/],
    ['a socket left', { leftSockets: ['/run/a.sock'] }, /^a socket was left behind: \/run\/a.sock/],
    ['a trouble', { troubles: ['interrupted by SIGINT'] }, /^interrupted by SIGINT/],
  ])('%s', (_, change, reason) => {
    expect(judge({ ...clean, ...change })).toEqual([expect.stringMatching(reason)])
  })
})

test('a reset that has hit no connection is nobody’s', () => {
  expect(judge({ ...clean, counters: { judged: true, change: { ...nothing, OutRsts: 3 } } })).toEqual([])
})

test('the counters of a shared network are not judged', () => {
  const change = { OutRsts: 9, EstabResets: 9, AttemptFails: 9, ListenDrops: 9, ListenOverflows: 9 }
  expect(judge({ ...clean, counters: { judged: false, change } })).toEqual([])
})

test('the total is the sum over the kinds', () => {
  const one = tally({ buckets: { ...noCounts(), ok: 3, refused: 1 }, idleClosed: 2 })
  expect(totalOf([one, one])).toMatchObject({
    requests: 8,
    lost: 2,
    connects: 2,
    idleClosed: 4,
    buckets: { ok: 6, refused: 2 },
  })
})
