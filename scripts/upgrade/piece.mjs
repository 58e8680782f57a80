/**
 * `node scripts/upgrade/piece.mjs '{"upgrades": 100, …}'`: upgrades of a launcher under load, one after the other, in this process. `signals`: SIGUSR1 every
 * millisecond, and once in each upgrade, at a random moment, one worker more or one less is asked for by a signal. `nodes`: the Node
 * behind the launcher's name is another one each time. `reloads`: by SIGUSR2, so that every worker is new after each. Prints what it found
 * as JSON.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { alone, ascending, percentile, Service } from '../steering/service.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

const WORKERS = 2
/** About as long as an upgrade takes. */
const SPREAD_MS = 300

const plan = JSON.parse(process.argv[2])
alone()
process.stdout.write(`${JSON.stringify({ ...(await upgrade(plan)), node: process.version })}\n`)

async function upgrade({ upgrades, signals = false, reloads = false, nodes = [process.execPath] }) {
  const place = mkdtempSync(join(tmpdir(), 'rru-'))
  const turn = (node) => {
    symlinkSync(node, join(place, 'next'))
    renameSync(join(place, 'next'), join(place, 'node'))
  }
  turn(nodes[0])
  chmodSync(place, 0o755)
  const service = await Service.start({
    workers: WORKERS,
    node: join(place, 'node'),
    options: ['--bake', '0', '--park', '100ms', '--health', '/', '--liveness', '1s'],
  })
  const [lost, closed, reasons, gaps, times, versions] = [[], [], [], [], [], new Set()]
  let requests = 0
  const collect = (taken) => {
    lost.push(...taken.lost)
    closed.push(...taken.closed)
    requests += taken.requests
  }
  const first = await service.status()
  const { pid } = first
  const pidsOf = ({ slots }) => slots.map(({ worker }) => worker?.pid ?? null)
  const [workers, fds, rss] = [pidsOf(first), fdsOf(pid), rssOf(pid)]
  let [sent, asked] = [0, 0]
  const storm = signals
    ? setInterval(() => {
        process.kill(pid, 'SIGUSR1')
        sent++
      }, 1)
    : undefined
  try {
    const clients = await service.load({ fresh: 8, kept: 16 })
    for (let n = 0; n < upgrades; n++) {
      turn(nodes[(n + 1) % nodes.length])
      const begun = monotonicMs()
      if (reloads) await byHand(service, pid)
      else {
        const more = signals ? byChance(pid, n) : Promise.resolve()
        const { result, reason, gapMs, to } = await service.control.upgrade()
        if (result !== 'done') reasons.push(`upgrade ${n} was ${result}: ${reason}`)
        else gaps.push(gapMs)
        versions.add(to?.node)
        await more
        // What was asked for by a signal has its effect, once.
        if (signals) {
          asked++
          const slots = WORKERS + ((n + 1) % 2)
          await service.when(
            `${slots} workers serve`,
            (status) =>
              status.slots.length === slots && status.slots.every(({ worker }) => worker?.state === 'serving'),
          )
        }
      }
      times.push(monotonicMs() - begun)
      collect(await clients.take())
    }
    clearInterval(storm)
    const last = await service.whole(signals ? WORKERS + (upgrades % 2) : WORKERS)
    if (last.pid !== pid) reasons.push(`it is process ${last.pid}, and was ${pid}`)
    if (!reloads && !signals && String(pidsOf(last)) !== String(workers))
      reasons.push(`workers are ${pidsOf(last)}, and were ${workers}`)
    const { taken, counters } = await clients.end()
    collect(taken)
    // Connections of ours to the control socket, and of its health checks, come and go.
    const more = await atRest(pid, fds)
    const figures = {
      upgrades,
      requests,
      lost: lost.length,
      closed: closed.length,
      signals: sent,
      asked,
      gap: figuresOf(gaps),
      took: figuresOf(times),
      fds: more,
      rssMiB: Math.round((rssOf(pid) - rss) / 1_048_576),
      versions: [...versions].filter(Boolean),
      counters,
    }
    if (lost.length > 0) reasons.push(`lost: ${lost.slice(0, 5).map(({ bucket, reason }) => `${bucket} ${reason}`)}`)
    if (closed.length > 0 && !reloads && !signals) reasons.push(`${closed.length} connections were closed`)
    if (more > 0) reasons.push(`${more} descriptors more than before`)
    return { figures, reasons: [...reasons, ...(await service.stop())] }
  } catch (error) {
    throw new Error(`${error.message}\n${service.lastLines().join('\n')}`, { cause: error })
  } finally {
    clearInterval(storm)
    await service.kill()
    rmSync(place, { recursive: true, force: true })
  }
}

/** SIGUSR2, until launcher and workers are new. */
async function byHand(service, pid) {
  const { upgradedAt, working } = await service.status()
  process.kill(pid, 'SIGUSR2')
  await service.when(
    'everything is new',
    (status) => status.upgradedAt !== upgradedAt && status.working > working && status.state === 'serving',
  )
}

async function byChance(pid, n) {
  await sleep(Math.random() * SPREAD_MS)
  process.kill(pid, n % 2 === 0 ? 'SIGTTIN' : 'SIGTTOU')
}

/** How many descriptors more than `before` it has when nothing goes on any more. */
async function atRest(pid, before) {
  for (const deadline = monotonicMs() + 2_000; ; ) {
    const more = fdsOf(pid) - before
    if (more <= 0 || monotonicMs() > deadline) return Math.max(0, more)
    await sleep(10)
  }
}

function fdsOf(pid) {
  return readdirSync(`/proc/${pid}/fd`).length
}

function rssOf(pid) {
  return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * 4_096
}

function figuresOf(list) {
  if (list.length === 0) return null
  const sorted = ascending(list)
  return { median: percentile(sorted, 0.5), p95: percentile(sorted, 0.95), worst: sorted.at(-1) }
}
