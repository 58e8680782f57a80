import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { startLauncher, temporaryDirectory, userEnv } from '../support/launcher'
import { fixture, ROOT, TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

/** A package as the registry would have it, installed in an empty folder without running a script. */
function install(): string {
  const folder = join(temporaryDirectory(), 'user')
  mkdirSync(folder)
  const npm = (cwd: string, ...words: string[]): string =>
    execFileSync('npm', words, { cwd, encoding: 'utf8', env: userEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  const said = npm(ROOT, 'pack', '--json', '--pack-destination', folder)
  // What prepack prints comes first.
  const [packed] = JSON.parse(said.slice(said.search(/^\[$/m))) as [{ filename: string; files: { path: string }[] }]
  const files = packed.files.map(({ path }) => path)
  expect(files).toContain('dist/worker/preload.js')
  expect(files.filter((path) => path.startsWith('prebuilds/linux-'))).toHaveLength(2)
  for (const page of [
    'README.md',
    'man/reuseport-run.1',
    'schema/config.json',
    'web/status-page.html',
    'LICENSE',
    'CHANGELOG.md',
    'SECURITY.md',
    'docs/errors.md',
  ])
    expect(files).toContain(page)
  expect(files.filter((path) => /^(src|test|native\/(test|fuzz)|build|node_modules|\.ci)\//.test(path))).toEqual([])
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  npm(folder, 'install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`)
  return folder
}

it('has the launcher and the agent in one file each, and keeps what V8 makes of it', { timeout: 120_000 }, async () => {
  const folder = install()
  const dist = join(folder, 'node_modules/reuseport-run/dist')
  for (const path of ['cli/main.js', 'cli/program.js', 'worker/preload.js'])
    expect(readFileSync(join(dist, path), 'utf8')).not.toMatch(/(?:require|import)\((['"])\.{1,2}\/[^)]*\.js\1\)/)

  const kept = (): string[] => readdirSync(join(dist, 'cli')).filter((name) => /\.v8$/.test(name))
  const [port, versions] = [await freePort(), new Versions()]
  const main = join(dist, 'cli/main.js')
  expect(kept()).toEqual([])
  const launcher = await startLauncher({ main, command: versions.command(port), cwd: versions.directory })
  await until('it is kept', () => kept().length === 1)
  await launcher.stop()

  // The next one uses it, if it is whole, and nobody else can have written it.
  const tell = join(folder, 'tell.cjs')
  writeFileSync(
    tell,
    `const vm = require('node:vm'), { Script } = vm
     vm.Script = class extends Script {
       constructor(text, options) {
         super(text, options)
         console.log(options.cachedData === undefined ? 'anew' : { rejected: this.cachedDataRejected })
       }
     }`,
  )
  const says = (env: Record<string, string> = {}): string =>
    execFileSync(TEST_NODE, ['-r', tell, main, '--version'], { encoding: 'utf8', env: { ...userEnv(), ...env } })
  const [used, anew] = [`{ rejected: false }\n${version}\n`, `anew\n${version}\n`]
  const file = join(dist, 'cli', kept()[0] as string)
  const whole = readFileSync(file)
  expect(says()).toBe(used)
  expect(says({ NODE_DISABLE_COMPILE_CACHE: '1' })).toBe(anew)
  // A sector that has not arrived on the disk: V8 does not look, and would end with a signal.
  for (let at = 512; at + 512 < whole.length; at += Math.floor(whole.length / 8)) {
    writeFileSync(file, Buffer.from(whole).fill(0x5a, at, at + 512))
    expect(says(), `${at}`).toBe(anew)
  }
  writeFileSync(file, whole)
  expect(says()).toBe(used)
  chmodSync(file, 0o666)
  expect(says()).toBe(anew)
})

it('installs without a script, from the tarball alone, and reloads (S-15)', { timeout: 120_000 }, async () => {
  const folder = install()
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as { packages: object }
  expect(Object.keys(lock.packages)).toEqual(['', 'node_modules/reuseport-run'])
  const says = (...words: string[]): string =>
    execFileSync('npx', ['--no-install', 'reuseport-run', ...words], { cwd: folder, encoding: 'utf8', env: userEnv() })
  expect(says('--version')).toBe(`${version}\n`)

  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    main: join(folder, 'node_modules/reuseport-run/dist/cli/main.js'),
    command: ['node', fixture('servers/versioned.cjs'), String(port)],
    cwd: versions.directory,
    options: ['-n', '2'],
  })
  const before = await launcher.pids()
  expect((await launcher.reload()).result).toBe('done')
  expect(await launcher.pids()).not.toEqual(before)
  await launcher.stop()
})

it('is one instance for import, require and types', { timeout: 120_000 }, () => {
  const folder = install()
  writeFileSync(
    join(folder, 'both.mjs'),
    `import { createRequire } from 'node:module'
     import { ControlClient, listenReusePort, VERSION } from 'reuseport-run'
     const required = createRequire(import.meta.url)('reuseport-run')
     console.log(required.ControlClient === ControlClient, required.listenReusePort === listenReusePort, VERSION)`,
  )
  const out = execFileSync('node', ['both.mjs'], { cwd: folder, encoding: 'utf8', env: userEnv() })
  expect(out).toBe(`true true ${version}\n`)
  expectTypes(folder)
})

/** What an editor says of a program that uses the library: as an ES module and as CommonJS, and that what is no option is an error. */
function expectTypes(folder: string): void {
  const program = readFileSync(fixture('types/library.ts'), 'utf8')
  const exported = readFileSync(join(ROOT, 'src', 'index.ts'), 'utf8').matchAll(/^export (?:type )?\{([^}]*)\}/gm)
  for (const name of [...exported].flatMap(([, names]) => (names as string).match(/[A-Z_a-z]+(?=,|\s*$)/g) ?? []))
    expect(program, name).toMatch(new RegExp(`\\b${name}\\b`))
  const files = ['types.mts', 'types.cts']
  for (const name of files) writeFileSync(join(folder, name), program)
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const words = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--lib',
    'es2023,esnext.disposable',
  ]
  const roots = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules', '@types')]
  const { status, stdout } = spawnSync(process.execPath, [compiler, ...words, ...roots, ...files], {
    cwd: folder,
    encoding: 'utf8',
  })
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
}

it('meets the agent of a launcher that is another copy', { timeout: 120_000 }, async () => {
  const folder = install()
  copyFileSync(fixture('servers/library.cjs'), join(folder, 'server.cjs'))
  writeFileSync(join(folder, 'version'), 'one')
  const port = await freePort()
  const launcher = await startLauncher({ command: ['node', 'server.cjs', String(port)], cwd: folder })
  expect(launcher.output).toEqual([expect.stringMatching(/^listens \d+ launcher 1$/)])
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})
