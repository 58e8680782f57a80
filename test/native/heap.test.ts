import { expect, it } from 'vitest'
import { resultOf } from './support/fixture'

it('memory of garbage is given back', async () => {
  expect(await resultOf('reclaim.cjs')).toEqual({ reclaimed: true, isSmaller: true })
})
