import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask } from '../support/clients'
import { runCli, TestLauncher, temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

test('--log-file: the lines of the launcher, and SIGUSR1 opens it again (H-11)', async () => {
  const [port, versions, path] = [await freePort(), new Versions(), join(temporaryDirectory(), 'shop.log')]
  const launcher = new TestLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['--log-file', path],
    env: { JOURNAL_STREAM: '1:2' },
  })
  await until('it serves', () => textOf(path).includes('launcher.serving'))
  renameSync(path, `${path}.1`)
  launcher.kill('SIGUSR1')
  await until('there is a new one', () => textOf(path).includes('log.reopened'))
  await launcher.stop()
  expect(textOf(path)).toContain('launcher.stopped')
  expect(textOf(`${path}.1`)).not.toContain('log.reopened')
  expect([...launcher.events, ...launcher.errors]).toEqual([])
})

test('--log-file on a disk that is full: it serves, and ends well; one that cannot be opened: it does not start (G-07, L-09)', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = new TestLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['--log-file', '/dev/full'],
  })
  await until('it serves', () => ask(port).then(Boolean, () => false))
  await launcher.stop()
  const none = await runCli(['--log-file', '/no/such/directory/a.log', '--', 'node', 'app.js'], {
    cwd: versions.directory,
  })
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('ERR_LOG_FILE') })
})
