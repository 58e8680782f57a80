/**
 * `reload --canary`, by what is asked of it: `share` (10 % of new connections, promoted by order), `client` (the same addresses always meet the
 * same side), `time` (promoted when its time has passed), `errs` and `dies` (a bad one is undone by itself), `refused` (steering is denied).
 */
import { get } from 'node:http'
import { createRequire } from 'node:module'
import { PORT, Service } from './service.mjs'
import { until } from './until.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

const WORKERS = 2
const SHARE = 0.1
/** Longer than a piece. */
const LONG_MS = 600_000
const ADDRESSES = 200
const TIMES = 20

export async function canary({ how, rounds = 1, connections = 20_000, denied = false }) {
  const service = await Service.start({ workers: WORKERS, options: ['--bake', '1s', '--bake-max-5xx', '5%'], denied })
  const found = { rounds: 0, requests: 0, lost: [], own: 0, bad: [], connections: 0, share: null, results: {} }
  try {
    const clients = await service.load({ fresh: 16, kept: 16 })
    const reasons = []
    for (let round = 0; round < rounds; round++) {
      await service.whole(WORKERS)
      reasons.push(...(await HOW[how](service, clients, found, connections)))
      found.rounds++
    }
    await service.whole(WORKERS)
    const { taken, counters } = await clients.end()
    found.own += taken.lost.filter((one) => isOfBad(found, one)).length
    found.lost.push(...taken.lost.filter((one) => !isOfBad(found, one)))
    found.requests = clients.requests
    reasons.push(...(await service.stop()))
    if (found.lost.length > 0) reasons.push(`${found.lost.length} lost: ${JSON.stringify(found.lost.slice(0, 5))}`)
    const { bad: _, ...figures } = found
    return { reasons, figures: { ...figures, lost: found.lost.length, counters } }
  } finally {
    await service.kill()
  }
}

const HOW = {
  async share(service, clients, found, connections) {
    const { pid, verdict } = await begin(service, {})
    await clients.take()
    let [all, own] = [0, 0]
    await until(
      'all connections',
      async () => {
        const { fresh, lost } = await clients.take()
        found.lost.push(...lost)
        all += fresh.length
        own += fresh.filter(([, , , by]) => by === pid).length
        return all >= connections
      },
      150_000,
    )
    await service.control.promote()
    const reasons = judge(found, await verdict, 'done')
    found.lost.push(...(await clients.take()).lost)
    found.connections += all
    found.share = own / all
    if (found.share < 0.09 || found.share > 0.11) reasons.push(`a share of ${found.share}`)
    return reasons
  },

  async client(service, clients, found) {
    const { pid, verdict } = await begin(service, { by: 'client' })
    const addresses = Array.from({ length: ADDRESSES }, (_, index) => `127.0.1.${index + 1}`)
    const sides = new Map(addresses.map((address) => [address, new Set()]))
    for (let time = 0; time < TIMES; time++)
      for (const address of addresses) sides.get(address).add((await workerFor(address)) === pid)
    await service.control.promote()
    const reasons = judge(found, await verdict, 'done')
    found.lost.push(...(await clients.take()).lost)
    found.connections += ADDRESSES * TIMES
    const own = addresses.filter((address) => sides.get(address).has(true))
    found.share = own.length / ADDRESSES
    const both = addresses.filter((address) => sides.get(address).size !== 1)
    if (both.length > 0) reasons.push(`${both.length} addresses have met both sides`)
    if (own.length === 0) reasons.push('no address has met the canary')
    return reasons
  },

  async time(service, clients, found) {
    const { verdict } = await begin(service, { forMs: 2_000 })
    const reasons = judge(found, await verdict, 'done')
    found.lost.push(...(await clients.take()).lost)
    return reasons
  },

  errs: (service, clients, found) => bad(service, clients, found, 'errs'),
  dies: (service, clients, found) => bad(service, clients, found, 'dies 1500'),

  async refused(service, clients, found) {
    const error = await service.control.reload({ canary: plan({}) }).then(
      () => new Error('it was not refused'),
      (refusal) => refusal,
    )
    found.results[error.code] = (found.results[error.code] ?? 0) + 1
    found.lost.push(...(await clients.take()).lost)
    return error.code === 'ERR_CANARY' ? [] : [error.message]
  },
}

/** Lost may be what the bad one has answered to who came before it was undone, or what it had in hand when it ended. */
async function bad(service, clients, found, version) {
  service.deploy(version)
  const { pid, verdict } = await begin(service, {})
  const reasons = judge(found, await verdict, 'undone')
  const undoneAt = monotonicMs()
  service.deploy('good')
  const { inHand } = service.ledger(pid)
  found.bad.push({ pid, undoneAt })
  const isOwn = (one) => isOfBad(found, one) || (inHand.has(one.localPort) && one.begun < undoneAt)
  const seen = await lostUntil(clients, undoneAt)
  found.own += seen.filter(isOwn).length
  found.lost.push(...seen.filter((one) => !isOwn(one)))
  return reasons
}

/** Of any round: a slow client may look at its answer when the next one is under way. */
function isOfBad({ bad }, { by, begun }) {
  return bad.some(({ pid, undoneAt }) => pid === by && begun < undoneAt)
}

/** A client may look at an answer after the verdict has come here; but not after one that was asked for later. */
async function lostUntil(clients, time) {
  const all = []
  await until('an answer that was asked for later', async () => {
    const { lost, fresh } = await clients.take()
    all.push(...lost)
    return fresh.some(([begun]) => begun >= time)
  })
  return all
}

function plan(more) {
  return { share: SHARE, by: 'random', forMs: LONG_MS, max5xx: null, maxLatency: null, ...more }
}

/** Gives the canary's pid once it is watched, and the verdict to come. */
async function begin(service, more) {
  const verdict = service.control.reload({ wait: 'retired', canary: plan(more) })
  const early = verdict.then(({ result, reason }) => {
    throw new Error(`${result} before its canary served: ${reason}`)
  })
  const { reload } = await Promise.race([
    service.when('the canary serves', ({ reload }) => reload?.step === 'canary' && reload.canary?.pid != null),
    early,
  ])
  early.catch(() => undefined)
  return { pid: reload.canary.pid, verdict }
}

function judge(found, { result, reason }, wanted) {
  found.results[result] = (found.results[result] ?? 0) + 1
  return result === wanted ? [] : [`${result} instead of ${wanted}: ${reason}`]
}

/** Pid of the worker that answers a new connection from this address. */
function workerFor(localAddress) {
  return new Promise((done, fail) => {
    get({ host: '127.0.0.1', port: PORT, localAddress, agent: false }, (response) => {
      response.resume()
      response.on('end', () => done(Number(response.headers['x-request-id'])))
    }).on('error', fail)
  })
}
