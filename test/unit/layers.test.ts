import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { TEST_NODE } from '../support/paths'

/*
 * The tree shows the architecture, and this keeps it so: who may import whom (docs/architecture.md, "Layers"), no cycle anywhere, and a
 * brain that knows neither clock nor process.
 */

const SRC = join(__dirname, '..', '..', 'src')

/** Each room and the rooms it may import from, itself included. Shared files are named one by one, lowest first. */
const ROOMS: readonly { readonly room: string; readonly from: readonly string[] }[] = [
  { room: 'shared', from: ['shared'] },
  { room: 'launcher/brain', from: ['launcher/brain', 'shared'] },
  { room: 'launcher', from: ['launcher', 'launcher/brain', 'shared'] },
  { room: 'serving', from: ['serving', 'shared'] },
  { room: 'worker', from: ['worker', 'serving', 'shared'] },
  { room: 'library', from: ['library', 'serving', 'shared'] },
  { room: 'index', from: ['library', 'shared'] },
  { room: 'verify', from: ['verify', 'shared'] },
  { room: 'doctor', from: ['doctor', 'launcher', 'shared'] },
  { room: 'cli', from: ['cli', 'doctor', 'launcher', 'verify', 'shared'] },
]

const files = readdirSync(SRC, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.ts'))

function roomOf(file: string): string {
  if (file.startsWith('launcher/brain/')) return 'launcher/brain'
  if (file === 'index.ts') return 'index'
  const room = file.split('/')[0] as string
  return room === file ? 'shared' : room
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8')
  return [...text.matchAll(/(?:from|import|require)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] as string)
}

function localImportsOf(file: string): string[] {
  return importsOf(file)
    .filter((name) => name.startsWith('.') && !name.endsWith('.node') && !name.endsWith('.json'))
    .map((name) => relative(SRC, join(SRC, dirname(file), name)).replace(/\.js$/, '.ts'))
    .map((name) => (name.endsWith('.ts') ? name : `${name}.ts`))
}

describe('the source tree', () => {
  it('imports only downwards', () => {
    const wrong = files.flatMap((file) => {
      const allowed = ROOMS.find(({ room }) => room === roomOf(file))?.from ?? []
      return localImportsOf(file)
        .filter((other) => !allowed.includes(roomOf(other)))
        .map((other) => `${file} → ${other}`)
    })
    expect(wrong).toEqual([])
  })

  it('has no import cycle', () => {
    const done = new Set<string>()
    const visit = (file: string, path: readonly string[]): string[] => {
      if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' → ')]
      if (done.has(file)) return []
      const found = localImportsOf(file).flatMap((other) => visit(other, [...path, file]))
      done.add(file)
      return found
    }
    expect(files.flatMap((file) => visit(file, []))).toEqual([])
  })

  it('keeps the brain pure (K-11)', () => {
    for (const file of files.filter((name) => roomOf(name) === 'launcher/brain')) {
      expect(
        importsOf(file).filter((name) => !name.startsWith('.')),
        file,
      ).toEqual([])
      expect(
        localImportsOf(file).filter((name) => roomOf(name) === 'shared' && !/protocol\.ts$/.test(name)),
        file,
      ).toEqual([])
      const text = readFileSync(join(SRC, file), 'utf8')
      expect(
        /\b(Date\.|performance\.|Math\.random|setTimeout|setInterval|process\.)/.exec(text)?.[0],
        file,
      ).toBeUndefined()
    }
  })

  it('loads the addon in one place', () => {
    const loaders = files.filter((file) => readFileSync(join(SRC, file), 'utf8').includes(".node'"))
    expect(loaders).toEqual(['native.ts'])
  })

  it('signals others by a descriptor of the process, starts nothing by a shell, and makes no code of text (S-04, S-10)', () => {
    const where = (pattern: RegExp): string[] =>
      files.filter((file) => pattern.test(readFileSync(join(SRC, file), 'utf8'))).sort()
    // Itself by its pid; and verify those that it has started.
    expect(where(/process\.kill\((?!process\.pid)/)).toEqual(['verify/load/load-main.ts', 'verify/run.ts'])
    expect(where(/['"](?:node:)?child_process['"]/).filter((file) => !/^(?:doctor|verify)\//.test(file))).toEqual([
      'library/handover/renewal.ts',
      'worker/pass-on.ts',
    ])
    expect(where(/\bshell: true|\bexec(?:Sync)?\('|\beval\(|new Function\(/)).toEqual([])
    // A config of PM2 that is a program: its user's own.
    expect(where(/['"](?:node:)?vm['"]/)).toEqual(['cli/import-pm2/read.ts'])
  })

  it('finds every local import', () => {
    for (const file of files)
      for (const other of localImportsOf(file)) expect(files, `${file} imports ${other}`).toContain(other)
  })

  it('the library loads the addon, and what acts on servers, for a handover only', () => {
    const built = join(SRC, '..', 'dist', 'index.js')
    const script = `const { listenReusePort } = require(${JSON.stringify(built)})
      listenReusePort(require('http').createServer(), { path: process.cwd() + '/' + process.pid }).then(({ close }) => {
        console.log(JSON.stringify(Object.keys(require.cache)))
        close()
      })`
    const env = { ...process.env, REUSEPORT_RUN_BINDING: '/no/such/addon' }
    const files = JSON.parse(
      execFileSync(TEST_NODE, ['-e', script], { encoding: 'utf8', cwd: tmpdir(), env }),
    ) as string[]
    expect(files.filter((file) => /\.node$|\/(serving|handover|worker)\//.test(file))).toEqual([])
  })

  it('a worker has nothing that only --metrics needs', () => {
    const built = join(SRC, '..', 'dist', 'worker', 'agent.js')
    const script = `require(${JSON.stringify(built)})
      console.log(JSON.stringify(Object.keys(require.cache)))`
    const files = JSON.parse(execFileSync(TEST_NODE, ['-e', script], { encoding: 'utf8' })) as string[]
    expect(files.filter((file) => /\/worker\//.test(file))).not.toEqual([])
    expect(files.filter((file) => /\/(figures|registries)\.js$/.test(file))).toEqual([])
  })

  it('loads what only some options need when they are given', () => {
    const built = join(SRC, '..', 'dist', 'launcher', 'launcher.js')
    const script = `require(${JSON.stringify(built)})
      console.log(JSON.stringify([Object.keys(require.cache), process.moduleLoadList]))`
    const [files, modules] = JSON.parse(execFileSync(TEST_NODE, ['-e', script], { encoding: 'utf8' })) as string[][]
    expect(
      files?.filter((file) =>
        /\/launcher\/probe\/|\/launcher\/limits|memory-check|notify-socket|service-|fd-store|heritage|stored-name|\/status-page\/|\/metrics\/|figure-files|\/http\/servers?\.js$/.test(
          file,
        ),
      ),
    ).toEqual([])
    expect(modules?.filter((name) => / (tls|http2|child_process)$/.test(name))).toEqual([])
  })
})
