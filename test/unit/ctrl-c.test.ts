import { expect, test } from 'vitest'
import { CtrlC } from '../../src/ctrl-c'

test('what comes within half a second of a press is that press again', () => {
  let now = 0
  const ctrlC = new CtrlC(() => now)
  const presses = [0, 3, 499, 500, 501, 999, 1_000, 5_000].filter((at) => {
    now = at
    return ctrlC.isPress()
  })
  expect(presses).toEqual([0, 500, 1_000, 5_000])
})
