import { execFileSync } from 'node:child_process'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { askJson } from '../support/clients'
import { runCli, startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

const json = (directory: string, content: unknown): void =>
  writeFileSync(join(directory, 'reuseport-run.config.json'), JSON.stringify(content))

interface Printed {
  readonly file: string | null
  readonly settings: Record<string, { value: unknown; from: string }>
}

async function printed(cwd: string, words: string[] = [], env = {}): Promise<Printed> {
  const { code, stdout, stderr } = await runCli(['config', 'print', '--json', ...words], { cwd, env })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as Printed
}

test('command line over environment over file over default; each says where it comes from', async () => {
  const cwd = temporaryDirectory()
  json(cwd, { workers: 2, bake: '1s', migrate: false, surge: 3, env: { SECRET: 'hunter2' }, command: ['node', 'a.js'] })
  const env = {
    REUSEPORT_RUN_BAKE: '2s',
    REUSEPORT_RUN_NO_MIGRATE: '0',
    REUSEPORT_RUN_SURGE: '4',
    REUSEPORT_RUN_ENV_FILE: 'a\nb',
  }
  const { file, settings } = await printed(cwd, ['--surge', '5'], env)
  expect(file).toBe(join(cwd, 'reuseport-run.config.json'))
  expect(settings).toMatchObject({
    command: { value: ['node', 'a.js'], from: 'file', path: file, line: 1 },
    env: { value: ['SECRET'], from: 'file' },
    workers: { value: '2', from: 'file' },
    bake: { value: '2s', from: 'environment', variable: 'REUSEPORT_RUN_BAKE' },
    migrate: { value: true, from: 'environment' },
    envFile: { value: ['a', 'b'], from: 'environment' },
    surge: { value: '5', from: 'command line' },
    drainTimeout: { value: '30s', from: 'default' },
  })
  expect((await printed(cwd, ['--no-config'])).settings['workers']).toEqual({ value: '1', from: 'default' })
  writeFileSync(join(cwd, 'other.json'), '{"workers": 7}')
  for (const [words, more] of [
    [['--config', 'other.json'], {}],
    [[], { REUSEPORT_RUN_CONFIG: 'other.json' }],
  ] as const)
    expect((await printed(cwd, [...words], more)).settings['workers']).toMatchObject({ value: '7' })
})

test.each([
  ['mjs', 'export default { workers: 3 }'],
  ['cjs', 'module.exports = { workers: 1 + 2 }'],
  ['js', 'console.log("noise"); module.exports = Promise.resolve({ workers: 3, bake: undefined })'],
  ['js', 'Object.defineProperty(exports, "__esModule", { value: true }); exports.default = { workers: 3 }'],
  ['ts', 'const workers: number = 3\nexport default { workers }'],
] as const)('a config file .%s: %s', async (ending, text) => {
  const cwd = temporaryDirectory()
  writeFileSync(join(cwd, `reuseport-run.config.${ending}`), text)
  const run = await runCli(['config', 'print', '--json'], { cwd })
  const [major] = execFileSync(TEST_NODE, ['-p', 'process.versions.node'], { encoding: 'utf8' }).split('.')
  if (ending === 'ts' && Number(major) < 22) {
    expect(run.code).toBe(2)
    expect(run.stderr).toMatch(/ERR_CONFIG: .*\.ts cannot be read: Node v20\S* cannot read TypeScript\n {2}Node 22\.18/)
  } else expect(JSON.parse(run.stdout).settings.workers).toMatchObject({ value: '3' })
})

/** A launcher whose words are in the file alone. */
async function configured(directory: string): Promise<TestLauncher> {
  return startLauncher({ cwd: directory, env: { PWD: directory }, name: null, bake: null, command: [] })
}

test('a launcher is what the file says, is found by it, and each reload reads it anew', async () => {
  const port = await freePort()
  const [one, two] = [new Versions('one'), new Versions('two')]
  const current = join(temporaryDirectory(), 'current')
  const common = { name: 'shop', strategy: 'rolling' }
  json(one.directory, { ...common, workers: 2, bake: '0', env: { STAGE: 'a' }, command: one.command(port) })
  json(two.directory, {
    ...common,
    workers: 3,
    bake: '0.3s',
    env: { STAGE: 'b' },
    command: [...two.command(port), 'more'],
  })
  symlinkSync(one.directory, current)
  const launcher = await configured(current)
  expect(await askJson(port, '/env')).toMatchObject({ STAGE: 'a' })
  const verb = (word: string, ...words: string[]) =>
    runCli([word, '--runtime-dir', launcher.runtimeDir, ...words], { cwd: current, env: { PWD: current } })
  const status = JSON.parse((await verb('status', '--json')).stdout)
  expect(status).toMatchObject({ name: 'shop', slots: [{ slot: 0 }, { slot: 1 }] })
  const kept = ({ warnings }: { warnings: { code: string }[] }) => warnings.filter(({ code }) => code === 'config-kept')
  expect(kept(status)).toEqual([])

  rmSync(current)
  symlinkSync(two.directory, current)
  const verdict = JSON.parse((await verb('reload', '--json', '--wait', 'retired')).stdout)
  expect(verdict).toMatchObject({ result: 'done' })
  const words = one.command(port).join(' ')
  expect(verdict.changes).toContainEqual({ what: 'command', from: words, to: `${words} more` })
  expect(verdict.changes).toContainEqual({ what: 'environment STAGE', from: 'set', to: 'another value' })
  expect(await askJson(port, '/env')).toMatchObject({ STAGE: 'b' })
  expect(await askJson(port, '/argv')).toEqual([String(port), 'more'])
  // The new bake was that of this very reload; the number of workers is for `scale`.
  expect(launcher.events.filter(({ msg }) => msg === 'reload.baking')).toHaveLength(2)
  expect(await launcher.event('config.kept')).toMatchObject({ settings: ['workers'], level: 40 })
  const after = JSON.parse((await verb('status', '--json')).stdout)
  expect(after.slots).toHaveLength(2)
  expect(kept(after)).toMatchObject([{ text: expect.stringContaining('reuseport-run scale') }])
  expect(await verb('stop')).toMatchObject({ code: 0 })
  await launcher.leavesNothing()
})

test('a file with faults aborts the reload and says all of them; one put right goes on (D-22)', async () => {
  const port = await freePort()
  const app = new Versions('one')
  json(app.directory, { name: 'test', command: app.command(port), health: '/version', bake: '0' })
  const launcher = await configured(app.directory)
  json(app.directory, { name: 'test', command: app.command(port), health: '/nowhere', bake: 'soon', wrokers: 2 })
  const bad = await runCli(['reload', '--runtime-dir', launcher.runtimeDir], {
    cwd: app.directory,
    env: { PWD: app.directory },
  })
  expect(bad.code).toBe(4)
  expect(bad.stderr).toMatch(/aborted in step resolve: 2 faults\n.*bake "soon" is no time[\s\S]*did you mean workers\?/)
  expect(bad.stderr).toContain('generation 1 serves on')
  // What a generation is asked is its own matter.
  json(app.directory, {
    name: 'test',
    command: app.command(port),
    health: '/version',
    healthStatus: 404,
    readyTimeout: '0.5s',
    bake: '0',
  })
  expect(await launcher.reload()).toMatchObject({ result: 'aborted', step: 'probe' })
  json(app.directory, { name: 'test', command: app.command(port), health: '/version', stopSignal: 'SIGINT', bake: '0' })
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

test('a file with faults keeps nobody from finding the launcher', async () => {
  const port = await freePort()
  const app = new Versions('one')
  json(app.directory, { name: 'shop', command: app.command(port) })
  const launcher = await configured(app.directory)
  json(app.directory, { name: 'shop', command: 'gone', wrokers: 2 })
  const { code } = await runCli(['stop', '--runtime-dir', launcher.runtimeDir], {
    cwd: app.directory,
    env: { PWD: app.directory },
  })
  expect(code).toBe(0)
  await launcher.leavesNothing()
})

test('verify proves what the file says', async () => {
  const port = await freePort()
  const app = new Versions('one')
  json(app.directory, { command: app.command(port), workers: 3, env: { STAGE: 'a' }, balance: 'random', standby: 1 })
  const run = await runCli(
    ['verify', '--json', '--reloads', '1', '--connections', '2', '--path', '/version', '--network', 'shared'],
    { cwd: app.directory },
  )
  expect(run.stderr).toMatch(/workers \d+, \d+, \d+\)/)
  expect(JSON.parse(run.stdout)).toMatchObject({ result: 'passed' })
})
