import { closeSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { lockFile } from '../../src/lock-file'
import type { Native } from '../../src/native'
import { makeFile, putFile } from '../../src/whole-file'
import { temporaryDirectory } from '../support/launcher'

/** To the end of the test. */
function useUmask(mask: number): void {
  const before = process.umask(mask)
  onTestFinished(() => void process.umask(before))
}

const modeOf = (path: string): number => statSync(path).mode & 0o777

test.each([
  [0o000, 0o644, 0o644],
  [0o022, 0o660, 0o640],
  [0o077, 0o644, 0o600],
  [0o177, 0o640, 0o600],
  [0o277, 0o644, 0o600],
  [0o777, 0o644, 0o600],
])(
  'with a umask of %i and a mode of %i a file is %i: always its owner’s to read and write (H-09, S-02)',
  (mask, mode, is) => {
    const directory = temporaryDirectory()
    useUmask(mask)
    closeSync(makeFile(join(directory, 'made'), mode))
    putFile(join(directory, 'put'), '~', 'text', mode)
    const native = { tryLock: () => true } as unknown as Native
    closeSync(lockFile(native, join(directory, 'lock')) as number)
    expect(readdirSync(directory).map((name) => [name, modeOf(join(directory, name))])).toEqual([
      ['lock', 0o600],
      ['made', is],
      ['put', is],
    ])
    expect(readFileSync(join(directory, 'put'), 'utf8')).toBe('text')
  },
)

test('what is there is no new file, and a link is something that is there (H-12)', () => {
  const directory = temporaryDirectory()
  const [path, target] = [join(directory, 'a'), join(directory, 'target')]
  symlinkSync(target, path)
  expect(() => makeFile(path, 0o600)).toThrow('EEXIST')
  symlinkSync(target, `${path}~`)
  putFile(path, '~', 'text', 0o600)
  expect(lstatSync(path).isFile()).toBe(true)
  expect(readdirSync(directory)).toEqual(['a'])
  writeFileSync(`${path}~`, 'half')
  putFile(path, '~', 'more', 0o600)
  expect(readdirSync(directory)).toEqual(['a'])
  expect(readFileSync(path, 'utf8')).toBe('more')
})
