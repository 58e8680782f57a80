// What grows with the number of connections: the time that a status takes, and what a worker has in memory for each that is idle. (What grows with the
// number of workers is in many.mjs.)

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { answers } from '../contenders/contenders.mjs'
import { goalOf, median, ms, tableOf } from '../figures.mjs'
import { freePort, withLauncher } from '../launcher.mjs'
import { memoryOf } from '../usage.mjs'

const require = createRequire(import.meta.url)

const SUBJECT = 'reuseport-run'
const BASE = 'plain node'
const PROGRAM = ['--expose-gc', join(import.meta.dirname, '..', 'contenders', 'weighs.cjs')]
const CLIENT = join(import.meta.dirname, '..', 'clients', 'idle.cjs')
const WORKERS = 2
/** Of one client: less than the descriptors that a process may usually have. */
const OF_ONE = 5_000

export const title = 'Many connections'
export const contenders = [SUBJECT, BASE]
export const isAlone = true
export const rounds = 3
/** Idle connections of two workers; the plain one gets half of them, as each of the two does. */
export const plan = { connections: [0, 1_000, 5_000, 10_000, 20_000], calls: 50 }
export const smoke = { connections: [0, 4, 40], calls: 2 }

/** For each number of connections: `status`, ms; `heap` and `own`, bytes of all workers together: after a collection, and in pages of theirs alone. */
export async function measure({ who, plan }) {
  const clients = []
  try {
    return await (who === SUBJECT ? inWorkers(plan, clients) : plainly(plan, clients))
  } finally {
    await Promise.all(clients.map((client) => killed(client)))
  }
}

function inWorkers({ connections, calls }, clients) {
  const { ControlClient } = require('../../dist/control-client.js')
  const options = ['-n', String(WORKERS)]
  return withLauncher(process.execPath, options, PROGRAM, async ({ port, runtimeDir }) => {
    const control = await ControlClient.connect({ name: 'bench', runtimeDir })
    const found = []
    for (const count of connections) {
      await open(port, count, clients)
      const times = []
      for (let n = 0; n < calls; n++) {
        const begun = performance.now()
        await control.status()
        times.push(performance.now() - begun)
      }
      found.push({ count, status: median(times), ...(await weigh(port, WORKERS)) })
    }
    return found
  })
}

async function plainly({ connections }, clients) {
  const port = await freePort()
  const env = { ...process.env, PORT: String(port) }
  const child = spawn(process.execPath, PROGRAM, { stdio: ['ignore', 'ignore', 'inherit'], env })
  try {
    await answers(port)
    const found = []
    for (const count of connections) {
      await open(port, count / WORKERS, clients)
      found.push({ count: count / WORKERS, ...(await weigh(port, 1)) })
    }
    return found
  } finally {
    await killed(child)
  }
}

/** As many more as there are to be. */
async function open(port, count, clients) {
  for (let left = count - clients.reduce((sum, { held }) => sum + held, 0); left > 0; left -= OF_ONE) {
    const held = Math.min(left, OF_ONE)
    const client = fork(CLIENT, [port, held].map(String))
    clients.push(Object.assign(client, { held }))
    await once(client, 'message')
  }
}

async function killed(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** The kernel chooses who answers: asked until all have. */
async function weigh(port, workers) {
  const heaps = new Map()
  while (heaps.size < workers) {
    const answer = await fetch(`http://127.0.0.1:${port}/memory`, { headers: { connection: 'close' } })
    const { pid, heap } = await answer.json()
    heaps.set(pid, heap)
  }
  return { heap: [...heaps.values()].reduce((sum, heap) => sum + heap, 0), own: memoryOf([...heaps.keys()]).own * 1024 }
}

/** Bytes for each connection beyond the first few, which bring what a process has once. */
function perConnection(found, name, key) {
  return found[name].map((steps) => {
    const [few, most] = [steps[1], steps.at(-1)]
    return (most[key] - few[key]) / (most.count - few.count)
  })
}

const beyond = (found, key) => {
  const plain = perConnection(found, BASE, key)
  return perConnection(found, SUBJECT, key).map((bytes, round) => bytes - plain[round])
}

export function page(found) {
  const steps = found[SUBJECT][0].map(({ count }) => count)
  const statuses = steps.map((count, step) => [
    count.toLocaleString('en'),
    ms(median(found[SUBJECT].map((round) => round[step].status))),
  ])
  const bytes = (values) => Math.round(median(values)).toLocaleString('en')
  const memory = [SUBJECT, BASE].map((name) => [
    name,
    ...['heap', 'own'].map((key) => bytes(perConnection(found, name, key))),
  ])
  memory.push(['beyond plain node', ...['heap', 'own'].map((key) => bytes(beyond(found, key)))])
  return `Two workers with idle keep-alive connections, each of which has had an answer, and one plain process with half as many. The heap is what is used of
it after a collection, with what is kept outside; private pages are as the kernel counts them, with what the heap has not given back.

${tableOf(['connections', 'status, ms'], statuses)}

${tableOf(['bytes for each connection', 'heap', 'private pages'], memory)}
`
}

/** Nothing beyond plain node, that is; what collections leave differs by half a percent from run to run. */
export function goals(found) {
  const [own, plain] = [SUBJECT, BASE].map((name) => perConnection(found, name, 'heap'))
  return [
    goalOf(
      'heap of a worker for each idle connection, against plain node',
      '≤',
      1.01,
      own.map((bytes, round) => bytes / plain[round]),
    ),
  ]
}
