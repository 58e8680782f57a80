import { afterEach, expect, test } from 'vitest'
import type { Report } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { type Ask, askH2, askH2c, askHttp, askHttps } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { attempt, handTo, healthOf } from '../support/worker/probing.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const kinds: [string, Ask][] = [
  ['health.cjs', askHttp],
  ['https.cjs', askHttps],
  ['http2-secure.cjs', askH2],
  ['http2-secure.cjs', askHttps],
  ['h2c.cjs', askH2c],
]

test.each(kinds)('answers of %s to the public are counted, those to health checks are not', async (file, ask) => {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const port = await freePort()
  launcher.node(fixture(file), [port])
  const worker = await launcher.worker()
  await worker.report('listening')
  await worker.order({ type: 'count', everyMs: 10 })
  const hand = handTo(worker, `tcp *:${port}`)
  const target = file === 'health.cjs' ? '/500' : '/'
  for (let n = 0; n < 5; n++) await attempt(hand, healthOf({ timeoutMs: 5_000, target, statuses: [[100, 599]] }))
  for (let n = 0; n < 3; n++) expect(await ask(port)).toMatch(/^\d+$/)
  if (file === 'health.cjs') await askHttp(port, '/500')
  const expected = file === 'health.cjs' ? { responses: 4, errors: 1 } : { responses: 3, errors: 0 }
  const last = (): Report | undefined => worker.received.filter(({ type }) => type === 'answered').at(-1)
  await until('all are counted', () => {
    const report = last()
    return report?.type === 'answered' && report.responses >= expected.responses
  })
  expect(last()).toMatchObject({ type: 'answered', ...expected })
})
