import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
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

const isRoot = process.getuid?.() === 0
const [SOMEBODY, ANOTHER] = [12_345, 12_346]

/** As this user, to the end of the test. */
function become(uid: number): void {
  onTestFinished(() => process.seteuid?.(0))
  process.seteuid?.(uid)
}

/** What somebody may have put where a log goes. `canary`: a file beside the directory, with the text "canary". */
const PUT: Readonly<Record<string, (path: string, canary: string) => void>> = {
  nothing: () => {},
  link: (path, canary) => symlinkSync(canary, path),
  file: (path) => writeFileSync(path, 'canary'),
  'second name': (path, canary) => linkSync(canary, path),
  pipe: (path) => void spawnSync('mkfifo', [path], { timeout: 10_000 }),
}

describe.runIf(isRoot)('in a directory of others', () => {
  test.each([
    // By whom it is opened; whose the directory is, and its mode; what is there, and whose; what becomes of it.
    [0, 0, '755', 'link', SOMEBODY, 'written'],
    [0, 0, '755', 'file', SOMEBODY, 'written'],
    [0, 0, '755', 'second name', 0, 'written'],
    [0, SOMEBODY, '755', 'nothing', 0, 'written'],
    [0, SOMEBODY, '755', 'link', SOMEBODY, 'is a link of uid 12345'],
    [0, SOMEBODY, '755', 'link', 0, 'written'],
    [0, SOMEBODY, '755', 'file', SOMEBODY, 'written'],
    [0, SOMEBODY, '755', 'file', 0, 'written'],
    [0, SOMEBODY, '755', 'file', ANOTHER, 'may have been put there'],
    [0, SOMEBODY, '755', 'second name', 0, 'may have been put there'],
    [0, SOMEBODY, '755', 'pipe', SOMEBODY, 'may have been put there'],
    [0, 0, '1777', 'link', SOMEBODY, 'is a link of uid 12345'],
    [0, 0, '1777', 'file', SOMEBODY, 'may have been put there'],
    [0, 0, '775', 'link', SOMEBODY, 'is a link of uid 12345'],
    [SOMEBODY, 0, '1777', 'link', ANOTHER, 'is a link of uid 12346'],
    [SOMEBODY, 0, '1777', 'file', ANOTHER, 'may have been put there'],
    [SOMEBODY, 0, '1777', 'link', SOMEBODY, 'written'],
    [SOMEBODY, 0, '777', 'file', ANOTHER, 'written'],
    [SOMEBODY, ANOTHER, '777', 'link', ANOTHER, 'written'],
    [SOMEBODY, ANOTHER, '777', 'link', 0, 'written'],
  ])('for uid %i, of uid %i with mode %s: a %s of uid %i: %s (H-12, S-09)', (uid, owner, mode, what, of, outcome) => {
    const base = temporaryDirectory()
    chmodSync(base, 0o755)
    const [canary, directory] = [join(base, 'canary'), join(base, 'logs')]
    writeFileSync(canary, 'canary')
    chmodSync(canary, 0o666)
    mkdirSync(directory)
    const path = join(directory, 'a.log')
    PUT[what]?.(path, canary)
    if (what !== 'nothing') lchownSync(path, of, of)
    if (what === 'file') chmodSync(path, 0o666)
    lchownSync(directory, owner, owner)
    chmodSync(directory, Number.parseInt(mode, 8))
    become(uid)
    const write = (): void => new LogFile(path).write('line\n')
    if (outcome === 'written') write()
    else
      expect(write).toThrow(
        expect.objectContaining({ code: 'ERR_LOG_FILE', message: expect.stringContaining(outcome) }),
      )
    if (outcome === 'written') expect(readFileSync(path, 'utf8')).toMatch(/^(canary)?line\n$/)
    else expect(readFileSync(canary, 'utf8')).toBe('canary')
  })

  test('a link on the way there is one, too; where the way goes up again, and round about, it is the same (H-12, S-09)', () => {
    const base = temporaryDirectory()
    const [canary, theirs] = [join(base, 'canary'), join(base, 'theirs')]
    for (const directory of [canary, theirs]) mkdirSync(directory)
    symlinkSync('../canary', join(theirs, 'logs'))
    lchownSync(theirs, SOMEBODY, SOMEBODY)
    const path = join(theirs, 'logs', 'a.log')
    new LogFile(path)
    expect(statSync(join(canary, 'a.log')).size).toBe(0)
    lchownSync(join(theirs, 'logs'), SOMEBODY, SOMEBODY)
    expect(() => new LogFile(path)).toThrow(`${join(theirs, 'logs')} is a link of uid 12345`)
    new LogFile(`${base}/./theirs/..//canary/a.log`).write('line\n')
    expect(readFileSync(join(canary, 'a.log'), 'utf8')).toBe('line\n')
    symlinkSync('round', join(base, 'round'))
    expect(() => new LogFile(join(base, 'round', 'a.log'))).toThrow('too many links')
  })

  test('opened again it is refused as well, and the one before is written to (S-09)', () => {
    const base = temporaryDirectory()
    const [canary, directory] = [join(base, 'canary'), join(base, 'logs')]
    writeFileSync(canary, 'canary')
    mkdirSync(directory)
    lchownSync(directory, SOMEBODY, SOMEBODY)
    const path = join(directory, 'a.log')
    const { log, reopen } = openLogFile(path, 'json')
    renameSync(path, `${path}.1`)
    symlinkSync(canary, path)
    lchownSync(path, SOMEBODY, SOMEBODY)
    reopen()
    log('info', 'goes on')
    expect(linesOf(`${path}.1`)).toMatchObject([
      { msg: 'log.not-reopened', path, reason: expect.stringContaining(`${path} is a link of uid 12345`) },
      { msg: 'goes on' },
    ])
    expect(readFileSync(canary, 'utf8')).toBe('canary')
  })
})

test('what is no file: a pipe, and what this process has open already, by the names that the kernel has for it', () => {
  const base = temporaryDirectory()
  const pipe = join(base, 'pipe')
  PUT['pipe']?.(pipe, '')
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  onTestFinished(() => closeSync(reader))
  new LogFile(pipe).write('by its name\n')
  const writer = openSync(pipe, 'a')
  onTestFinished(() => closeSync(writer))
  for (const names of ['/dev/fd', '/proc/self/fd', '/proc/thread-self/fd'])
    new LogFile(`${names}/${writer}`).write('1\n')
  symlinkSync(`/dev/fd/${writer}`, join(base, 'link'))
  new LogFile(join(base, 'link')).write('2\n')
  const said = Buffer.alloc(100)
  expect(said.toString('utf8', 0, readSync(reader, said))).toBe('by its name\n1\n1\n1\n2\n')
})
