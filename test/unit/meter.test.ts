import { channel } from 'node:diagnostics_channel'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Meter } from '../../src/worker/meter'
import { ask } from '../support/clients'
import { until } from '../support/until'

async function listening(): Promise<{ server: Server; port: number }> {
  const server = createServer((_request, response) => response.end('answer'))
  await new Promise<void>((done) => server.listen(0, done))
  onTestFinished(() => void server.close())
  return { server, port: (server.address() as AddressInfo).port }
}

const isCounting = (): boolean => channel('http.server.response.finish').hasSubscribers

test('answers are counted while somebody looks, also of servers that come later', async () => {
  const [one, other] = [await listening(), await listening()]
  const meter = new Meter()
  onTestFinished(() => meter.stop())
  expect(isCounting()).toBe(false)
  expect(meter.look([one.server], 60_000)).toBe(0)
  for (let i = 0; i < 3; i++) await ask(one.port)
  await ask(other.port)
  await until('three', () => meter.look([one.server], 60_000) === 3)
  expect(meter.look([one.server, other.server], 60_000)).toBe(3)
  await ask(other.port)
  await until('four', () => meter.look([one.server, other.server], 60_000) === 4)
})

test('nothing is left of it when nobody has looked for so long', async () => {
  const { server, port } = await listening()
  const meter = new Meter()
  onTestFinished(() => meter.stop())
  meter.look([server], 50)
  await ask(port)
  expect(isCounting()).toBe(true)
  await until('nobody counts', () => !isCounting())
  expect(meter.look([server], 60_000)).toBe(0)
})
