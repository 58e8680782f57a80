import { expect, test } from 'vitest'
import { ask } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { until } from '../support/until'

/** What `count` workers say of themselves. */
async function saidBy(port: number, count: number): Promise<unknown[]> {
  const said = new Set<string>()
  await until(`${count} different answers`, async () => {
    said.clear()
    for (const answer of await Promise.all(Array.from({ length: 40 }, () => ask(port)))) said.add(answer)
    return said.size === count
  })
  return [...said].sort().map((text) => JSON.parse(text))
}

test.each([
  [['--compat', 'pm2'], 'NODE_APP_INSTANCE', true],
  [['--compat', 'pm2', '--instance-var', 'SHARD'], 'SHARD', true],
  [['--instance-var', 'SHARD'], 'SHARD', false],
])('%j: each worker has a number of its own, and its successor has it too', async (options, variable, isPm2) => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: ['node', fixture('servers/numbered.cjs'), String(port), 'NODE_APP_INSTANCE', 'SHARD', 'pm_id', 'name'],
    options: ['-n', '2', ...options],
  })
  const none = { NODE_APP_INSTANCE: null, SHARD: null, pm_id: null, name: null }
  const one = (number: string) => ({ ...none, ...(isPm2 ? { pm_id: number, name: 'test' } : {}), [variable]: number })
  expect(await saidBy(port, 2)).toEqual([one('0'), one('1')])
  await launcher.reload()
  expect(await saidBy(port, 2)).toEqual([one('0'), one('1')])
  await (await launcher.control()).scale({ to: 3 })
  expect(await saidBy(port, 3)).toEqual([one('0'), one('1'), one('2')])
  await launcher.stop()
})
