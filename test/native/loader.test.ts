import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

const root = join(__dirname, '..', '..')
const built = process.env['REUSEPORT_RUN_BINDING'] ?? join(root, 'build', 'Release', 'reuseport.node')
const IN_CHECKOUT = 'build/Release/reuseport.node'
// What this test runs on decides which one is right.
const glibc = (process.report.getReport() as { header?: { glibcVersionRuntime?: string } }).header?.glibcVersionRuntime
const PREBUILT = `prebuilds/linux-${process.arch}/reuseport.${glibc === undefined ? 'musl' : 'glibc'}.node`

let compiled: string
let installed: string

beforeAll(() => {
  compiled = mkdtempSync(join(tmpdir(), 'loader-'))
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const options = ['--ignoreConfig', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--skipLibCheck']
  writeFileSync(join(compiled, 'package.json'), '{ "type": "commonjs" }')
  const files = ['native.ts', 'errors.ts'].map((name) => join(root, 'src', name))
  execFileSync(process.execPath, [tsc, ...options, '--outDir', join(compiled, 'dist'), ...files], { cwd: root })
})
afterAll(() => {
  rmSync(compiled, { recursive: true })
})

/** An installation of its own, with an addon (or a file that is none) at each of the places given. */
function install(addons: Record<string, 'addon' | 'broken'>): void {
  installed = mkdtempSync(join(compiled, 'installed-'))
  cpSync(join(compiled, 'dist'), join(installed, 'dist'), { recursive: true })
  for (const [path, what] of Object.entries(addons)) {
    mkdirSync(dirname(join(installed, path)), { recursive: true })
    if (what === 'addon') copyFileSync(built, join(installed, path))
    else writeFileSync(join(installed, path), 'not an ELF file'.repeat(100))
  }
}

interface Outcome {
  loaded?: string
  code?: string
  message?: string
  next?: string
  cause?: string
  facts?: Record<string, unknown>
}

/** What native() does there, in a process of its own; which file was loaded is what the kernel has mapped. */
function load({ binding, named, before = '' }: { binding?: string; named?: string; before?: string } = {}): Outcome {
  const script = `
    ${before}
    const { native, useBinding } = require('./dist/native.js')
    if (${JSON.stringify(binding)}) useBinding(${JSON.stringify(binding)})
    try {
      native().close(native().dup(0))
      const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8')
      const loaded = /\\S+[.]node$/m.exec(maps)[0].slice(process.cwd().length + 1)
      console.log(JSON.stringify({ loaded }))
    } catch ({ code, message, next, cause, facts }) {
      console.log(JSON.stringify({ code, message, next, cause: cause?.code, facts }))
    }`
  const env = { ...process.env, REUSEPORT_RUN_BINDING: named }
  const stdout = execFileSync(process.execPath, ['-e', script], { cwd: installed, env, encoding: 'utf8' })
  return JSON.parse(stdout) as Outcome
}

describe('the addon of an installation', () => {
  it('is the one that was built there, else the prebuilt one of this platform', () => {
    install({ [IN_CHECKOUT]: 'addon', [PREBUILT]: 'addon' })
    expect(load()).toEqual({ loaded: IN_CHECKOUT })
    install({ [PREBUILT]: 'addon' })
    expect(load()).toEqual({ loaded: PREBUILT })
  })

  it('that is missing is one error: what was tried where, and how to build it (M-08)', () => {
    install({})
    const outcome = load()
    expect(outcome).toMatchObject({
      code: 'ERR_ADDON_NOT_FOUND',
      facts: {
        platform: 'linux',
        arch: process.arch,
        nodeApi: process.versions['napi'],
        tried: [IN_CHECKOUT, PREBUILT],
      },
    })
    expect(outcome.message).toContain(`linux-${process.arch}, ${glibc === undefined ? 'musl' : 'glibc'}, Node-API`)
    expect(outcome.next).toContain(join(installed, 'scripts', 'build.mjs'))
    expect(outcome.cause).toBeUndefined()
  })

  it('that cannot be loaded is told, not passed over (M-08)', () => {
    install({ [IN_CHECKOUT]: 'broken', [PREBUILT]: 'addon' })
    const outcome = load()
    expect(outcome).toMatchObject({
      code: 'ERR_ADDON_NOT_FOUND',
      cause: 'ERR_DLOPEN_FAILED',
      facts: { tried: [IN_CHECKOUT] },
    })
    expect(outcome.message).toContain('invalid ELF header')
  })
})

describe('an addon that somebody names', () => {
  beforeEach(() => {
    install({ [IN_CHECKOUT]: 'addon', 'other/asan.node': 'addon' })
  })

  it('is loaded, from the environment or by useBinding, which counts more', () => {
    expect(load({ named: join(installed, 'other/asan.node') })).toEqual({ loaded: 'other/asan.node' })
    expect(load({ named: 'other/asan.node' })).toEqual({ loaded: 'other/asan.node' })
    expect(load({ binding: join(installed, 'other/asan.node'), named: '/nowhere' })).toEqual({
      loaded: 'other/asan.node',
    })
  })

  it('and that is missing is an error: no other one takes its place', () => {
    expect(load({ named: '/nowhere/asan.node' })).toMatchObject({
      code: 'ERR_ADDON_NOT_FOUND',
      facts: { tried: ['/nowhere/asan.node'] },
    })
  })
})

describe('another platform', () => {
  it('is ERR_PLATFORM (M-08)', () => {
    install({})
    const before = "Object.defineProperty(process, 'platform', { value: 'darwin' })"
    expect(load({ before })).toMatchObject({ code: 'ERR_PLATFORM', facts: { platform: 'darwin' } })
  })
})

it('the addon has the exports of the contract and no others (S-14)', () => {
  const { exports } = { exports: createRequire(__filename)(built) as object }
  const source = execFileSync('sed', ['-n', '/^export interface Native {/,/^}/p', join(root, 'src', 'native.ts')], {
    encoding: 'utf8',
  })
  const contract = [...source.matchAll(/^ {2}(\w+)[(:]/gm)].map(([, name]) => name)
  expect(Object.keys(exports).sort()).toEqual(contract.sort())
})
