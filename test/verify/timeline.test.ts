import { expect, test } from 'vitest'
import type { ReloadRecord } from '../../src/verify/reloads'
import { Timeline } from '../../src/verify/timeline'

const worker = {
  slot: 1,
  oldPid: 4711,
  newPid: 4790,
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
const reload: ReloadRecord = {
  number: 3,
  at: 1000,
  result: 'done',
  step: 'retire',
  reason: null,
  stderr: [],
  admittedMs: 200,
  retiredMs: 400,
  answeredMs: 405,
  kernel: { shared: false, OutRsts: 0, ListenDrops: 0, ListenOverflows: 0 },
  workers: [{ ...worker, ms: { spawned: 5, admitted: 200, paused: 203, exited: 400 } }],
}

test.each([
  [999, 'before the first reload'],
  [1002, '2 ms after reload 3 was ordered'],
  [1202, '2 ms after reload 3, slot 1: admitted (4711 → 4790)'],
  [1215, '12 ms after reload 3, slot 1: paused (4711 → 4790)'],
  [1410, '5 ms after reload 3 was over'],
])('what had happened at %i', (at, text) => {
  expect(new Timeline([reload]).before(at)).toBe(text)
})
