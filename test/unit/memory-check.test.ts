import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Settings } from '../../src/launcher/brain/state.js'
import { memoryRefusal } from '../../src/launcher/memory-check.js'
import { temporaryDirectory } from '../support/launcher'
import { World } from '../support/world.js'

const MB = 2 ** 20

/** A machine in a directory; two workers of 100 and 60 MB run on it. */
function machine(files: Record<string, string>): string {
  const root = temporaryDirectory()
  const all = {
    'proc/meminfo': 'MemTotal: 9 kB\nMemAvailable:    1048576 kB\n',
    'proc/1001/status': `Name:\ta\nVmRSS:\t 150000 kB\nRssAnon:\t ${98 * 1024} kB\nRssFile:\t 50000 kB\nRssShmem:\t ${2 * 1024} kB\n`,
    'proc/1002/status': `RssAnon:\t ${60 * 1024} kB\nRssShmem:\t 0 kB\n`,
    ...files,
  }
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

const group = (path: string, files: Record<string, string>): Record<string, string> => ({
  'proc/self/cgroup': '4:cpu:/x\n0::/a/b\n',
  ...Object.fromEntries(Object.entries(files).map(([name, text]) => [`sys/fs/cgroup${path}/${name}`, text])),
})

const refusal = (files: Record<string, string>, settings: Partial<Settings> = {}) =>
  memoryRefusal(new World(settings).start().state, machine(files))

describe('--memory-check', () => {
  test('takes each new worker for as large as the largest old one', () => {
    expect(refusal({})).toBeNull()
    expect(refusal({ 'proc/meminfo': `MemAvailable: ${200 * 1024} kB\n` })).toBeNull()
    expect(refusal({ 'proc/meminfo': `MemAvailable: ${199 * 1024} kB\n` })).toEqual({
      code: 'ERR_MEMORY',
      reason: '2 more workers need 200 MB, and 199 MB are left (MemAvailable)',
      facts: { workers: 2, perWorker: 100 * MB, needed: 200 * MB, available: 199 * MB, limit: 'MemAvailable' },
      next: expect.stringContaining('--strategy rolling --surge 1'),
    })
  })

  test('slot by slot fewer fit', () => {
    const meminfo = { 'proc/meminfo': `MemAvailable: ${150 * 1024} kB\n` }
    expect(refusal(meminfo, { strategy: 'rolling' })).toBeNull()
    expect(refusal(meminfo, { strategy: 'rolling', surge: 2 })?.facts).toMatchObject({ workers: 2 })
    const next = refusal({ 'proc/meminfo': 'MemAvailable: 9 kB\n' }, { strategy: 'rolling' })?.next
    expect(next).toBe('Run fewer workers (reuseport-run scale), or give it more memory.')
  })

  test.each([
    ['/a/b', 'memory.max'],
    ['/a/b', 'memory.high'],
    ['/a', 'memory.max'],
    ['/', 'memory.max'],
  ])('control groups from ours up: %s %s', (path, name) => {
    const current = { 'memory.current': `${700 * MB}\n`, 'memory.max': 'max\n', 'memory.high': 'max\n' }
    const files = group(path, {
      ...current,
      [name]: `${850 * MB}\n`,
      'memory.stat': `anon 1\ninactive_file ${40 * MB}\n`,
    })
    expect(refusal(files)?.facts).toMatchObject({
      available: 190 * MB,
      limit: expect.stringMatching(new RegExp(`/sys/fs/cgroup${path === '/' ? '' : path}/${name}$`)),
    })
    expect(
      refusal(group(path, { ...current, [name]: `${870 * MB}\n`, 'memory.stat': `inactive_file ${40 * MB}\n` })),
    ).toBeNull()
  })

  test('while processes wait for memory nothing is started; our control group counts before the machine', () => {
    const pressure = (share: string): string => `some avg10=${share} avg60=0.00 avg300=0.00 total=1\n`
    expect(refusal({ 'proc/pressure/memory': pressure('10.00') })).toBeNull()
    expect(refusal({ 'proc/pressure/memory': pressure('10.01') })?.facts).toMatchObject({ someAvg10: 10.01 })
    const own = group('/a/b', { 'memory.pressure': pressure('0.00') })
    expect(refusal({ ...own, 'proc/pressure/memory': pressure('90.00') })).toBeNull()
  })

  test('what cannot be read refuses nothing', () => {
    expect(memoryRefusal(new World().start().state, temporaryDirectory())).toBeNull()
  })
})

describe('a reload without room', () => {
  test('is refused to everybody who waits for it, and the next one is looked at anew', () => {
    const world = new World().start()
    world.lacksMemory = (run) => run === 1
    const from = world.effects.length
    world.tell({ type: 'reload', caller: 1, wait: 'baked' })
    expect(world.refusals).toMatchObject([{ caller: 1, refusal: { code: 'ERR_MEMORY' } }])
    expect(world.state.run).toBeNull()
    expect(Object.keys(world.state.generations)).toEqual(['1'])
    expect(world.effects.slice(from).filter((effect) => effect.do === 'spawn')).toEqual([])
    world.tell({ type: 'reload', caller: 2, wait: 'baked' })
    world.settle()
    expect(world.verdicts.find(({ callers }) => callers.includes(2))?.verdict.result).toBe('done')
  })
})
