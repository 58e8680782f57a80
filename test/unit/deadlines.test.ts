import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from '../support/paths'
import { timersOfBrain, waitsOfSources } from '../support/waits'

/*
 * Every wait has a deadline, and every deadline an outcome (docs/deadlines.md). What is new here is either bounded, by a constant or an
 * option that is named in deadlines.json, or has a reason there why it is not.
 */

interface Listed {
  readonly wait: string
  /** Files below src/ and the functions in them. */
  readonly at?: readonly string[]
  /** A kind of timer of the brain. */
  readonly timer?: string
}

const sections = JSON.parse(readFileSync(join(ROOT, 'test/reliability/deadlines.json'), 'utf8')) as readonly {
  readonly waits: readonly Listed[]
}[]
const listed = sections.flatMap(({ waits }) => waits)

const sorted = (names: readonly string[]): string[] => [...new Set(names)].sort()

it('whatever waits for somebody else is listed with its deadline, or with the reason why it has none', () => {
  const places = listed.flatMap(({ at }) => at ?? [])
  expect(places.filter((place, index) => places.indexOf(place) !== index)).toEqual([])
  expect(sorted(waitsOfSources().map(({ at }) => at))).toEqual(sorted(places))
})

it('so is each timer of the rules', () => {
  expect(sorted(timersOfBrain())).toEqual(sorted(listed.flatMap(({ timer }) => timer ?? [])))
})

it('deadlines.md has them as they are', () => {
  const words = [join(ROOT, 'scripts', 'deadlines.mjs'), '--check']
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 30_000 })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})
