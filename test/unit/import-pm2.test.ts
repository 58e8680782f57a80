import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkConfig, type Fault } from '../../src/cli/config/check.js'
import { importApp } from '../../src/cli/import-pm2/app.js'
import { wordsOf } from '../../src/cli/import-pm2/command.js'
import { envText } from '../../src/cli/import-pm2/env-text.js'
import { ALIASES, ELSEWHERE, RULES } from '../../src/cli/import-pm2/fields.js'
import { readEcosystem } from '../../src/cli/import-pm2/read.js'
import { readEnvFile } from '../../src/launcher/env-file.js'
import { temporaryDirectory } from '../support/launcher'

/** PM2 7.0.3, lib/API/schema.json: names and other names. */
const PM2 =
  `script exec name name_prefix filter_env namespace install_url cwd args exec_interpreter interpreter node_args
  interpreterArgs interpreter_args out_file out output out_log error_file error err err_file err_log log_file log disable_logs log_type
  log_date_format time env max_memory_restart pid_file pid restart_delay exp_backoff_restart_delay source_map_support
  disable_source_map_support wait_ready instances kill_timeout shutdown_with_message listen_timeout cron_restart cron merge_logs
  combine_logs vizion autostart autorestart stop_exit_codes watch_delay watch ignore_watch watch_options min_uptime max_restarts
  execute_command exec_mode force append_env_to_name post_update trace disable_trace v8 event_loop_inspector deep_monitoring
  increment_var instance_var pmx automation treekill port username uid user gid windowsHide kill_retry_time write io`.split(
    /\s+/,
  )

const imported = (fields: Record<string, unknown>, chosen?: string) =>
  importApp({ script: 'app.js', ...fields }, '/srv/ecosystem.config.js', chosen)
const fateOf = (fields: Record<string, unknown>, field: string) =>
  imported(fields).lines.find((line) => line.field === field)?.fate

describe('fields', () => {
  test('every one that PM2 has is known', () => {
    const known = new Set([...Object.keys(RULES), ...ELSEWHERE, ...Object.keys(ALIASES)])
    expect(PM2.filter((name) => !known.has(name))).toEqual([])
  })

  test('each is reported, once, under the name that it was given by', () => {
    const values: Record<string, unknown> = Object.fromEntries(PM2.map((name) => [name, 1]))
    delete values['script']
    const given = Object.keys(values).filter(
      (name) => values[ALIASES[name] ?? name] === undefined || !(name in ALIASES),
    )
    const app = importApp(Object.fromEntries(given.map((name) => [name, 1])), '/srv/e.js', undefined)
    const fields = app.lines.map(({ field }) => field)
    expect([...new Set(fields)]).toEqual(fields)
    expect(given.filter((name) => !fields.includes(name))).toEqual([])
  })

  test.each([
    [{ instances: 0 }, { workers: 'max' }],
    [{ instances: '4' }, { workers: 4 }],
    [{ max_memory_restart: 314572800 }, { maxMemory: '300M' }],
    [{ max_memory_restart: '1g' }, { maxMemory: '1G' }],
    [{ max_memory_restart: 1000 }, { maxMemory: '1K' }],
    [{ kill_timeout: 3000 }, { killAfter: '3000ms' }],
    [{ wait_ready: true }, { ready: 'message' }],
    [{ listen_timeout: 90_000 }, { readyTimeout: '90000ms' }],
    [{ instance_var: 'ID' }, { instanceVar: 'ID' }],
    [{ watch: true }, { watch: true }],
    [{ log: '/var/log/x.log' }, { logFile: '/var/log/x.log', logPrefix: true }],
    [{ script: 'app.mjs', node_args: '--a --b="c d"' }, { command: ['node', '--a', '--b=c d', 'app.mjs'] }],
    [{ script: 'npm', args: ['run', 'serve'] }, { command: ['npm', 'run', 'serve'] }],
    [{ script: './server', interpreter: 'none' }, { command: ['./server'] }],
    [{ script: 'app.py' }, { command: ['python3', 'app.py'] }],
    [{ interpreter: 'node@20.1.0' }, { command: ['node', 'app.js'] }],
    [{ source_map_support: true }, { command: ['node', '--enable-source-maps', 'app.js'] }],
    [{ name: 'a b/c' }, { name: 'a-b-c' }],
    [{ name: 'a', append_env_to_name: true, env_x: {} }, { name: 'a-x' }],
  ])('%j', (fields, config) => {
    const app = imported(fields, 'x')
    expect(app.config).toMatchObject(config)
    // What it says can be meant.
    const faults: Fault[] = []
    checkConfig({ path: 'x', content: app.config, lineOf: () => undefined }, faults)
    expect(faults).toEqual([])
  })

  test('what cannot be had is left out', () => {
    for (const [field, value] of [
      ['cron_restart', '0 3 * * *'],
      ['autorestart', false],
      ['max_memory_restart', 'much'],
      ['instances', 'many'],
      ['out_file', 'x.log'],
      ['env', 'A=1'],
      ['gid', 33],
      ['script', 'app.py'],
      ['max_memory', '1G'],
    ] as const)
      expect([field, fateOf({ [field]: value }, field)]).toEqual([field, 'left-out'])
    expect(fateOf({ listen_timeout: 3000 }, 'listen_timeout')).toBe('differently')
    expect(imported({ listen_timeout: 3000 }).config).not.toHaveProperty('readyTimeout')
  })

  test('the environment: that of --env over the other one, and no value in any line', () => {
    const app = imported({ env: { A: 1, B: 'secret' }, env_x: { B: 'hidden', C: { d: true } }, env_y: { E: 1 } }, 'x')
    expect(app.env).toEqual({ A: '1', B: 'hidden', C: '{"d":true}' })
    expect(JSON.stringify([app.lines, app.config])).not.toMatch(/secret|hidden/)
  })
})

test('words of a line', () => {
  expect(wordsOf(`a "b c" d='e f' g`)).toEqual(['a', 'b c', 'd=e f', 'g'])
  expect(wordsOf(['a b', 1])).toEqual(['a b', '1'])
})

test('an environment file has every value as it was, or none', () => {
  const env = {
    PLAIN: 'a/b:c',
    EMPTY: '',
    SPACES: ' a b ',
    SINGLE: "it's",
    DOUBLE: 'say "x"',
    BOTH: `it's "x" \\n $HOME #1`,
    LINES: 'a\nb\n',
    TICKS: "`x` isn't",
  }
  const impossible = { ALL: '\'`"', RETURN: 'a\rb', 'NO NAME': '1' }
  const { text, without } = envText({ ...env, ...impossible })
  expect(without).toEqual(Object.keys(impossible))
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'x.env'), text)
  expect(readEnvFile('x.env', directory)).toEqual(env)
})

describe('files', () => {
  const read = async (name: string, text: string, more: Record<string, string> = {}) => {
    const directory = temporaryDirectory()
    for (const [path, content] of Object.entries({ ...more, [name]: text })) {
      mkdirSync(join(directory, path, '..'), { recursive: true })
      writeFileSync(join(directory, path), content)
    }
    return readEcosystem(name, directory)
  }

  test.each([
    ['ecosystem.json', '{ "apps": [{ "script": "a.js" }] }'],
    ['process.json', "{ apps: [{ script: 'a.js' }], /* as PM2 takes it */ }"],
    ['one.json', '{ "script": "a.js" }'],
  ])('%s: %s', async (name, text) => {
    expect((await read(name, text)).apps).toEqual([{ script: 'a.js' }])
  })

  test('YAML by the parser of the project, or not at all', async () => {
    await expect(read('e.yml', 'apps: []')).rejects.toMatchObject({ code: 'ERR_CONFIG', next: /js-yaml/ })
    const parser = 'exports.load = (text) => ({ apps: [{ script: text.trim() }] })'
    const { apps } = await read('e.yaml', 'a.js\n', { 'node_modules/js-yaml/index.js': parser })
    expect(apps).toEqual([{ script: 'a.js' }])
  })

  test.each([
    ['a.json', '{ apps: ['],
    ['b.json', '{ "apps": [] }'],
    ['d.json', '(() => { for (;;) {} })()'],
  ])('%s is refused', async (name, text) => {
    await expect(read(name, text)).rejects.toMatchObject({ code: 'ERR_CONFIG', exitCode: 2 })
  })
})
