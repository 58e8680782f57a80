/**
 * The load of the steering campaign, a process of its own. Clients that never retry: `fresh` ones with a connection for each request, without
 * a pause; `kept` ones with one connection for all of them, that think up to THINK_MS; and on demand one more fresh request every so many
 * ms, whatever became of those before it. Spoken to over IPC: {start}, {paceMs}, {take: true}, {end: true}; each take gives what has come since the last.
 */
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')
const { Connection } = require('../../dist/verify/load/connection.js')
const { get, getAndClose } = require('../../dist/verify/load/request.js')

/** Far beyond what any piece lets a client wait. */
const TIMEOUT_MS = 20_000
const THINK_MS = 20
/** So that a server that is not there does not make a busy loop of a client. */
const AFTER_FAILURE_MS = 10

let isOver = false
let target
let pacer
const clients = []
const paced = new Set()
let seen = nothing()

function nothing() {
  // fresh and paced: [begun, ms, local port, pid of the worker]
  return { requests: 0, fresh: [], paced: [], lost: [], closed: [] }
}

/** `by`: the worker, if it is known. */
function lost(kind, begun, { bucket, reason, localPort, at, nth }, by = null) {
  seen.lost.push({ kind, begun, bucket, reason, localPort, at, nth, by })
}

/** Whether an answer is one; else it is noted as lost. */
function isGood(kind, begun, outcome, connection) {
  const by = Number(connection.lastRequestId)
  if (outcome.bucket !== 'ok') lost(kind, begun, outcome)
  else if (outcome.status !== 200) lost(kind, begun, { ...outcome, bucket: 'bad-status' }, by)
  else return true
  return false
}

function open(onIdleEvent) {
  return Connection.open({ target, connectTimeoutMs: TIMEOUT_MS, slowRead: null, onIdleEvent })
}

/** One request over a connection of its own; false: it was lost. */
async function ask(kind) {
  const begun = monotonicMs()
  seen.requests++
  const opened = await open(() => undefined)
  if (!(opened instanceof Connection)) {
    lost(kind, begun, opened)
    return false
  }
  const [outcome] = await opened.exchange(getAndClose(target, '/'), TIMEOUT_MS)
  const isAnswered = isGood(kind, begun, outcome, opened)
  if (isAnswered) seen[kind].push([begun, monotonicMs() - begun, opened.localPort, Number(opened.lastRequestId)])
  await opened.over
  return isAnswered
}

async function fresh() {
  while (!isOver) if (!(await ask('fresh'))) await sleep(AFTER_FAILURE_MS)
}

async function kept() {
  let connection = null
  while (!isOver) {
    const begun = monotonicMs()
    if (connection === null) {
      const opened = await open((event) => seen.closed.push({ ...event }))
      if (opened instanceof Connection) connection = opened
      else {
        seen.requests++
        lost('kept', begun, opened)
        await sleep(AFTER_FAILURE_MS)
        continue
      }
    }
    seen.requests++
    const [outcome] = await connection.exchange(get(target, '/'), TIMEOUT_MS)
    isGood('kept', begun, outcome, connection)
    if (connection.usable) await sleep(Math.random() * THINK_MS)
    if (!connection.usable) connection = null
  }
  await connection?.finish()
}

async function end() {
  clearInterval(pacer)
  isOver = true
  await Promise.all([...clients, ...paced])
  process.send({ taken: seen, isEnd: true }, () => process.disconnect())
}

process.on('message', (message) => {
  if (message.start !== undefined) {
    target = message.start.target
    for (let index = 0; index < message.start.fresh; index++) clients.push(fresh())
    for (let index = 0; index < message.start.kept; index++) clients.push(kept())
  } else if (message.paceMs !== undefined) {
    clearInterval(pacer)
    const one = () => {
      const asked = ask('paced').finally(() => paced.delete(asked))
      paced.add(asked)
    }
    if (message.paceMs > 0) pacer = setInterval(one, message.paceMs)
  } else if (message.take !== undefined) {
    process.send({ taken: seen })
    seen = nothing()
  } else void end()
})
