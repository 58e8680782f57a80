import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { UpgradeVerdict } from '../../src/control-protocol'
import { ask, Clients } from '../support/clients'
import { copyOfPackage } from '../support/copy'
import { runCli, startLauncher, temporaryDirectory } from '../support/launcher'
import { TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { descriptorsOf } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/*
 * A new launcher that could not take over: nothing changes, and the one that runs says why. Each breaks a copy of the package that is put in
 * the place of the one that was started.
 */

interface Broken {
  readonly what: string
  /** Breaks a release; `main` is its command line. */
  readonly broken: (release: string, main: string) => void
  readonly reason: RegExp
  readonly stderr?: RegExp
}

const edit = (file: string, change: (text: string) => string): void =>
  writeFileSync(file, change(readFileSync(file, 'utf8')))

const BROKEN: readonly Broken[] = [
  {
    what: 'is missing',
    broken: (release) => rmSync(release, { recursive: true }),
    reason: /^the new launcher exited with code 1: Error: Cannot find module/,
    stderr: /MODULE_NOT_FOUND/,
  },
  {
    what: 'has a syntax error',
    broken: (_release, main) => edit(main, (text) => `${text}\n)`),
    reason: /^the new launcher exited with code 1: SyntaxError/,
  },
  {
    what: 'has no addon',
    broken: (release) => rmSync(join(release, 'build'), { recursive: true }),
    reason: /ERR_ADDON_NOT_FOUND/,
  },
  {
    what: 'has an addon that cannot be loaded',
    broken: (release) => writeFileSync(join(release, 'build', 'Release', 'reuseport.node'), 'no ELF'),
    reason: /ERR_ADDON_NOT_FOUND.*could not be loaded/,
  },
  {
    what: 'is another program',
    broken: (_release, main) => writeFileSync(main, 'console.log("hello")'),
    reason: /^the new launcher is no reuseport-run that can$/,
  },
  {
    what: 'is of a version that has no upgrade',
    broken: (_release, main) => edit(main, (text) => text.replaceAll('SELF_TEST', 'NO_TEST')),
    reason: /NO_TEST|unknown option --self-test/,
  },
  {
    what: 'reads another version of the state',
    broken: (release) =>
      edit(join(release, 'dist', 'launcher', 'upgrade', 'image.js'), (text) =>
        text.replace(/IMAGE_VERSION = \d+;/, 'IMAGE_VERSION = 99;'),
      ),
    reason: /ERR_UPGRADE: .*the state is of version 1, written by reuseport-run \S+; this one reads version 99/,
  },
  {
    what: 'does not know an option any more',
    broken: (release) =>
      edit(join(release, 'dist', 'cli', 'option-table.js'), (text) => text.replaceAll("'bake'", "'bakes'")),
    reason: /ERR_USAGE: unknown option --bake; did you mean --bakes\?/,
  },
  {
    what: 'kills itself',
    broken: (_release, main) => writeFileSync(main, "process.kill(process.pid, 'SIGKILL')"),
    reason: /^the new launcher was ended by SIGKILL$/,
  },
]

test('a new launcher that could not take over is refused with its reason, whatever it is; the old one goes on (C-01, C-02, C-04)', async () => {
  const place = temporaryDirectory()
  const port = await freePort()
  const versions = new Versions()
  const turn = (release: string): void => {
    symlinkSync(release, join(place, 'next'))
    renameSync(join(place, 'next'), join(place, 'current'))
  }
  copyOfPackage(join(place, 'good'))
  turn('good')
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
    main: join(place, 'current', 'dist', 'cli', 'main.js'),
  })
  const clients = new Clients(port)
  const pids = await launcher.pids()
  const client = await launcher.control()
  const before = descriptorsOf(launcher.pid).size
  for (const [index, { what, broken, reason, stderr }] of BROKEN.entries()) {
    const release = join(place, `broken-${index}`)
    const main = copyOfPackage(release)
    turn(release)
    broken(release, main)
    const verdict: UpgradeVerdict = await client.upgrade()
    expect({ ...verdict, stderr: verdict.stderr.join('\n') }, what).toMatchObject({
      result: 'refused',
      reason: expect.stringMatching(reason),
      stderr: expect.stringMatching(stderr ?? /^/),
      gapMs: null,
    })
  }
  expect(await launcher.pids()).toEqual(pids)
  await until('no descriptor more', () => descriptorsOf(launcher.pid).size <= before)

  // Nor does USR2 reload then; and the verb's exit code says so.
  launcher.kill('SIGUSR2')
  await launcher.event('upgrade.refused', ({ text }) => String(text).includes('nothing was reloaded'))
  const words = ['upgrade', '--name', launcher.name, '--runtime-dir', launcher.runtimeDir]
  const { code, stdout, stderr } = await runCli(words)
  expect({ code, stdout, stderr }).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(
      /^upgrade refused: the new launcher was ended by SIGKILL\nthe launcher goes on as it was: /,
    ),
  })
  expect(launcher.events.some(({ msg }) => msg === 'reload.started')).toBe(false)

  // Later ones work.
  turn('good')
  expect(await client.upgrade()).toMatchObject({ result: 'done' })
  expect(await launcher.pids()).toEqual(pids)
  expect((await clients.stop()).failures).toEqual([])
  await launcher.stop()
})

test('a Node that is not there any more, or cannot be executed (C-01)', async () => {
  const place = temporaryDirectory()
  const port = await freePort()
  const versions = new Versions()
  const bin = join(place, 'bin')
  mkdirSync(bin)
  symlinkSync(TEST_NODE, join(bin, 'node'))
  const launcher = await startLauncher({
    command: [TEST_NODE, ...versions.command(port).slice(1)],
    cwd: versions.directory,
    under: ['sh', '-c', `shift; exec ${bin}/node "$@"`, 'sh'],
  })
  const client = await launcher.control()
  rmSync(join(bin, 'node'))
  expect(await client.upgrade()).toMatchObject({
    result: 'refused',
    reason: expect.stringMatching(/bin\/node is not there any more, or may not be executed/),
  })
  copyFileSync(versions.command(port)[1] as string, join(bin, 'node'))
  chmodSync(join(bin, 'node'), 0o755)
  expect(await client.upgrade()).toMatchObject({
    result: 'refused',
    reason: expect.stringMatching(/^the new launcher cannot be started: execve ENOEXEC/),
  })
  expect(await ask(port)).not.toBe('')
  await launcher.stop()
})

test('without a descriptor it is refused, and done when there is one again (C-03)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const client = await launcher.control()
  expect(await client.upgrade()).toMatchObject({ result: 'done' })
  const pids = await launcher.pids()
  const limit = (descriptors: number): void =>
    void execFileSync('prlimit', ['--pid', String(launcher.pid), `--nofile=${descriptors}:`])
  const open = descriptorsOf(launcher.pid)
  let free = 0
  while (open.has(free)) free += 1
  limit(free)
  launcher.kill('SIGUSR2')
  expect(await launcher.event('upgrade.refused')).toMatchObject({ reason: expect.stringContaining('EMFILE') })
  limit(1_024)
  await until('no descriptor more', () => descriptorsOf(launcher.pid).size <= open.size)
  expect(await client.upgrade()).toMatchObject({ result: 'done' })
  expect(await launcher.pids()).toEqual(pids)
  expect(await ask(port)).toBe(String(pids[0]))
  await launcher.stop()
})
