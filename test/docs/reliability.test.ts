import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from '../support/paths'

it('reliability.md has every case and every rule of security, in one state, and the tests that are there (S-19)', () => {
  const words = [join(ROOT, 'scripts', 'reliability.mjs'), '--check']
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 30_000 })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})
