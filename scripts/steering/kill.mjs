/**
 * kill -9 of a worker under load, again and again. Lost may be what it had in hand, which it has noted, and one connection that it had accepted
 * and not yet noted. Every second one is stopped first, until connections wait in its queue: those must all be served. A reload now
 * and then: five ends of a slot within half a minute are followed by a pause.
 */
import { createRequire } from 'node:module'
import { ascending, percentile, queues, Service } from './service.mjs'
import { until } from './until.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

/** Ends of a slot that are answered at once (restart-policy.ts). */
const ENDS_AT_ONCE = 5
/** What a stopped worker is waited for until its queue is not empty. */
const QUEUE_MS = 500
const UNNOTED = 1

export async function kill({ workers, rounds, standby = 0, denied = false }) {
  const options = ['--bake', '0', '--standby', String(standby)]
  const service = await Service.start({ workers, options, denied })
  const found = { kills: 0, requests: 0, inHand: 0, lostInHand: 0, lostElse: [], queued: 0, most: 0 }
  const [waits, gaps] = [[], []]
  try {
    const clients = await service.load({ fresh: 8, kept: 16 })
    for (let round = 0; round < rounds; round++) {
      if (round > 0 && round % (ENDS_AT_ONCE * workers) === 0) await service.reload()
      const slot = round % workers
      const { slots, listeners } = await service.whole(workers, standby)
      const { pid } = slots[slot].worker
      await clients.take()
      if (round % 2 === 1) {
        const { inode } = listeners[0].sockets.find((socket) => socket.slot === slot)
        process.kill(pid, 'SIGSTOP')
        const queue = () => queues().get(inode)
        await until('its queue is not empty', () => queue() > 0, QUEUE_MS).catch(() => undefined)
        found.queued += queue()
        found.most = Math.max(found.most, queue())
      }
      const killedAt = monotonicMs()
      process.kill(pid, 'SIGKILL')
      const status = await service.when(
        'its successor serves',
        (now) => now.slots[slot].worker?.pid !== pid && now.slots[slot].worker?.state === 'serving',
      )
      const { fresh, lost } = await clients.take()
      const { inHand } = service.ledger(pid)
      found.kills++
      found.inHand += inHand.size
      const others = lost.filter(({ localPort }) => !inHand.has(localPort))
      found.lostInHand += lost.length - others.length
      // The kernel had given it one that it could not note any more.
      const unnoted = others.filter(({ bucket }) => /^(reset-after|closed-before|reset-connecting)/.test(bucket))
      if (others.length > UNNOTED || unnoted.length < others.length) found.lostElse.push(...others)
      else found.lostInHand += others.length
      waits.push(Math.max(0, ...fresh.filter(([begun, ms]) => begun + ms > killedAt).map(([, ms]) => ms)))
      if (standby > 0) {
        const next = status.slots[slot].worker.pid
        gaps.push((await until('its first connection', () => service.ledger(next).first ?? false)) - killedAt)
      }
    }
    const { taken } = await clients.end()
    found.lostElse.push(...taken.lost)
    found.requests = clients.requests
    const reasons = await service.stop()
    if (found.lostElse.length > 0)
      reasons.push(`${found.lostElse.length} lost that were not in hand: ${JSON.stringify(found.lostElse.slice(0, 5))}`)
    const wait = figures(waits)
    const gap = standby > 0 ? figures(gaps) : null
    if (gap !== null && gap.median > 20) reasons.push(`median gap of ${gap.median} ms`)
    return { reasons, figures: { ...found, lostElse: found.lostElse.length, wait, gap } }
  } finally {
    await service.kill()
  }
}

function figures(times) {
  const sorted = ascending(times)
  const [median, p95, worst] = [0.5, 0.95, 1].map((share) => Math.round(percentile(sorted, share) * 10) / 10)
  return { median, p95, worst }
}
