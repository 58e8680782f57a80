import {
  chmodSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { removePidFile, writePidFile } from '../../src/pid-file'
import { temporaryDirectory } from '../support/launcher'

const isRoot = process.getuid?.() === 0
const SOMEBODY = 12_345

/** A directory with a file "canary", and another one, with mode 777 and of somebody's if that can be. */
function scene(): { canary: string; theirs: string; path: string } {
  const base = temporaryDirectory()
  const [canary, theirs] = [join(base, 'canary'), join(base, 'theirs')]
  writeFileSync(canary, 'canary')
  mkdirSync(theirs)
  chmodSync(theirs, 0o777)
  if (isRoot) lchownSync(theirs, SOMEBODY, SOMEBODY)
  return { canary, theirs, path: join(theirs, 'a.pid') }
}

test('it has the pid, takes the place of whatever was there, and goes unless another has written there (H-12, S-09)', () => {
  const { canary, theirs, path } = scene()
  const pid = `${process.pid}\n`
  symlinkSync(canary, path)
  // Somebody may know under which name it is made.
  symlinkSync(canary, `${path}.${process.pid}`)
  writePidFile(path)
  expect(readdirSync(theirs)).toEqual(['a.pid'])
  expect(readFileSync(path, 'utf8')).toBe(pid)
  expect(readFileSync(canary, 'utf8')).toBe('canary')
  writeFileSync(path, '1\n')
  removePidFile(path)
  expect(readdirSync(theirs)).toEqual(['a.pid'])
  writePidFile(path)
  removePidFile(path)
  expect(readdirSync(theirs)).toEqual([])
  removePidFile(path)
})

test('what is in the way and is no file stays, and it is said', () => {
  const { theirs, path } = scene()
  mkdirSync(path)
  expect(() => writePidFile(path)).toThrow('EISDIR')
  expect(readdirSync(theirs)).toEqual(['a.pid'])
  removePidFile(path)
  mkdirSync(`${path}.${process.pid}`)
  expect(() => writePidFile(path)).toThrow()
  expect(readdirSync(theirs)).toEqual(['a.pid', `a.pid.${process.pid}`])
  expect(() => writePidFile(join(theirs, 'no', 'a.pid'))).toThrow(join(theirs, 'no'))
})

test.runIf(isRoot)('a link of somebody’s on the way there is not followed (H-12, S-09)', () => {
  const { canary, theirs } = scene()
  const elsewhere = `${canary}s`
  mkdirSync(elsewhere)
  const link = join(theirs, 'run')
  symlinkSync(elsewhere, link)
  const path = join(link, 'a.pid')
  writePidFile(path)
  lchownSync(link, SOMEBODY, SOMEBODY)
  expect(() => writePidFile(path)).toThrow(`${link} is a link of uid 12345`)
  removePidFile(path)
  expect(statSync(join(elsewhere, 'a.pid')).size).toBeGreaterThan(0)
})
