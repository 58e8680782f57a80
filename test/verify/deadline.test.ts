import { expect, test } from 'vitest'
import { Deadline, Interrupted } from '../../src/verify/deadline'

const never = new Promise<never>(() => {})
const hour = 3_600_000

test('what is done in time is passed on', async () => {
  const deadline = new Deadline(hour, new AbortController().signal)
  expect(await deadline.within(hour, 'this', Promise.resolve(7))).toBe(7)
  await expect(deadline.within(hour, 'this', Promise.reject(new Error('no')))).rejects.toThrow('no')
})

test('a step that takes too long says which one', async () => {
  const deadline = new Deadline(hour, new AbortController().signal)
  await expect(deadline.within(5, 'the reload', never)).rejects.toMatchObject({
    code: 'ERR_TIMED_OUT',
    message: 'the reload did not happen within 5 ms',
  })
})

test('the whole run bounds every step', async () => {
  const deadline = new Deadline(5, new AbortController().signal)
  await expect(deadline.within(hour, 'the reload', never)).rejects.toThrow(/deadline of the whole run/)
})

test('an interruption ends what is awaited, and what comes after', async () => {
  const interruption = new AbortController()
  const deadline = new Deadline(hour, interruption.signal)
  const waiting = deadline.within(hour, 'the reload', never)
  interruption.abort(new Interrupted('SIGINT'))
  await expect(waiting).rejects.toMatchObject({ signal: 'SIGINT' })
  await expect(deadline.within(hour, 'the reload', Promise.reject(new Error('later')))).rejects.toBeInstanceOf(
    Interrupted,
  )
})
