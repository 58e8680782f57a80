/**
 * A worker that is stopped (`stop`), or in a busy loop (`spin`), under load. Besides the clients that wait for their answers one request comes every
 * 5 ms over a new connection, so that those that wait count as often as those that do not. Judged are the new connections that began
 * after the worker stood still and before its siblings had taken over for certain; none may be lost, those in the hung worker's hand included,
 * which are answered when it is back.
 */
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { ascending, percentile, queues, Service } from './service.mjs'
import { until } from './until.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

/** Default of --hang-timeout. */
const HANG_TIMEOUT_MS = 2_000
const ALLOWED_MS = HANG_TIMEOUT_MS + 200
const HANG_MS = 3_000
const PACE_MS = 5
/** So long before its end. */
const LOOK_MS = 100

export async function hang({ workers, rounds, how, denied = false }) {
  const service = await Service.start({ workers, options: [], denied, env: { SPIN_MS: String(HANG_MS) } })
  const [p99s, all, rescues] = [[], [], []]
  const found = { hangs: 0, requests: 0, lost: [], closed: 0, inHand: 0, rescued: 0, mostQueued: 0 }
  try {
    const clients = await service.load({ fresh: 8, kept: 16 })
    clients.pace(PACE_MS)
    for (let round = 0; round < rounds; round++) {
      const slot = round % workers
      const { slots, listeners } = await service.whole(workers)
      const { pid } = slots[slot].worker
      const { inode } = listeners[0].sockets.find((socket) => socket.slot === slot)
      collect(found, await clients.take())
      const before = monotonicMs()
      process.kill(pid, how === 'spin' ? 'SIGUSR2' : 'SIGSTOP')
      // A busy loop begins with a turn of the event loop.
      const since = () => (how === 'spin' ? service.ledger(pid).busySince : before)
      const begun = await until('it stands still', () => since() >= before && since())
      const held = service.ledger(pid).inHand
      const { queued, ms } = await rescue(inode, begun)
      found.rescued += queued
      found.mostQueued = Math.max(found.mostQueued, queued)
      rescues.push(ms)
      if (how === 'stop') process.kill(pid, 'SIGCONT')
      await service.whole(workers)
      await sleep(PACE_MS)
      const taken = await clients.take()
      collect(found, taken)
      found.hangs++
      found.inHand += held.size
      const others = [...taken.fresh, ...taken.paced].filter(
        ([at, , port, by]) => at >= begun && at < begun + ALLOWED_MS && !(by === pid && held.has(port)),
      )
      const times = ascending(others.map(([, ms]) => ms))
      p99s.push(percentile(times, 0.99))
      all.push(...times)
    }
    clients.pace(0)
    const { taken, counters } = await clients.end()
    collect(found, taken)
    found.requests = clients.requests
    const reasons = await service.stop()
    if (found.lost.length > 0) reasons.push(`${found.lost.length} lost: ${JSON.stringify(found.lost.slice(0, 5))}`)
    if (found.closed > 0) reasons.push(`${found.closed} idle connections were closed`)
    const sorted = ascending(all)
    const p99 = percentile(sorted, 0.99)
    if (p99 > ALLOWED_MS) reasons.push(`p99 of new connections is ${Math.round(p99)} ms`)
    if (rescues.includes(null)) reasons.push('a queue was not rescued')
    const wait = { connections: sorted.length, p99, worst: sorted.at(-1), worstP99: Math.max(...p99s) }
    return {
      reasons,
      figures: {
        ...found,
        lost: found.lost.length,
        wait,
        rescue: { median: percentile(ascending(rescues), 0.5), worst: Math.max(...rescues) },
        counters,
      },
    }
  } finally {
    await service.kill()
  }
}

/** Looks on until the hang is over: how many waited when somebody began to take them, and how long after its begin that was. */
async function rescue(inode, begun) {
  let [queued, ms] = [0, null]
  await until('the hang is over', () => {
    const queue = queues().get(inode) ?? 0
    if (ms === null && queue < queued) ms = monotonicMs() - begun
    else if (ms === null) queued = queue
    return monotonicMs() > begun + HANG_MS - LOOK_MS
  })
  return { queued, ms }
}

function collect(found, { lost, closed }) {
  found.lost.push(...lost)
  found.closed += closed.length
}
