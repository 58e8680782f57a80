import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../support/paths.js'

/*
 * The models of `models/`, by Spin: every order of events, as far as a model goes. The runs of `node scripts/models.mjs` without `--large`.
 */

interface Result {
  readonly states: number
  readonly errors: number
  readonly error: string | null
  readonly isWhole: boolean
}
interface Models {
  readonly MODELS: Readonly<Record<string, { small: readonly string[]; mutants: Readonly<Record<string, string>> }>>
  mutantsIn(model: string): readonly string[]
  check(model: string, defines: string): Result
}

const script = pathToFileURL(join(ROOT, 'scripts', 'models.mjs')).href
const { MODELS, mutantsIn, check } = (await import(script)) as Models
/** Most take a second or two; beside other work ten times as long. */
const LONG_MS = 90_000

it('every model is run', () => {
  const files = readdirSync(join(ROOT, 'models')).map((name) => name.replace('.pml', ''))
  expect(files.sort()).toEqual(Object.keys(MODELS).sort())
})

describe.each(Object.entries(MODELS))('%s', (model, { small, mutants }) => {
  it.each(small.map((defines) => [defines]))(
    'keeps its promises: %s',
    (defines) => {
      expect(check(model, defines)).toMatchObject({ errors: 0, error: null, isWhole: true })
    },
    LONG_MS,
  )

  it('every mutant that it has is run', () => {
    expect(mutantsIn(model)).toEqual(Object.keys(mutants).sort())
  })

  it.each(Object.entries(mutants))(
    'the mutant %s is found',
    (mutant, defines) => {
      const { errors, error } = check(model, `MUTANT_${mutant} ${defines}`.trim())
      expect(errors).toBe(1)
      expect(error).toMatch(/^(assertion violated|invalid)/)
    },
    LONG_MS,
  )
})
