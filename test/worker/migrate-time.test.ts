import { afterEach, describe, expect, test } from 'vitest'
import { until } from '../support/until.js'
import { RawConnection } from '../support/worker/raw-connection.js'
import { drain, type One, outcomeOf, Succession, type Version } from '../support/worker/succession.js'

/*
 * How long a connection that has moved may stay idle: as long as if it had not. To Node it is a new one, which it ends with a 408 after
 * headersTimeout, and to which keepAliveTimeout does not apply.
 */

let scene: Succession
afterEach(() => scene.launcher.end())

const open = (): Promise<RawConnection> => RawConnection.open(scene.where)
const connectionsOf = ({ program }: One): number => program.lines.filter((line) => line === 'connection').length

/** Old one and successor of this version, a connection that was used before, and when. */
async function moved(version: Version): Promise<{ old: One; next: One; connection: RawConnection; usedAt: number }> {
  scene = await Succession.on()
  const old = await scene.start(version)
  const connection = await open()
  const next = await scene.handOver(old, version)
  await connection.ask()
  const usedAt = Date.now()
  await scene.leave(old, next)
  expect(await outcomeOf(old)).toMatchObject({ moved: 1 })
  return { old, next, connection, usedAt }
}

/** What a plain connection to it lives after its last answer. */
async function lifeAt(): Promise<number> {
  const plain = await open()
  await plain.ask()
  const usedAt = Date.now()
  return (await plain.closed()) - usedAt
}

/** A busy machine is late with both. */
const LATE_MS = 400

describe('a connection that has moved', () => {
  test.each([
    ['shorter than', { keepAliveTimeout: 600 }],
    ['longer than', { keepAliveTimeout: 900, headersTimeout: 500, connectionsCheckingInterval: 50 }],
  ])('keepAliveTimeout %s headersTimeout: is closed when it would have been, without a word', async (_, options) => {
    const { connection, usedAt } = await moved({ options })
    const [closedAt, life] = await Promise.all([connection.closed(), lifeAt()])
    expect(connection.responses).toHaveLength(1)
    expect([connection.text, connection.error]).toEqual(['', undefined])
    expect(closedAt - usedAt).toBeGreaterThanOrEqual(life - LATE_MS)
    expect(closedAt - usedAt).toBeLessThanOrEqual(life + LATE_MS)
  })

  test('keepAliveTimeout 0: lives for ever', async () => {
    const { next, connection } = await moved({
      options: { keepAliveTimeout: 0, headersTimeout: 300, connectionsCheckingInterval: 50 },
    })
    // Each time before Node would end it, it is made new: the program sees that.
    await until('four times new', () => connectionsOf(next) >= 5)
    expect([connection.closedAt, connection.text]).toEqual([undefined, ''])
    expect(await connection.ask()).toMatchObject({ body: String(next.program.pid), isLast: false })
  })

  test('has spoken: from then on it is like any other', async () => {
    const { next, connection } = await moved({ options: { keepAliveTimeout: 700 } })
    expect(await connection.ask()).toMatchObject({ body: String(next.program.pid), isLast: false })
    const usedAt = Date.now()
    const life = await lifeAt()
    expect((await connection.closed()) - usedAt).toBeGreaterThanOrEqual(Math.min(700, life - LATE_MS))
    expect(connection.error).toBeUndefined()
  })

  test('moves on: its time goes on with it', async () => {
    const options = { keepAliveTimeout: 1_500 }
    const { next, connection, usedAt } = await moved({ options })
    const last = await scene.handOver(next, { options })
    await scene.leave(next, last)
    expect(await outcomeOf(next)).toMatchObject({ moved: 1 })
    const [closedAt, life] = await Promise.all([connection.closed(), lifeAt()])
    expect(closedAt - usedAt).toBeGreaterThanOrEqual(life - LATE_MS)
    expect(closedAt - usedAt).toBeLessThanOrEqual(life + LATE_MS)
  })

  test('fresh: as long as a first request is waited for, by both together', async () => {
    const options = { headersTimeout: 1_200, connectionsCheckingInterval: 50 }
    scene = await Succession.on()
    const old = await scene.start({ options })
    const next = await scene.handOver(old, { options })
    const connection = await RawConnection.open(scene.where)
    await until('it is there', () => connectionsOf(next) === 1)
    const last = await scene.start({ options })
    await next.worker.order({ type: 'pause' })
    await scene.leave(next, last)
    const movedAt = Date.now()
    expect(await outcomeOf(next)).toMatchObject({ moved: 1 })
    expect((await connection.closed()) - movedAt).toBeLessThanOrEqual(1_200 + LATE_MS)
    expect(connection.error).toBeUndefined()
    await drain(old)
  })
})
