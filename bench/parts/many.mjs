// What grows with the number of workers, and of listeners: reloads of 1 to 64 tiny workers, beside as many plain processes that are started and ended;
// and 1,000 listeners in one worker.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { startCluster } from '../contenders/contenders.mjs'
import { goalOf, median, ms, ratio, tableOf } from '../figures.mjs'
import { withLauncher, withScratch } from '../launcher.mjs'
import { threadsMs } from '../usage.mjs'

const require = createRequire(import.meta.url)

const SUBJECT = 'reuseport-run'
const BASE = 'plain node'
const CLUSTER = 'node:cluster'
const TINY = join(import.meta.dirname, '..', 'contenders', 'tiny.cjs')
const LISTENERS = join(import.meta.dirname, '..', 'contenders', 'listeners.cjs')
/** Below those that the kernel gives to clients. */
const FIRST_PORT = 10_000

export const title = 'Many workers, many listeners'
export const contenders = [SUBJECT, BASE, CLUSTER]
export const isAlone = true
export const rounds = 5
export const plan = { workers: [1, 2, 4, 8, 16, 32, 64], reloads: 1, listeners: 1_000 }
export const smoke = { workers: [1, 2], reloads: 1, listeners: 10 }

const WAYS = {
  [SUBJECT]: { replace: reload, listen: listenInWorker },
  [BASE]: { replace: startAndEnd, listen: listenPlainly },
  [CLUSTER]: { listen: listenInCluster },
}

/** `replaced`: by number of workers, ms until as many are new, and the launcher's ms of processor time; `listened`: ms. */
export async function measure({ who, plan: { workers, reloads, listeners } }) {
  const { replace, listen } = WAYS[who]
  const replaced = {}
  if (replace !== undefined) for (const count of workers) replaced[count] = await replace(count, reloads)
  const listened = await withScratch(async (scratch) => {
    const took = join(scratch, 'took')
    Object.assign(process.env, { PORT: String(FIRST_PORT), LISTENERS: String(listeners), TOOK: took })
    return listen(took)
  })
  return { replaced, listened }
}

/** From the order until nothing of the old is left. */
function reload(count, reloads) {
  const { ControlClient } = require('../../dist/control-client.js')
  const options = ['-n', String(count), '--bake', '0']
  return withLauncher(process.execPath, options, [TINY], async ({ runtimeDir, pid }) => {
    const control = await ControlClient.connect({ name: 'bench', runtimeDir })
    const times = []
    const before = threadsMs(pid)
    for (let n = 0; n < reloads; n++) {
      const begun = performance.now()
      const { result, reason } = await control.reload({ wait: 'retired' })
      if (result !== 'done') throw new Error(`${result}: ${reason}`)
      times.push(performance.now() - begun)
    }
    return { ms: median(times), launcher: (threadsMs(pid) - before) / reloads }
  })
}

/** So many, at once: until all listen, and until all have ended. */
async function startAndEnd(count) {
  const begun = performance.now()
  const children = Array.from({ length: count }, () =>
    spawn(process.execPath, [TINY], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, PORT: '0' } }),
  )
  await Promise.all(children.map(({ stdout }) => once(stdout, 'data')))
  const ends = children.map((child) => once(child, 'exit'))
  for (const child of children) child.kill('SIGTERM')
  await Promise.all(ends)
  return { ms: performance.now() - begun }
}

function listenInWorker(took) {
  return withLauncher(process.execPath, [], [LISTENERS], () => written(took), { PORT: String(FIRST_PORT) })
}

async function listenPlainly(took) {
  const child = spawn(process.execPath, [LISTENERS], { stdio: ['ignore', 'ignore', 'inherit'] })
  try {
    return await written(took)
  } finally {
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
}

async function listenInCluster(took) {
  const { stop } = await startCluster({ policy: 'rr', program: LISTENERS, workers: 1 })
  try {
    return await written(took)
  } finally {
    await stop()
  }
}

async function written(file) {
  const deadline = performance.now() + 60_000
  while (!existsSync(file)) {
    if (performance.now() > deadline) throw new Error('not all listen')
    await new Promise((done) => setTimeout(done, 5))
  }
  return Number(readFileSync(file, 'utf8'))
}

const countsOf = (found) => Object.keys(found[SUBJECT][0].replaced).map(Number)
const perWorker = (found, name, count) => found[name].map(({ replaced }) => replaced[count].ms / count)

export function page(found) {
  const counts = countsOf(found)
  const rows = counts.map((count) => {
    const [own, plain] = [SUBJECT, BASE].map((name) => perWorker(found, name, count))
    const launcher = median(found[SUBJECT].map(({ replaced }) => replaced[count].launcher))
    return [
      count,
      ms(median(own) * count),
      ms(median(own)),
      ms(median(plain)),
      ratio(median(own.map((one, round) => one / plain[round]))),
      ms(launcher),
      ms(launcher / count),
    ]
  })
  const head = [
    ...['workers', 'reload, ms', 'a worker', 'plain node: started and ended', 'ratio'],
    ...['CPU of the launcher, ms', 'a worker'],
  ]
  const listened = Object.entries(found).map(([name, all]) => [name, ms(median(all.map((round) => round.listened)))])
  return `A reload is counted from the order until nothing of the old is left. All workers are started at once (\`--surge\` bounds it). Beside it as many
plain processes of the same program, started at once, and ended when all of them listen: what the machine takes for the processes alone.

${tableOf(head, rows)}

### 1,000 listeners in one worker

From the first \`listen\` to the last 'listening'.

${tableOf(['', 'ms'], listened)}
`
}

export function goals(found) {
  const most = Math.max(...countsOf(found))
  const some = countsOf(found).findLast((count) => count <= Math.max(1, most / 8))
  const few = perWorker(found, SUBJECT, some)
  return [
    goalOf(
      'reload of 64 tiny workers: ms a worker against those of 8',
      '≤',
      1.2,
      perWorker(found, SUBJECT, most).map((one, round) => one / few[round]),
    ),
    goalOf(
      '1,000 listeners in one worker, from the first `listen` to the last, ms',
      '≤',
      100,
      found[SUBJECT].map(({ listened }) => listened),
    ),
  ]
}
