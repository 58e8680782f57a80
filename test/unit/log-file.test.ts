import { mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LogFile, openLogFile } from '../../src/launcher/log-file'
import { temporaryDirectory } from '../support/launcher'

const linesOf = (path: string): Record<string, unknown>[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('a file that is moved away is written to until it is opened again by its name', () => {
  const path = join(temporaryDirectory(), 'a.log')
  const { log, reopen } = openLogFile(path, 'json')
  log('info', 'one')
  renameSync(path, `${path}.1`)
  log('info', 'two')
  reopen()
  log('info', 'three')
  expect(linesOf(`${path}.1`).map(({ msg }) => msg)).toEqual(['one', 'two'])
  expect(linesOf(path).map(({ msg }) => msg)).toEqual(['log.reopened', 'three'])
  expect(statSync(path).mode & 0o007).toBe(0)
})

test('a full disk costs lines, and they are counted (L-09)', () => {
  const path = join(temporaryDirectory(), 'a.log')
  symlinkSync('/dev/full', path)
  const { log, reopen } = openLogFile(path, 'json')
  for (let n = 0; n < 5; n++) log('info', 'lost', { n })
  rmSync(path)
  reopen()
  expect(linesOf(path)).toMatchObject([{ msg: 'log.reopened' }, { msg: 'log.dropped', lines: 5 }])
})

test('what cannot be opened is said: at the start, and again later', () => {
  const directory = temporaryDirectory()
  expect(() => new LogFile(join(directory, 'no', 'a.log'))).toThrow(
    expect.objectContaining({ code: 'ERR_LOG_FILE', exitCode: 1 }),
  )
  const path = join(directory, 'a.log')
  const { log, reopen } = openLogFile(path, 'json')
  renameSync(path, `${path}.1`)
  mkdirSync(path)
  reopen()
  log('info', 'goes on')
  expect(linesOf(`${path}.1`)).toMatchObject([{ msg: 'log.not-reopened', path }, { msg: 'goes on' }])
})
