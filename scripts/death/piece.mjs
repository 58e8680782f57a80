/**
 * `node scripts/death/piece.mjs '{"during": "reload", "rounds": 60, "seed": 1}'`: kill -9 of a launcher under load at moments that a seed gives, and another one
 * in its place up to 2 s later. `during`: steady, reload, scale, upgrade. With `part` {at, of}: at each system call of its main
 * thread in a reload (strace), or at every so-manieth. Prints what it found as JSON.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { generator } from '../random.mjs'
import { alone, ascending, percentile, Service } from '../steering/service.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

const WORKERS = 2
/** About as long as each takes, and a little more. */
const SPREAD_MS = { steady: 100, reload: 900, scale: 500, upgrade: 500 }
const GONE_MS = 2_000
const WHOLE_MS = 10_000
const ADOPTED_MS = 1_000

const plan = JSON.parse(process.argv[2])
alone()
process.stdout.write(`${JSON.stringify({ ...(await death(plan)), node: process.version })}\n`)

async function death({ during, rounds = 0, seed, part }) {
  const service = await Service.start({ workers: WORKERS, options: ['--bake', '300ms', '--park', '100ms'] })
  const random = generator(seed)
  const [lost, closed, reasons, adopted, wholes] = [[], [], [], [], []]
  let [requests, forward, deaths, missed] = [0, 0, 0, 0]
  const collect = (taken) => {
    lost.push(...taken.lost)
    closed.push(...taken.closed)
    requests += taken.requests
  }
  const kills = Array.from({ length: rounds }, () => byChance)
  try {
    if (part !== undefined)
      kills.push(...(await callsOf(service)).filter((_, at) => at % part.of === part.at).map(atCall))
    const clients = await service.load({ fresh: 8, kept: 16 })
    for (const kill of kills) {
      const before = await service.whole(WORKERS)
      if ((await kill(service, during, random)) === 'after') missed++
      deaths++
      await sleep(random() ** 2 * GONE_MS)
      const begun = monotonicMs()
      await service.again()
      adopted.push(monotonicMs() - begun)
      if (during === 'scale') await service.control.scale({ to: WORKERS })
      const after = await service.whole(WORKERS)
      const whole = monotonicMs() - begun
      wholes.push(whole)
      if (whole > WHOLE_MS) reasons.push(`it took ${Math.round(whole)} ms until it was whole`)
      if (after.working === before.working) {
        const [was, is] = [before, after].map(({ slots }) => slots.map(({ worker }) => worker.pid))
        // A worker that was being taken away is another one when it is back.
        if (was[0] !== is[0] || (during !== 'scale' && String(was) !== String(is)))
          reasons.push(`workers are ${is}, and were ${was}`)
      } else if (during === 'reload' && after.working > before.working) forward++
      else reasons.push(`generation ${after.working} serves, and ${before.working} did`)
      collect(await clients.take())
    }
    const { taken, counters } = await clients.end()
    collect(taken)
    if (lost.length > 0) reasons.push(`lost: ${lost.slice(0, 5).map(({ bucket, reason }) => `${bucket} ${reason}`)}`)
    const took = figuresOf(adopted)
    // strace costs time of its own.
    if (part === undefined && took !== null && took.p95 > ADOPTED_MS)
      reasons.push(`taken over in ${Math.round(took.p95)} ms (95 %)`)
    const figures = { deaths, missed, requests, lost: lost.length, closed: closed.length, forward, adopted: took }
    return {
      figures: { ...figures, whole: figuresOf(wholes), seed, counters },
      reasons: [...reasons, ...(await service.stop())],
    }
  } catch (error) {
    throw new Error(`${error.message}\n${service.lastLines().join('\n')}`, { cause: error })
  } finally {
    await service.kill()
  }
}

/** What is under way when it dies. Whoever ordered it is not answered. */
function begin({ control }, during) {
  const orders = {
    steady: () => undefined,
    reload: () => control.reload({ wait: 'retired' }),
    scale: () => control.scale({ to: WORKERS + 1 }).then(() => control.scale({ to: WORKERS })),
    upgrade: () => control.upgrade(),
  }
  return Promise.resolve(orders[during]()).then(
    () => true,
    () => false,
  )
}

async function byChance(service, during, random) {
  void begin(service, during)
  await sleep(random() * SPREAD_MS[during])
  await service.die()
}

/** Each system call of its main thread in a reload, by name and number: strace counts each kind for itself. */
async function callsOf(service) {
  const file = join(service.directory, 'calls')
  const strace = attach(service, ['-o', file])
  await strace.attached
  await begin(service, 'reload')
  await strace.stop()
  const counts = new Map()
  for (const line of readFileSync(file, 'latin1').split('\n')) {
    const [, name] = /^(\w+)\(/.exec(line) ?? []
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts].flatMap(([name, count]) => Array.from({ length: count }, (_, index) => [name, index + 1]))
}

/** At this one; 'after': the order was done before it came so far, or at the same time. */
function atCall([name, when]) {
  return async (service, during) => {
    const strace = attach(service, ['-o', '/dev/null', '-e', `inject=${name}:signal=SIGKILL:when=${when}`])
    await strace.attached
    const isDone = await Promise.race([begin(service, during), strace.ended.then(() => false)])
    await strace.stop()
    await service.die()
    return isDone ? 'after' : 'at'
  }
}

function attach(service, options) {
  const strace = spawn('strace', [...options, '-p', String(service.pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(strace, 'exit')
  const attached = (async () => {
    for await (const chunk of strace.stderr) if (String(chunk).includes('attached')) return
    throw new Error('strace could not attach')
  })()
  const stop = () => {
    strace.kill('SIGTERM')
    return ended
  }
  return { ended, attached, stop }
}

function figuresOf(list) {
  if (list.length === 0) return null
  const sorted = ascending(list)
  return { median: percentile(sorted, 0.5), p95: percentile(sorted, 0.95), worst: sorted.at(-1) }
}
