import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { startLauncher, temporaryDirectory, userEnv } from '../support/launcher'
import { fixture, ROOT } from '../support/paths'
import { freePort } from '../support/ports'
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

it('has the launcher and the agent in one file each', { timeout: 120_000 }, () => {
  const dist = join(install(), 'node_modules/reuseport-run/dist')
  for (const path of ['cli/main.js', 'worker/preload.js'])
    expect(readFileSync(join(dist, path), 'utf8')).not.toMatch(/(?:require|import)\((['"])\.{1,2}\/[^)]*\.js\1\)/)
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
