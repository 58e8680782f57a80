import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { VERBS } from '../../src/cli/option-table'
import { MAIN, type Run, runCli, startLauncher, temporaryDirectory, userEnv } from '../support/launcher'
import { TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

/*
 * What people see, word for word: test/golden. After a change that is meant: npx vitest run test/process/output.test.ts -u, and read the
 * difference.
 */

const golden = (name: string): string => join(import.meta.dirname, '..', 'golden', `${name}.txt`)

/** A directory that is called the same in every run. */
function place(): string {
  const cwd = join(temporaryDirectory(), 'shop')
  mkdirSync(cwd)
  return cwd
}

/** What was said on both, without what differs from run to run. */
function said({ code, stdout, stderr }: Run, cwd: string): string {
  const text = `exit code ${code}\n${stdout === '' ? '' : `--- stdout\n${stdout}`}${stderr === '' ? '' : `--- stderr\n${stderr}`}`
  return text
    .replaceAll(cwd, '/srv/shop')
    .replace(/pid \d+/g, 'pid PID')
    .replaceAll(/\/tmp\/rrt-\w+/g, '/tmp/DIR')
}

/** On a terminal of this size; what it shows, escape sequences and all. */
function onTerminal(columns: number, words: string, env = {}): string {
  const line = `stty cols ${columns}; exec ${TEST_NODE} ${MAIN} ${words}`
  const { stdout } = spawnSync('script', ['-qec', line, '/dev/null'], {
    encoding: 'utf8',
    timeout: 20_000,
    env: userEnv({ TERM: 'xterm', ...env }),
  })
  return stdout.replaceAll('\r\n', '\n').replaceAll('\x1b', '\\e')
}

describe('--help', () => {
  test.each(VERBS)('of %s', async (verb) => {
    const run = await runCli([...(verb === 'start' ? [] : [verb]), '--help'], { env: { COLUMNS: '100' } })
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    expect(run.stdout.split('\n').filter((line) => line.length > 100 || /\s$/.test(line))).toEqual([])
    await expect(run.stdout).toMatchFileSnapshot(golden(`help-${verb}`))
  })

  test('is as wide as the terminal, in colour there and nowhere else', async () => {
    await expect(onTerminal(50, 'stop -h')).toMatchFileSnapshot(golden('help-stop-narrow'))
    await expect(onTerminal(110, 'stop -h')).toMatchFileSnapshot(golden('help-stop-wide'))
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }, { FORCE_COLOR: '0' }])
      expect(onTerminal(80, 'reload -h', env)).not.toContain('\\e')
    for (const [env, isColoured] of [
      [{}, false],
      [{ FORCE_COLOR: '1' }, true],
      [{ FORCE_COLOR: '1', NO_COLOR: '1' }, false],
      [{ NO_COLOR: '' }, false],
    ] as const)
      expect((await runCli(['stop', '-h'], { env })).stdout.includes('\x1b')).toBe(isColoured)
  })
})

describe('an error', () => {
  test.each<[name: string, words: readonly string[], files?: Readonly<Record<string, string>>]>([
    ['unknown-option', ['--wrokers', '2', '--', 'node', 'app.js']],
    ['option-of-another-verb', ['status', '--bake', '5s']],
    ['no-command', ['-n', '2']],
    ['two-wrong-values', ['-n', 'two', '--bake', 'soon', '--', 'node', 'app.js']],
    ['not-together', ['--ready', 'alive', '--', 'node', 'app.js']],
    ['no-launcher', ['reload', '--runtime-dir', '/tmp/rrt-none', '--name', 'shop']],
    ['missing-program', ['--', './app']],
    ['missing-env-file', ['--', 'true'], { 'reuseport-run.config.json': '{"envFile": ".env"}' }],
    ['missing-config', ['--config', 'shop.json']],
    ['two-configs', [], { 'reuseport-run.config.json': '{}', 'reuseport-run.config.mjs': '' }],
    ['config-not-json', [], { 'reuseport-run.config.json': '{\n  "workers": 2,\n' }],
    [
      'config-three-faults',
      [],
      { 'reuseport-run.config.json': '{\n  "wrokers": 2,\n  "drainTimeout": 30000,\n  "migrate": "no"\n}\n' },
    ],
    ['config-not-together', [], { 'reuseport-run.config.json': '{"command": ["true"], "liveness": "1s"}' }],
    ['completion', ['completion', 'fsih']],
  ])('%s', async (name, words, files = {}) => {
    const cwd = place()
    for (const [file, text] of Object.entries(files)) writeFileSync(join(cwd, file), text)
    const run = await runCli(words, { cwd, env: { RUNTIME_DIRECTORY: join(cwd, 'run'), PATH: '/usr/bin' } })
    expect(run.code).not.toBe(0)
    await expect(said(run, cwd)).toMatchFileSnapshot(golden(`error-${name}`))
  })

  test('a name that is taken', async () => {
    const versions = new Versions('one', place())
    const launcher = await startLauncher({ command: versions.command(await freePort()), cwd: versions.directory })
    const words = ['--runtime-dir', launcher.runtimeDir, '--name', 'test', '--', 'true']
    await expect(said(await runCli(words, { cwd: versions.directory }), versions.directory)).toMatchFileSnapshot(
      golden('error-name-taken'),
    )
    await launcher.stop()
  })

  test('has its code in red on a terminal', async () => {
    expect(onTerminal(80, 'reload --jsno 2>&1')).toContain(
      'reuseport-run: \\e[31mERR_USAGE:\\e[39m unknown option --jsno',
    )
  })
})
