import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { native } from '../../src/native'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'

/** A server behind a shell that speaks for it; `first` is what the shell does before it becomes the server. */
async function start(first: string, more: readonly string[] = []): Promise<{ launcher: TestLauncher; port: number }> {
  const port = await freePort()
  const server = `exec node ${fixture('servers/versioned.cjs')} ${port}`
  const launcher = await startLauncher({
    command: ['sh', '-c', `${first} ${server}`],
    options: ['--ready', 'notify', ...more],
    cwd: new Versions().directory,
  })
  return { launcher, port }
}

test('a worker and its children speak for it, strangers do not', async () => {
  // Waits for its answer (BARRIER=1): the datagram's descriptor must be closed for it to end.
  const { launcher } = await start(
    'systemd-notify --status="warming up" --ready && (sh -c "systemd-notify --status=deeper" && :) &&',
  )
  const [pid] = await launcher.pids()
  for (const text of ['warming up', 'deeper']) await launcher.event('worker.status', (event) => event['text'] === text)

  expect((await launcher.status()).slots[0]?.worker?.text).toBe('deeper')
  expect((await launcher.run('status')).stdout).toContain('says "deeper"')

  const socket = native().socket('unix', 'datagram')
  const path = join(launcher.directory, 'notify.sock')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  const send = (text: string): boolean => native().sendDatagram(socket, path, Buffer.from(text), [])
  for (const text of ['', '=', 'X=1', 'READY', '\0']) send(text)
  send('READY=1\nSTATUS=I am somebody else')
  const dropped = await launcher.event('notify.dropped')
  expect(dropped).toMatchObject({ workerPid: process.pid, reason: expect.stringContaining('from no worker') })
  send(`STATUS=${'x'.repeat(5_000)}`)
  await launcher.event('notify.dropped', ({ reason }) => reason === 'it was too long')
  native().close(socket)
  expect(launcher.events.filter(({ msg }) => msg === 'notify.dropped')).toHaveLength(2)
  expect(launcher.events.filter(({ msg }) => msg === 'worker.status')).toHaveLength(2)
  expect(await launcher.pids()).toEqual([pid])
  await launcher.stop()
})
