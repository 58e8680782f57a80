import { afterEach, expect, test } from 'vitest'
import { RawConnection, requestText } from '../support/worker/raw-connection.js'
import { drain, outcomeOf, Succession } from '../support/worker/succession.js'

let scene: Succession
afterEach(() => scene.launcher.end())

test('a client that has always two requests on their way is told to close before the deadline', async () => {
  scene = await Succession.on()
  const old = await scene.start()
  const connection = await RawConnection.open(scene.where)
  // Each is answered when the next one has begun: one of them is always in hand.
  const link = requestText('/chain')
  connection.onResponse = ({ isLast }) => {
    if (!isLast) connection.write(link)
  }
  connection.write(link + link)
  const next = await scene.handOver(old)
  await scene.layLane(old, next)
  await drain(old, 3_000)
  await connection.closed()
  expect(connection.responses.filter(({ isLast }) => isLast)).toHaveLength(1)
  expect(connection.responses.at(-1)).toMatchObject({ isLast: true })
  expect(await outcomeOf(old)).toMatchObject({ closed: 0, cut: 0, moved: 0 })
})
