import { expect, test } from 'vitest'
import { canaryPlan } from '../../src/cli/canary.js'
import { parseCommandLine } from '../../src/cli/parse.js'
import { reload } from '../../src/cli/reload.js'

const line = (...words: string[]) => parseCommandLine(['reload', ...words])

test.each([
  [['--canary', '10%'], { share: 0.1, by: 'random', forMs: 120_000, max5xx: null, maxLatency: null }],
  [['--canary', '0.01%', '--for', '90'], { share: 0.0001, forMs: 90_000 }],
  [['--canary', '99.99%', '--for', '1h', '--canary-by', 'client'], { share: 0.9999, forMs: 3_600_000, by: 'client' }],
  [['--canary', '50%', '--canary-max-5xx', '0%', '--canary-max-latency', '1.5'], { max5xx: 0, maxLatency: 1.5 }],
])('%j is a canary', (words, plan) => {
  expect(canaryPlan(line(...words))).toMatchObject(plan)
})

test('without --canary there is none', () => {
  expect(canaryPlan(line('--wait', 'retired'))).toBeUndefined()
})

test.each([
  [['--canary', '10'], '--canary "10" is no share'],
  [['--canary', '-1%'], 'Option'],
  [['--canary=-1%'], '--canary "-1%" is no share'],
  [['--canary', '101%'], '--canary "101%" is no share'],
  [['--canary', '0%'], '--canary 0% is not between 0.01% and 99.99%'],
  [['--canary', '0.001%'], '--canary 0.001% is not between'],
  [['--canary', '100%'], '--canary 100% is not between'],
  [['--canary', '10%', '--for', '0'], '--for 0 leaves no time'],
  [['--canary', '10%', '--for', 'ever'], '--for "ever" is no time'],
  [['--canary', '10%', '--canary-by', 'cookie'], '--canary-by "cookie" is neither'],
  [['--canary', '10%', '--canary-max-5xx', '1'], '--canary-max-5xx "1" is no share'],
  [['--canary', '10%', '--canary-max-latency', '0.5'], '--canary-max-latency "0.5" is no number'],
  [['--canary', '10%', '--canary-max-latency', '2x'], '--canary-max-latency "2x" is no number'],
  [['--for', '2m'], '--for is meant for a canary, and there is no --canary'],
  [['--promote', '--canary-by', 'client'], '--canary-by is meant for a canary'],
  [['--promote', '--abort'], '--abort and --promote cannot both be meant'],
  [['--promote', '--canary', '10%'], '--promote and --canary cannot both be meant'],
  [['--promote', '--no-wait'], '--promote and --no-wait cannot both be meant'],
  [['--abort', '--wait', 'baked'], '--abort and --wait cannot both be meant'],
  [['--wait', 'baked', '--no-wait'], '--wait and --no-wait cannot both be meant'],
  [['--wait', 'long'], '--wait "long" is none of'],
])('%j cannot be meant', async (words, message) => {
  const run = async (): Promise<number> => reload(line(...words))
  await expect(run()).rejects.toMatchObject({ code: 'ERR_USAGE', message: expect.stringContaining(message) })
})
