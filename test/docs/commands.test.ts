import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { VERBS } from '../../src/cli/option-table'
import { userEnv } from '../support/launcher'
import { Machine } from '../support/machine'
import { ROOT } from '../support/paths'
import { filesBelow, read } from './markdown'
import { type Command, type Part, patternOf, scriptOf } from './page-script'

/*
 * What README and docs tell a reader to type is typed, page by page, on a machine of its own: in /srv/shop, a project with a server.js that has
 * installed the package. The README installs it itself, from a fresh checkout beside it.
 */

/** These pages are run in their own way. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'docs/fleet.md': 'test/process/fleet.test.ts',
  'docs/migrating-from-pm2.md': 'test/process/migrating.test.ts',
  'docs/migrating.md': 'test/process/migrating.test.ts',
}

const paths = ['README.md', ...filesBelow('docs').filter((path) => path.endsWith('.md'))].filter(
  (path) => !(path in ELSEWHERE),
)

/** The machine's /srv. */
let srv: string

beforeAll(() => {
  srv = mkdtempSync(join(tmpdir(), 'rrt-srv-'))
  const shop = join(srv, 'shop')
  mkdirSync(shop)
  writeFileSync(join(shop, 'package.json'), '{ "name": "shop", "private": true }\n')
  for (const name of ['server.js', 'app.js']) cpSync(join(ROOT, 'examples', 'http', 'app.js'), join(shop, name))
  cpSync(shop, join(srv, 'with'), { recursive: true })
  const npm = (cwd: string, ...words: string[]): string =>
    execFileSync('npm', words, { cwd, encoding: 'utf8', env: userEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  npm(ROOT, 'pack', '--pack-destination', srv)
  const quietly = ['--ignore-scripts', '--offline', '--no-audit', '--no-fund']
  const { version } = JSON.parse(read('package.json')) as { version: string }
  npm(join(srv, 'with'), 'install', ...quietly, `../reuseport-run-${version}.tgz`)
  // As `git clone` would give it.
  for (const path of filesBelow('')) cpSync(join(ROOT, path), join(srv, 'reuseport-run', path))
  // But with the addon: CI has compiled it from such a checkout before any test, and it is most of the minute that this would take.
  cpSync(join(ROOT, 'build'), join(srv, 'reuseport-run', 'build'), { recursive: true })
}, 120_000)

afterAll(() => rmSync(srv, { recursive: true, force: true }))

/** A machine with the project, in its directory. */
async function shop(path: string): Promise<Machine> {
  const machine = await Machine.start({
    // What `npm ci` has fetched once is there; no machine has a network.
    npm_config_offline: 'true',
    npm_config_update_notifier: 'false',
    npm_config_loglevel: 'error',
  })
  const files =
    path === 'README.md'
      ? `cp -r ${srv}/shop ${srv}/reuseport-run /srv`
      : `cp -r ${srv}/with /srv/shop; PATH=/srv/shop/node_modules/.bin:$PATH`
  expect(await machine.run(`${files}; cd /srv/shop`)).toEqual({ code: 0, output: '' })
  return machine
}

async function perform(machine: Machine, part: Part): Promise<void> {
  if (part.do === 'write') expect(await machine.run(fileOf(part))).toEqual({ code: 0, output: '' })
  if (part.do !== 'run') return
  for (const [index, command] of part.commands.entries()) {
    // Its exit code is what the page goes on to show.
    const mayFail = part.commands[index + 1]?.text === 'echo $?'
    await type(machine, command, mayFail)
  }
}

function fileOf({ file, text }: Part & { do: 'write' }): string {
  return `cat > '${file}' <<'END-OF-FILE'\n${text}END-OF-FILE`
}

async function type(machine: Machine, { text, prints, stays }: Command, mayFail: boolean): Promise<void> {
  const pattern = prints === undefined || prints === '' ? undefined : patternOf(prints, stays)
  if (stays) {
    const serves = (output: string): boolean => !startsLauncher(text) || output.includes('launcher.serving')
    await machine.stays(text, (output) => pattern?.test(output) ?? serves(output))
    return
  }
  const { code, output } = await machine.run(text, 240_000)
  if (!mayFail) expect({ text, code, output: code === 0 ? '' : output }).toEqual({ text, code: 0, output: '' })
  // The pattern says what is meant; the difference of the two texts, where it is not met.
  if (pattern !== undefined && !pattern.test(`${output.trimEnd()}\n`)) expect(output).toBe(prints)
}

function startsLauncher(text: string): boolean {
  const words = text.split(/\s+/)
  const next = words[words.indexOf('reuseport-run') + 1]
  return words.includes('reuseport-run') && !(VERBS as readonly (string | undefined)[]).includes(next)
}

const scripts = paths.map((path) => ({ path, parts: scriptOf(path) }))
const withCommands = scripts.filter(({ parts }) => parts.some((part) => part.do === 'run'))

describe.concurrent('what a page tells to type does what the page says', () => {
  test.for(withCommands)('$path', { timeout: 400_000 }, async ({ path, parts }) => {
    const machine = await shop(path)
    try {
      for (const part of parts)
        await perform(machine, part).catch((error: Error) => {
          error.message = `${path}:${part.line}: ${error.message}`
          throw error
        })
    } finally {
      await machine.end()
    }
  })
})

test('no command of a page is left out without a reason', () => {
  const missed = scripts.flatMap(({ path, parts }) =>
    parts.flatMap((part) => (part.do === 'miss' ? `${path}:${part.line}: ${part.text}` : [])),
  )
  expect(missed, 'write it into a block of ```sh or ```console, or before it <!-- not run: why -->').toEqual([])
})

test.each(Object.entries(ELSEWHERE))('%s is run by %s', (path, by) => {
  expect(read(by)).toContain(path)
})
