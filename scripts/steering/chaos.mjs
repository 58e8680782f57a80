/**
 * Everything at once: workers are killed, stopped and let go on, their number changes, the version is reloaded, sometimes with a canary, in a random order that a seed gives, and
 * nobody waits for the end of one thing before the next. Lost may only be what a killed worker had in hand.
 */
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { generator } from '../random.mjs'
import { ascending, percentile, Service } from './service.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

const MOST = 4
const CANARY = { share: 0.3, by: 'random', forMs: 500, max5xx: null, maxLatency: null }
/** A reset reaches its client at once; on a busy machine the client may look late. */
const NOTICED_MS = 2_000
const UNNOTED = 1

export async function chaos({ seconds, seed = Math.floor(Math.random() * 2 ** 31), denied = false, standby = 0 }) {
  const options = ['--park', '300ms', '--bake', '300ms', '--hang-timeout', '500ms', '--standby', String(standby)]
  const service = await Service.start({ workers: 2, options, denied })
  const random = generator(seed)
  const pick = (list) => list[Math.floor(random() * list.length)]
  const deeds = { kill: 0, stop: 0, scale: 0, reload: 0, canary: 0 }
  const kills = []
  const [orders, pauses] = [new Set(), new Set()]
  const found = { lost: [], closed: [], results: {} }
  const waits = []
  const ordered = (kind, order) => {
    const told = order.then(({ result }) => {
      const key = `${kind} ${result}`
      found.results[key] = (found.results[key] ?? 0) + 1
      orders.delete(told)
    })
    orders.add(told)
  }
  const collect = ({ lost, closed, fresh }) => {
    found.lost.push(...lost)
    found.closed.push(...closed)
    for (const [, ms] of fresh) waits.push(ms)
  }
  const DEEDS = {
    kill(pid) {
      kills.push({ pid, at: monotonicMs() })
      signal(pid, 'SIGKILL')
    },
    stop(pid) {
      signal(pid, 'SIGSTOP')
      const pause = sleep(random() * 1_500).then(() => {
        signal(pid, 'SIGCONT')
        pauses.delete(pause)
      })
      pauses.add(pause)
    },
    scale: () => ordered('scale', service.control.scale({ to: 1 + Math.floor(random() * MOST) })),
    reload: () => ordered('reload', service.control.reload()),
    canary: () => ordered('canary', service.control.reload({ canary: CANARY })),
  }
  try {
    const clients = await service.load({ fresh: 8, kept: 16 })
    for (const end = monotonicMs() + seconds * 1_000; monotonicMs() < end; ) {
      const { slots } = await service.status()
      const pids = slots.flatMap(({ worker }) => worker?.pid ?? [])
      const reload = denied ? 'reload' : pick(['reload', 'canary'])
      const deed = pick(['kill', 'stop', 'scale', 'scale', 'scale', reload])
      if ((deed !== 'kill' && deed !== 'stop') || pids.length > 0) {
        DEEDS[deed](pick(pids))
        deeds[deed]++
      }
      collect(await clients.take())
      await sleep(random() * 600)
    }
    await Promise.all([...orders, ...pauses])
    await service.control.scale({ to: 2 })
    const isTidy = ({ listeners }) => denied || listeners[0].sockets.length === 2
    await service.when('everything is tidy', (status) => status.state === 'serving' && isTidy(status))
    const { taken } = await clients.end()
    collect(taken)
    const reasons = await service.stop()
    const hands = kills.map(({ pid, at }) => ({ at, inHand: ledgerOf(service, pid), unnoted: UNNOTED }))
    const isExcused = (one) => {
      const near = hands.filter(({ at }) => one.at >= at && one.at < at + NOTICED_MS)
      if (near.some(({ inHand }) => inHand.has(one.localPort))) return true
      const last = near.find(({ unnoted }) => unnoted > 0)
      if (last === undefined || !/^(reset-after|closed-before|reset-connecting)/.test(one.bucket ?? '')) return false
      last.unnoted--
      return true
    }
    const lost = found.lost.filter((one) => !isExcused(one))
    const closed = found.closed.filter((one) => !isExcused(one))
    if (lost.length > 0) reasons.push(`${lost.length} lost that were not in hand: ${JSON.stringify(lost.slice(0, 5))}`)
    if (closed.length > 0) reasons.push(`${closed.length} closed: ${JSON.stringify(closed.slice(0, 5))}`)
    const times = ascending(waits)
    const wait = { median: percentile(times, 0.5), p95: percentile(times, 0.95), worst: times.at(-1) }
    const lostInHand = found.lost.length - lost.length
    const figures = { seed, deeds, results: found.results, requests: clients.requests, lostInHand, lost: lost.length }
    return { reasons, figures: { ...figures, closed: closed.length, wait } }
  } finally {
    await service.kill()
  }
}

/** Nothing of one that had not begun to serve. */
function ledgerOf(service, pid) {
  try {
    return service.ledger(pid).inHand
  } catch {
    return new Set()
  }
}

function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended since.
  }
}
