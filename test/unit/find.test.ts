import { afterEach, expect, it, vi } from 'vitest'
import { withinTime } from '../../src/cli/connect'
import type { CommandLine } from '../../src/cli/parse'

const line = { values: {} } as unknown as CommandLine

afterEach(() => {
  vi.useRealTimers()
})

function never(signal?: AbortSignal): Promise<never> {
  return new Promise((_, fail) => signal?.addEventListener('abort', () => fail(signal.reason)))
}

it('a command without --timeout does not wait for ever for a launcher that stands still (B-08)', async () => {
  vi.useFakeTimers()
  const asked = withinTime(line, 'reload', never, () => Promise.resolve('done')).catch((error) => error)
  await vi.advanceTimersByTimeAsync(30_000)
  expect(await asked).toMatchObject({
    code: 'ERR_TIMED_OUT',
    message: 'the launcher has not answered within 30000 ms: no reload was ordered',
  })
})

it('what a launcher that was found does may take as long as it does', async () => {
  vi.useFakeTimers()
  const found = (signal?: AbortSignal): Promise<AbortSignal | undefined> => Promise.resolve(signal)
  const order = (signal: AbortSignal | undefined): Promise<boolean | undefined> =>
    new Promise((done) => setTimeout(() => done(signal?.aborted), 3_600_000))
  const done = withinTime(line, 'reload', found, order)
  await vi.advanceTimersByTimeAsync(3_600_000)
  expect(await done).toBe(false)
})
