/**
 * scale 4 → 1 → 4 under full load. In every second round the workers come back when their old sockets have been closed, in the others while these are
 * still parked. Nobody may lose anything, and no idle connection may be closed. With `rttMs` the clients are that far away.
 */
import { farNetwork } from './far.mjs'
import { Service } from './service.mjs'

const MOST = 4

export async function scale({ rounds, parkMs, rttMs = 0, denied = false, fresh = 16, kept = 32 }) {
  const service = await Service.start({ workers: MOST, options: ['--park', `${parkMs}ms`], denied })
  const network = rttMs > 0 ? await farNetwork(rttMs) : undefined
  const found = { scales: 0, requests: 0, lost: [], closed: [], socketsClosed: 0 }
  try {
    const clients = await service.load({ fresh, kept, network })
    for (let round = 0; round < rounds; round++) {
      await order(service, 1)
      if (round % 2 === 1 && !denied) {
        const { listeners } = await service.when('what is parked is closed', (now) => count(now) === 1)
        found.socketsClosed += MOST - listeners[0].sockets.length
      }
      await order(service, MOST)
      found.scales += 2
      collect(found, await clients.take())
    }
    const { taken, counters } = await clients.end()
    collect(found, taken)
    found.requests = clients.requests
    const reasons = await service.stop()
    for (const kind of ['lost', 'closed'])
      if (found[kind].length > 0)
        reasons.push(`${found[kind].length} ${kind}: ${JSON.stringify(found[kind].slice(0, 5))}`)
    const told = ['OutRsts', 'ListenDrops', 'ListenOverflows'].filter((name) => counters[name] > 0)
    for (const name of told) reasons.push(`${name} +${counters[name]}`)
    return { reasons, figures: { ...found, lost: found.lost.length, closed: found.closed.length, counters } }
  } finally {
    await service.kill()
    await network?.end()
  }
}

const count = ({ listeners }) => listeners[0].sockets.length

async function order(service, to) {
  const { result, reason } = await service.control.scale({ to })
  if (result !== 'done') throw new Error(`scale to ${to}: ${result} ${reason}\n${service.lastLines().join('\n')}`)
}

function collect(found, { lost, closed }) {
  found.lost.push(...lost)
  found.closed.push(...closed)
}
