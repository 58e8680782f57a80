import { afterEach, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { openFiles } from '../support/worker/kernel.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

test.each(['held', 'serving', 'paused', 'resumed', 'drained', 'drained for good'])(
  'a server that is %s has its address, and can be closed',
  async (state) => {
    launcher = new FakeLauncher()
    const port = await freePort()
    const program = launcher.node(fixture('address.cjs'), [port])
    const worker = await launcher.worker()
    await worker.report('listening')
    if (state !== 'held') {
      launcher.listen()
      await worker.order({ type: 'admit' })
    }
    if (state === 'paused' || state === 'resumed') await worker.order({ type: 'pause' })
    if (state === 'resumed') await worker.order({ type: 'resume' })
    if (state.startsWith('drained')) {
      await worker.order({ type: 'drain', deadlineMs: 5_000, last: state === 'drained for good' })
      await worker.report('drained')
    }
    const address = { address: '::', family: 'IPv6', port }
    process.kill(program.pid, 'SIGUSR1')
    const said = await until('the address', () => (program.lines.length === 2 ? program.lines : undefined))
    expect(said).toEqual(Array(2).fill(`address ${JSON.stringify([address, true])}`))

    process.kill(program.pid, 'SIGUSR2')
    expect(await worker.report('released')).toEqual({ type: 'released', id: 1 })
    await until('the last line', () => program.lines.length === 4)
    expect(program.lines.slice(2)).toEqual(['close', `address ${JSON.stringify([null, false])}`])
    expect(program.errors).toEqual([])
    launcher.closeSockets()
    expect(await askHttp(port)).toBe('ECONNREFUSED')
    // What is left of sockets is the channel.
    expect(openFiles(program.pid).filter((file) => file.startsWith('socket:'))).toHaveLength(1 + stdio(program.pid))
  },
)

/** Node makes child stdio of socket pairs. */
function stdio(pid: number): number {
  return openFiles(pid, [0, 1, 2]).filter((file) => file.startsWith('socket:')).length
}
