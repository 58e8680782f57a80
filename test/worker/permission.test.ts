import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { fixture, Program, TEST_NODE } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const [major = 0] = (await new Program([TEST_NODE, '-p', 'process.versions.node']).line('')).split('.').map(Number)
/** From Node 25 on the model covers the network too. */
const flags = [
  major < 22 ? '--experimental-permission' : '--permission',
  '--allow-fs-read=*',
  ...(major >= 25 ? ['--allow-net'] : []),
]

describe('node --permission', () => {
  test('without addons: plain Node, and a line that says so (J-06)', async () => {
    launcher = new FakeLauncher()
    const port = await freePort()
    const program = launcher.start([TEST_NODE, ...flags, fixture('http.cjs'), String(port)])
    expect(JSON.parse(await program.line('listening'))).toMatchObject({ port })
    expect(await askHttp(port)).toBe(String(program.pid))
    expect(launcher.workers).toEqual([])
    const ours = program.errors.filter((line) => line.startsWith('reuseport-run'))
    expect(ours).toEqual([expect.stringContaining('is not managed: --permission keeps the addon out')])
  })

  test('with addons: managed (J-06)', async () => {
    launcher = new FakeLauncher()
    const port = await freePort()
    const program = launcher.start([TEST_NODE, ...flags, '--allow-addons', fixture('http.cjs'), String(port)])
    const worker = await launcher.worker()
    await worker.report('listening')
    expect(await askHttp(port)).toBe('ECONNREFUSED')
    launcher.listen()
    await worker.order({ type: 'admit' })
    expect(await askHttp(port)).toBe(String(program.pid))
  })
})
