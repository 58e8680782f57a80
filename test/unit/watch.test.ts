import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ignoring } from '../../src/launcher/watch/ignored'
import { quiet } from '../../src/launcher/watch/quiet'
import { Tree } from '../../src/launcher/watch/tree'
import { writtenByOurs } from '../../src/launcher/watch/writers'
import { temporaryDirectory } from '../support/launcher'
import { until } from '../support/until'

/** A tree with src/a.js, and what has changed in it, by names from its top. */
function watched(paths: readonly string[] = ['.'], ignore: readonly string[] = []) {
  const top = join(temporaryDirectory(), 'app')
  const at = (name: string): string => join(top, name)
  mkdirSync(at('src'), { recursive: true })
  writeFileSync(at('src/a.js'), 'one')
  let isStirred = false
  const failed: string[] = []
  const isIgnored = ignoring(ignore, top, [])
  const tree = new Tree(
    paths.map((path) => (path === '.' ? top : at(path))),
    isIgnored,
    {
      stirred: () => {
        isStirred = true
      },
      failed: (path) => failed.push(path),
    },
  )
  onTestFinished(() => tree.close())
  /** After the first sign that there is something. */
  const changes = async (): Promise<string[]> => {
    const found: string[] = []
    await until('something has changed', () => {
      if (isStirred) found.push(...tree.look())
      isStirred = false
      return found.length > 0
    })
    // What belongs to the same deed may come with the next turns.
    for (let turn = 0; turn < 20; turn++) {
      await new Promise((done) => setImmediate(done))
      found.push(...tree.look())
    }
    return [...new Set(found)].map((path) => path.slice(top.length + 1)).sort()
  }
  return { top, at, tree, changes, failed }
}

test.each([
  ['writes it', (at) => writeFileSync(at('src/a.js'), 'two')],
  ['adds to it', (at) => writeFileSync(at('src/a.js'), 'two', { flag: 'a' })],
  [
    'writes another one and renames it over',
    (at) => {
      writeFileSync(at('src/.a.js.swp'), 'two')
      renameSync(at('src/.a.js.swp'), at('src/a.js'))
    },
  ],
  [
    'renames the old one away first, and tries whether it may write (vim)',
    (at) => {
      writeFileSync(at('src/4913'), '')
      rmSync(at('src/4913'))
      renameSync(at('src/a.js'), at('src/a.js~'))
      writeFileSync(at('src/a.js'), 'two')
      rmSync(at('src/a.js~'))
    },
  ],
  [
    'removes it and makes it again',
    (at) => {
      rmSync(at('src/a.js'))
      writeFileSync(at('src/a.js'), 'two')
    },
  ],
  ['only touches it', (at) => utimesSync(at('src/a.js'), 1, 1)],
  ['removes it', (at) => rmSync(at('src/a.js'))],
] as [string, (at: (name: string) => string) => void][])('an editor that %s has changed one file', async (_, save) => {
  const { at, changes } = watched()
  save(at)
  expect(await changes()).toEqual(['src/a.js'])
})

test('a new directory counts, with all that is in it, and with what is written to it later', async () => {
  const { at, changes } = watched()
  mkdirSync(at('lib/deep'), { recursive: true })
  writeFileSync(at('lib/deep/b.js'), 'one')
  expect(await changes()).toEqual(['lib/deep/b.js'])
  writeFileSync(at('lib/deep/b.js'), 'two and more')
  expect(await changes()).toEqual(['lib/deep/b.js'])
  rmSync(at('lib'), { recursive: true })
  await until('it has gone, whatever is seen of it on the way', async () => (await changes()).includes('lib'))
  mkdirSync(at('lib'))
  writeFileSync(at('lib/c.js'), 'three')
  await until('it is there again', async () => (await changes()).includes('lib/c.js'))
})

test('a checkout of 200 files', async () => {
  const { top, at, tree } = watched()
  const git = (...words: string[]): Buffer =>
    execFileSync('git', ['-C', top, '-c', 'user.name=x', '-c', 'user.email=x', ...words], { stdio: 'pipe' })
  git('init', '-q', '-b', 'main')
  const write = (text: string): void => {
    for (let n = 0; n < 200; n++) {
      mkdirSync(at(`src/d${n % 7}`), { recursive: true })
      writeFileSync(at(`src/d${n % 7}/f${n}.js`), `${text} ${n}`)
    }
  }
  write('one')
  git('add', '-A')
  git('commit', '-qm', 'one')
  git('checkout', '-qb', 'other')
  write('another')
  git('commit', '-qam', 'two')
  const seen = new Set<string>()
  const collect = (): number => {
    for (const path of tree.look()) seen.add(path)
    return seen.size
  }
  await until('all are there', () => collect() === 200)
  seen.clear()
  git('checkout', '-q', 'main')
  await until('all have changed', () => collect() === 200)
  expect([...seen].filter((path) => path.includes('.git'))).toEqual([])
})

test('packages, dot files, copies of editors and what is named do not count', async () => {
  const { at, changes, tree } = watched(['.'], ['coverage', 'public/uploads'])
  const before = tree.size
  for (const name of ['node_modules/x', '.cache', 'coverage', 'src/coverage', 'public/uploads', 'public/css'])
    mkdirSync(at(name), { recursive: true })
  for (const name of [
    'node_modules/x/index.js',
    '.cache/a',
    'coverage/a',
    'src/coverage/a',
    'public/uploads/a',
    'src/.env',
    'src/a.js~',
    'src/#a.js#',
  ])
    writeFileSync(at(name), 'x')
  writeFileSync(at('public/css/a.css'), 'x')
  expect(await changes()).toEqual(['public/css/a.css'])
  // public, public/css
  expect(tree.size).toBe(before + 2)
})

test('single files are watched by themselves, whatever they are called; directories that come in the place of others too', async () => {
  const { at, changes } = watched(['.env', 'current'])
  writeFileSync(at('other'), 'x')
  writeFileSync(at('.env'), 'A=1')
  expect(await changes()).toEqual(['.env'])
  for (const release of ['r1', 'r2']) {
    mkdirSync(at(release))
    writeFileSync(at(`${release}/a.js`), release)
    symlinkSync(at(release), at('next'))
    renameSync(at('next'), at('current'))
    expect(await changes()).toContain('current')
  }
  writeFileSync(at('r2/a.js'), 'again')
  expect(await changes()).toEqual(['current/a.js'])
})

test('links in a circle are not followed, and a link to a file changes with it', async () => {
  const { at, changes, tree } = watched()
  symlinkSync(at('.'), at('src/up'))
  expect(await changes()).toEqual(['src/up'])
  expect(readdirSync(at('src/up/src'))).toContain('up')
  expect(tree.size).toBe(3)
})

test('whose directory cannot be watched is told', () => {
  const { failed } = watched(['no/such/place'])
  expect(failed).toHaveLength(1)
})

test('a file that one of our processes has open for writing is known', () => {
  const directory = temporaryDirectory()
  const [log, source] = ['log', 'source'].map((name) => join(directory, name)) as [string, string]
  writeFileSync(source, 'x')
  const fds = [openSync(log, 'a'), openSync(source, 'r')]
  expect([...writtenByOurs([log, source])]).toEqual([log])
  for (const fd of fds) closeSync(fd)
  expect([...writtenByOurs([log, source])]).toEqual([])
})

test('the log for the eye has one line for each reload, and every fault', () => {
  const shown: string[] = []
  const log = quiet((_, event, fields) => shown.push([event, ...Object.keys(fields ?? {})].join(' ')))
  log('info', 'reload.started', { id: 1, to: 2 })
  log('info', 'worker.spawned', { generation: 2 })
  log('info', 'reload.done', { id: 1 })
  log('info', 'watch.reloaded', { id: 1 })
  log('error', 'worker.exited', { generation: 2, stderr: ['seen'] })
  log('info', 'reload.started', { id: 2, to: 3 })
  log('error', 'worker.exited', { generation: 3, stderr: ['seen'] })
  log('error', 'reload.aborted', { id: 2, stderr: ['seen'] })
  expect(shown).toEqual(['watch.reloaded id', 'worker.exited generation', 'reload.aborted id'])
})
