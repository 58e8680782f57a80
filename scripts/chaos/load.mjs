/**
 * The load of the chaos run, a process of its own. Clients that never retry, and note everything: `fresh` ones open a connection for each request, `kept`
 * ones have one and think a little, `idle` ones have one and are silent for long, `slow` ones ask for answers that take their time, over either. Spoken to as
 * scripts/steering/load.mjs is.
 */
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')
const { Connection } = require('../../dist/verify/load/connection.js')
const { get, getAndClose } = require('../../dist/verify/load/request.js')

/** What waits for a worker that is started again, after a pause of a minute, is late and not lost. */
const TIMEOUT_MS = 120_000
/** So that a server that is not there does not make a busy loop of a client. */
const AFTER_FAILURE_MS = 10
const SLOW_MS = 1_500
/** Longest pause between two requests. */
const THINK_MS = { fresh: 30, kept: 50, idle: 8_000, slow: 500 }

let isOver = false
let target
let wake
const over = new Promise((done) => {
  wake = done
})
const clients = []
let seen = nothing()

function nothing() {
  // answers: [client, begin of the connection, begin of the request, end, local port, pid, kind and number of the version]
  return { requests: 0, answers: [], lost: [], closed: [] }
}

/** A request in the hands of a connection, or of one that could not be opened. */
function note(client, opened, begun, outcome, connection) {
  seen.requests++
  const { bucket, reason, status, localPort, at } = outcome
  if (bucket === 'ok' && status === 200) {
    const [pid, kind, number] = connection.lastRequestId.split(' ')
    seen.answers.push([client, opened, begun, at, localPort, Number(pid), kind, Number(number)])
  } else
    seen.lost.push({ client, opened, begun, at, localPort, bucket: bucket === 'ok' ? 'bad-status' : bucket, reason })
}

async function open(client) {
  const begun = monotonicMs()
  const onIdleEvent = ({ kind, reason, at, localPort, requests }) =>
    seen.closed.push({ client, opened: begun, at, localPort, bucket: kind, reason, requests })
  const opened = await Connection.open({ target, connectTimeoutMs: TIMEOUT_MS, slowRead: null, onIdleEvent })
  if (opened instanceof Connection) return { begun, connection: opened }
  note(client, begun, begun, opened, null)
  await sleep(AFTER_FAILURE_MS)
  return null
}

const pathOf = (client) => (client === 'slow' ? `/slow?ms=${Math.round(Math.random() * SLOW_MS)}` : '/')
/** What is left of a pause keeps nobody from his end. */
const think = (client) => Promise.race([over, sleep(Math.random() * THINK_MS[client], undefined, { ref: false })])

/** One connection after the other, each `once`, or for as long as it lives. */
async function run(client, once) {
  while (!isOver) {
    const opened = await open(client)
    if (opened === null) continue
    const { begun: openedAt, connection } = opened
    do {
      const begun = monotonicMs()
      const plan = once ? getAndClose(target, pathOf(client)) : get(target, pathOf(client))
      const [outcome] = await connection.exchange(plan, TIMEOUT_MS)
      note(client, openedAt, begun, outcome, connection)
      await think(client)
    } while (connection.usable && !isOver)
    await connection.finish()
  }
}

async function end() {
  isOver = true
  wake()
  await Promise.all(clients)
  process.send({ taken: seen, isEnd: true }, () => process.disconnect())
}

process.on('message', (message) => {
  if (message.start !== undefined) {
    target = message.start.target
    for (const client of Object.keys(THINK_MS))
      for (let index = 0; index < message.start[client]; index++)
        clients.push(run(client, client === 'fresh' || (client === 'slow' && index % 2 === 0)))
  } else if (message.take !== undefined) {
    process.send({ taken: seen })
    seen = nothing()
  } else void end()
})
