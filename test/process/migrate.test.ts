import { expect, test } from 'vitest'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { Versions } from '../support/versions'
import { KeepAliveLoad } from '../support/worker/keep-alive-load'

async function start(more: string[] = []): Promise<{ launcher: TestLauncher; port: number; versions: Versions }> {
  const port = await freePort()
  const versions = new Versions()
  const command = versions.command(port)
  const launcher = await startLauncher({ command, options: ['-n', '2', ...more], cwd: versions.directory })
  return { launcher, port, versions }
}

test('ten reloads under keep-alive clients of every temper: none fails, none is closed, none is told to close', async () => {
  const { launcher, port } = await start()
  const busy = new KeepAliveLoad(port, { connections: 16, thinkMs: 20 })
  const thinking = new KeepAliveLoad(port, { connections: 284, thinkMs: 800 })
  for (let round = 0; round < 10; round++) {
    const { result, workers } = await launcher.reload('retired')
    expect(result).toBe('done')
    expect(workers.map(({ cut, closed }) => ({ cut, closed }))).toEqual([
      { cut: 0, closed: 0 },
      { cut: 0, closed: 0 },
    ])
    expect(workers.reduce((sum, { moved }) => sum + moved, 0)).toBe(300)
  }
  for (const load of [busy, thinking]) expect(await load.stop()).toMatchObject({ failed: 0, closedIdle: 0, ended: 0 })
  await launcher.stop()
})
