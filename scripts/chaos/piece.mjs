/**
 * `node scripts/chaos/piece.mjs '{"seconds": 600, "seed": 1}'`: one chaos run, in this process. Whatever can be done to a launcher and its workers is done,
 * in an order that the seed gives, several things at a time, under load; then everything that was seen is checked. Prints what it found as JSON; `keep`: a file for
 * all that was seen, if it fails.
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../build.mjs'
import { generator } from '../random.mjs'
import { alone, Service } from '../steering/service.mjs'
import { check } from './checker.mjs'
import { Deeds } from './deeds.mjs'
import { readLedgers } from './ledger.mjs'
import { Place } from './place.mjs'
import { descriptorsOf, peakOf, wrongAtRest } from './rest.mjs'
import { fromTypeScript } from './typescript.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')
const { violation } = await fromTypeScript(join(root, 'test', 'support', 'log-automaton.ts'))

const WORKERS = 2
const CLIENTS = { fresh: 6, kept: 12, idle: 8, slow: 6 }
const OPTIONS = [
  ...['--bake', '400ms', '--park', '300ms', '--hang-timeout', '500ms'],
  // A machine that has other work to do takes its time.
  ...['--ready-timeout', '20s', '--health', '/healthz', '--health-timeout', '5s'],
  ...['--log-format', 'json', '--log-prefix'],
]
/** Deeds at a time. */
const MOST = 8
/** If nothing ends for so long, what everything waits for is given up. */
const STUCK_MS = 3_000
/** Between one and the next so much happens at most, and so much time passes. */
const MOST_EVENTS = 6
const PAUSE_MS = 700
/** To be whole again, when all is over. */
const ATTEMPTS = 3

const plan = JSON.parse(process.argv[2])
alone()
process.stdout.write(`${JSON.stringify({ ...(await chaos(plan)), node: process.version })}\n`)

async function chaos({ seconds, seed, keep }) {
  const place = new Place()
  let service
  try {
    process.once('SIGTERM', () => service?.kill().finally(() => process.exit(1)))
    service = await Service.start({
      workers: WORKERS,
      options: OPTIONS,
      under: place.under,
      program: join(root, 'scripts', 'chaos', 'program.cjs'),
      version: 'good 0',
    })
    const deeds = new Deeds({ service, log: place.log, random: generator(seed), reader: place.reader })
    const { seen, reasons, ...figures } = await live({ service, place, deeds, seconds })
    reasons.push(...(await service.stop()))
    const left = readdirSync(service.runtimeDir, { recursive: true })
    if (left.length > 0) reasons.push(`left in the runtime directory: ${left}`)
    place.log.end()
    const { deploys, orders, kills, deaths, done, missed } = deeds
    const ledgers = readLedgers(join(service.directory, 'ledger'))
    const history = { ...seen, ledgers, deploys, orders, kills, deaths, log: place.log.events }
    const { reasons: wrong, ...found } = check(history, violation)
    reasons.push(...wrong)
    if (reasons.length > 0 && keep !== undefined) writeFileSync(keep, JSON.stringify({ reasons, ...history }))
    const events = history.log.length
    return { reasons, figures: { seed, seconds, done, missed, orders: orders.length, events, ...figures, ...found } }
  } catch (error) {
    const lines = place.log.events.slice(-40).map((event) => JSON.stringify(event))
    throw new Error(`seed ${seed}: ${error.message}\n${lines.join('\n')}`, { cause: error })
  } finally {
    await service?.kill()
    place.remove()
  }
}

/** From the first request to the last. */
async function live({ service, place, deeds, seconds }) {
  const seen = { answers: [], lost: [], closed: [] }
  const collect = (taken) => {
    for (const name of Object.keys(seen)) for (const one of taken[name]) seen[name].push(one)
  }
  const clients = await service.load({ script: join(root, 'scripts', 'chaos', 'load.mjs'), ...CLIENTS })
  // What the launcher opens to print is open by now.
  const before = await descriptorsAtRest(service)
  const reasons = await rage(deeds, { seconds, take: async () => collect(await clients.take()) })
  const wholeMs = await repair(service, deeds)
  const peak = Math.max(deeds.peak, peakOf(service.pid))
  const { taken, counters } = await clients.end()
  collect(taken)
  place.end()
  reasons.push(...(await wrongAtRest(service, { workers: WORKERS, before, peak })))
  for (const name of ['ListenDrops', 'ListenOverflows'])
    if (counters[name] > 0) reasons.push(`${name} +${counters[name]}`)
  const worstMs = seen.answers.reduce((most, [, , begun, end]) => Math.max(most, end - begun), 0)
  return { seen, reasons, requests: clients.requests, wholeMs, worstMs, peakMiB: peak / 1_048_576, counters }
}

async function descriptorsAtRest(service) {
  await service.whole(WORKERS)
  return descriptorsOf(service.pid)
}

/** Deed after deed. Gives what went wrong with them. */
async function rage(deeds, { seconds, take }) {
  const [running, failures] = [new Set(), []]
  for (const end = monotonicMs() + seconds * 1_000; monotonicMs() < end; ) {
    const name = deeds.pick(Deeds.names)
    const deed = deeds
      .do(name)
      .catch((error) => failures.push(`${name}: ${error.message}`))
      .finally(() => running.delete(deed))
    running.add(deed)
    await deeds.pause(MOST_EVENTS, PAUSE_MS)
    while (running.size >= MOST) {
      const stuck = sleep(STUCK_MS, 'stuck', { ref: false })
      if ((await Promise.race([...running, stuck])) === 'stuck') await deeds.abort()
    }
    await take()
  }
  await Promise.all(running)
  return failures
}

/** From the last fault to the moment in which the service is as it was at first, in ms. */
async function repair(service, deeds) {
  const begun = monotonicMs()
  deeds.deploy('good')
  // A machine that is too busy lets a worker stand still by itself, which is a fault in a bake.
  for (let attempt = 1; ; attempt++) {
    const orders = [await deeds.scale(WORKERS), await deeds.reload('retired')]
    if (orders.every(({ result }) => result === 'done')) break
    if (attempt === ATTEMPTS) throw new Error(`at the end: ${JSON.stringify(orders)}`)
  }
  const isTidy = ({ state, generations, slots, leaving, beside, reload, scale, listeners }) =>
    state === 'serving' &&
    generations.length === 1 &&
    slots.length === WORKERS &&
    slots.every(({ worker, adoptedBy }) => worker?.state === 'serving' && adoptedBy === null) &&
    leaving.length + beside.length === 0 &&
    reload === null &&
    scale === null &&
    listeners.length === 1 &&
    listeners[0].sockets.length === WORKERS
  await service.when('everything is as it was', isTidy)
  return Math.round(monotonicMs() - begun)
}
