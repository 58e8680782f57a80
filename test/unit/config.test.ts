import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import { afterAll, describe, expect, it, test } from 'vitest'
import type * as config from '../../src/cli/config'
import type * as checks from '../../src/cli/config/check'
import { keyOf, SETTINGS } from '../../src/cli/config/keys'
import type * as read from '../../src/cli/config/read'
import { launcherOptions } from '../../src/cli/launcher-options'
import { OPTIONS } from '../../src/cli/option-table'
import { parseCommandLine } from '../../src/cli/parse'
import type * as types from '../../src/cli/value-types'
import { DEFAULTS, HEALTH_DEFAULTS } from '../../src/options'
import { ROOT } from '../support/paths'

// What is built: it loads some of its parts by require.
const built = createRequire(import.meta.url)
const { defaultOf } = built('../../dist/cli/config.js') as typeof config
const { checkConfig } = built('../../dist/cli/config/check.js') as typeof checks
const { readConfig } = built('../../dist/cli/config/read.js') as typeof read
const { checkValue, isKnown } = built('../../dist/cli/value-types.js') as typeof types

function check(content: unknown): { faults: string[]; said: checks.Configured } {
  const faults: checks.Fault[] = []
  const said = checkConfig({ path: 'c', content, lineOf: () => undefined }, faults)
  return { faults: faults.map(({ what, next }) => (next === undefined ? what : `${what}. ${next}`)), said }
}

describe('a config', () => {
  it('is turned into what the command line would say', () => {
    const { faults, said } = check({
      $schema: 'x',
      workers: 4,
      migrate: false,
      bakeMigrate: false,
      ports: [3000, 3001],
      listen: 'tcp:80',
      healthHeader: ['A: b', 'C: d'],
      healthStatus: [200, '204-299'],
      bake: 0,
      surge: undefined,
      env: { PORT: 3000, DEBUG: true, NAME: 'x' },
      command: ['node', 'a.js'],
    })
    expect(faults).toEqual([])
    expect(said).toEqual({
      values: {
        workers: '4',
        'no-migrate': true,
        'bake-migrate': false,
        ports: '3000,3001',
        listen: ['tcp:80'],
        'health-header': ['A: b', 'C: d'],
        'health-status': '200,204-299',
        bake: '0',
      },
      env: { PORT: '3000', DEBUG: 'true', NAME: 'x' },
      command: ['node', 'a.js'],
    })
  })

  it.each<[unknown, string]>([
    [[], 'it holds no object. For example: {"workers": 2, "bake": "10s"}'],
    [null, 'it holds no object. For example: {"workers": 2, "bake": "10s"}'],
    [{ wrokers: 2 }, 'wrokers is no key; did you mean workers?'],
    [{ xyzzy: 2 }, 'xyzzy is no key'],
    [{ 'drain-timeout': '3s' }, 'drain-timeout is written drainTimeout here'],
    [{ 'no-migrate': true }, 'no-migrate is written migrate here'],
    [{ canary: '1%' }, 'canary can be given on the command line only'],
    [{ config: 'x' }, 'config can be given on the command line only'],
    [{ drainTimeout: 30_000 }, 'drainTimeout 30000 is no time. Write "500ms", "30s", "2m" or "1h".'],
    [{ drainTimeout: '30000' }, 'drainTimeout "30000" is no time. Write "500ms", "30s", "2m" or "1h".'],
    [{ bake: '40d' }, 'bake "40d" is no time. Write 500ms, 30s, 2m or 1h (at most 24 days).'],
    [{ bake: '999999h' }, 'bake "999999h" is no time. Write 500ms, 30s, 2m or 1h (at most 24 days).'],
    [{ workers: '4' }, 'workers "4" is no number of workers'],
    [{ workers: 0 }, 'workers 0 is no number of workers. Give 1 to 1024, or max.'],
    [{ standby: 65 }, 'standby 65 is no number from 0 to 64'],
    [{ surge: 1.5 }, 'surge 1.5 is no number of at least 1'],
    [{ websocket: 'drop' }, 'websocket "drop" is neither close nor keep'],
    [{ websocket: null }, 'websocket null is neither close nor keep'],
    [
      { health: 'healthz' },
      'health "healthz" is neither a path nor tcp. A path begins with "/" and is percent-encoded.',
    ],
    [{ bakeMigrate: 'yes' }, 'bakeMigrate "yes" is neither true nor false'],
    [{ envFile: [1] }, 'envFile[0] 1 is no file'],
    [{ healthHeader: 'secret' }, "healthHeader is no header. Write 'Name: value'."],
    [{ command: 'node a.js' }, 'command "node a.js" is no list of words. Write ["node", "server.js"].'],
    [{ command: [] }, 'command [] is no list of words. Write ["node", "server.js"].'],
    [{ env: [] }, 'env is no object. Write {"NODE_ENV": "production"}.'],
    [{ env: { TOKEN: { secret: 1 } } }, 'env.TOKEN is neither text nor a number, true or false'],
    [{ env: { 'A B': 'x' } }, 'env.A B is no name of a variable'],
  ])('%j: %s', (content, message) => {
    expect(
      check(content).faults.map((fault) => fault.replace(' See reuseport-run --help.', '').replace(/\.$/, '')),
    ).toEqual([message.replace(/\.$/, '')])
  })

  it('has the same faults for its schema: whatever the one takes, the other takes', () => {
    const schema = JSON.parse(readFileSync(join(ROOT, 'schema', 'config.json'), 'utf8'))
    const isValid = new Ajv({ strictTypes: false, allowUnionTypes: true }).compile(schema)
    const words = SETTINGS.flatMap(({ value = '' }) => value.split('|'))
    const value = fc.oneof(
      fc.constantFrom(
        ...words,
        '1s',
        '500ms',
        '0',
        '1.5h',
        '30',
        '5%',
        '100%',
        '101%',
        '/a',
        '/a b',
        'tcp:80',
        'unix:/a',
      ),
      fc.constantFrom(
        'A: b',
        'a',
        '',
        'SIGINT',
        '200-204',
        'alive:2s',
        'alive',
        'fd:a',
        'a=fd:b',
        '5:/a',
        '0:/a',
        '5:/a,/b',
      ),
      fc.integer({ min: -1, max: 70_000 }),
      fc.constantFrom(0, 1, 1.5, 200, 404, 1e9, 1e10, Number.NaN),
      fc.boolean(),
      fc.constantFrom(null, {}, [], [200], ['a'], ['A: b'], [3000, 3001], [[]], ['200-204', 301], ['tcp:80']),
    )
    const key = fc.constantFrom(...SETTINGS.map(keyOf), 'command', 'env', 'wrokers')
    fc.assert(
      fc.property(key, value, (name, one) => {
        // Durations have an upper end, addresses a form that a pattern would only repeat.
        const content = { [name]: one }
        expect({ content, isTaken: check(content).faults.length === 0 }).toEqual({ content, isTaken: isValid(content) })
      }),
      { numRuns: 4_000 },
    )
  })
})

describe('the option table', () => {
  it('uses no word in capitals that nothing is known of', () => {
    expect(OPTIONS.filter(({ value }) => value !== undefined && !isKnown(value)).map(({ value }) => value)).toEqual([])
  })

  it.each(SETTINGS.filter((row) => defaultOf(row) !== null))(
    '--$name: its default is what counts without it',
    (row) => {
      const given = defaultOf(row) as string
      expect(() => checkValue(row, given)).not.toThrow()
      const needs = row.name.startsWith('health-')
        ? ['--health', '/']
        : row.name.startsWith('warmup-')
          ? ['--warmup', '1:/']
          : []
      const options = (...words: string[]) =>
        launcherOptions(parseCommandLine(['--name', 'a', ...needs, ...words, '--', 'node']), '/srv')
      expect(options(`--${row.name}=${given}`)).toEqual(options())
    },
  )

  it('has the defaults that a launcher has', () => {
    const { name, command, ...options } = launcherOptions(parseCommandLine(['--', 'node']), '/srv')
    expect(options).toEqual(DEFAULTS)
    expect(HEALTH_DEFAULTS.intervalMs).toBe(250)
  })
})

describe('a config file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'config-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  let count = 0
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }

  test('knows the line of each key of the first level', async () => {
    const { lineOf } = await readConfig(file('a.json', '{"a": {"b": [1,\n{"c": "x\\"y:{"}]},\n"b" : 2,\n\n"c":\n3}'))
    expect(['a', 'b', 'c', 'd'].map(lineOf)).toEqual([1, 3, 5, undefined])
  })

  test.each([
    ['{\n"a": 1,\n}', /a\.json:3 cannot be read: /],
    ['', /a\.json:1 cannot be read: /],
    ['{"a": 1', /a\.json:1 cannot be read: /],
  ])('%j says where it ends being JSON', async (text, message) => {
    await expect(readConfig(file('a.json', text))).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringMatching(message),
    })
  })

  test('that is a program may throw, export nothing, and not end', async () => {
    for (const [text, message] of [
      ['\nthrow new Error("no stage")', /b\d\.mjs cannot be read: Error: no stage \(line 2\)$/],
      ['export const workers = 2', /it has no default export/],
      ['export default { health: () => true }', /is no plain data: .*could not be cloned/],
      ['process.exit(3)', /cannot be read: it ended/],
      ['export default {', /SyntaxError/],
      ['for (;;);', /it did not end within 300 ms/],
    ] as const)
      await expect(readConfig(file(`b${++count}.mjs`, text), 300)).rejects.toMatchObject({
        code: 'ERR_CONFIG',
        message: expect.stringMatching(message),
      })
  })

  test('that is not there', async () => {
    for (const name of ['no.json', 'no.mjs'])
      await expect(readConfig(join(directory, name))).rejects.toMatchObject({ code: 'ERR_CONFIG' })
  })
})
