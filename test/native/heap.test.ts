import { expect, it } from 'vitest'
import { resultOf } from './support/fixture'

it('memory is given back, and no garbage is looked for afterwards while nobody needs memory', async () => {
  expect(await resultOf('reclaim.cjs')).toEqual({ reclaimed: true, isSmaller: true })
})
