// How fast an old worker is empty: again and again a reload, with many idle keep-alive connections of clients that never retry; and the same beside
// others that are busy, and take what the processors have. The time is that from the moment in which the old worker had paused to its word that it
// has nothing left, as each verdict has it; what the clients notice is to be nothing.

import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { goalOf, median, ms, percentile, tableOf } from '../figures.mjs'
import { withLauncher } from '../launcher.mjs'

const require = createRequire(import.meta.url)

const IDLE = 'idle'
const BUSY = 'idle, beside busy ones'

export const title = 'Connections that move'
export const contenders = [IDLE, BUSY]
export const isAlone = true
export const rounds = 5
/** Connections of each kind: an idle one says something within 5 s, so that every one is used again and again; a busy one at once. */
export const plan = { reloads: 10, idle: 2_000, thinking: 80, busy: 20 }
export const smoke = { reloads: 1, idle: 20, thinking: 2, busy: 1 }

const IDLE_THINK_MS = 5_000
const THINK_MS = 20
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const APP = `
  const server = require('node:http').createServer((request, response) => response.end('ok'))
  server.keepAliveTimeout = 60_000
  server.listen(process.env.PORT)`

/** A launcher of its own each time: what one has left behind is nothing to the next. */
export function measure({ who, plan: { reloads, idle, thinking, busy } }) {
  const { ControlClient } = require('../../dist/control-client.js')
  const kinds = [[idle, IDLE_THINK_MS]]
  if (who === BUSY) kinds.push([thinking, THINK_MS], [busy, 0])
  const crowd = { tally: { requests: 0, failed: 0, closed: 0, told: 0 }, sockets: new Set(), isOver: false }
  return withLauncher(process.execPath, ['-n', '1', '--bake', '0'], ['-e', APP], async ({ port, runtimeDir }) => {
    const control = await ControlClient.connect({ name: 'bench', runtimeDir })
    for (const [count, thinkMs] of kinds)
      await Promise.all(Array.from({ length: count }, () => client(port, thinkMs, crowd)))
    const times = []
    let moved = 0
    for (let reload = 0; reload < reloads; reload++) {
      const { result, reason, workers } = await control.reload({ wait: 'retired' })
      if (result !== 'done') throw new Error(`reload ${reload}: ${result} ${reason}`)
      times.push(workers[0].ms.drained - workers[0].ms.paused)
      moved += workers[0].moved
    }
    crowd.isOver = true
    for (const socket of crowd.sockets) socket.destroy()
    return { times, moved, ...crowd.tally }
  })
}

/** One connection to the end. It is never opened again: whoever loses it is counted, and missing from then on. */
function client(port, thinkMs, crowd) {
  const { tally, sockets } = crowd
  return new Promise((opened) => {
    const socket = connect(port, '127.0.0.1')
    let waits = false
    let text = ''
    const send = () => {
      waits = true
      socket.write(REQUEST)
    }
    const end = () => {
      if (crowd.isOver || !sockets.delete(socket)) return
      if (waits) tally.failed += 1
      else tally.closed += 1
    }
    socket.setNoDelay(true)
    socket.on('connect', send)
    socket.on('error', () => {})
    socket.on('close', end)
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (!text.endsWith('ok')) return
      if (/^connection: close/im.test(text)) tally.told += 1
      text = ''
      waits = false
      tally.requests += 1
      opened()
      const pause = sockets.has(socket) ? Math.random() * thinkMs : 0
      sockets.add(socket)
      setTimeout(() => !crowd.isOver && !socket.destroyed && send(), pause)
    })
  })
}

export function page(found) {
  const { idle, thinking, busy } = plan
  const rows = contenders
    .filter((name) => found[name] !== undefined)
    .map((name) => {
      const all = found[name]
      const times = all.flatMap((round) => round.times)
      const total = (key) => all.reduce((sum, round) => sum + round[key], 0)
      const spentMs = times.reduce((sum, time) => sum + time, 0)
      return [
        name,
        ...[0.5, 0.95, 1, 0].map((share) => ms(percentile(times, share))),
        Math.round(total('moved') / (spentMs / 1_000)).toLocaleString('en'),
        ...['moved', 'requests', 'failed', 'closed', 'told'].map((key) => total(key).toLocaleString('en')),
      ]
    })
  const head = [
    ...['', 'median, ms', '95 %', 'worst', 'best', 'connections a second'],
    ...['moved', 'requests', 'failed', 'closed', 'told to close'],
  ]
  return `One worker, and ${idle.toLocaleString('en')} clients that say something within ${IDLE_THINK_MS / 1_000} s; then the same beside ${thinking} that do within ${THINK_MS} ms and ${busy} at once, which take what
the processors have. None of them ever retries or comes back. From the moment in which the old worker had paused to its word that it has
nothing left.

${tableOf(head, rows)}
`
}

export function goals(found) {
  const lost = Object.values(found).map((all) =>
    all.reduce((sum, { failed, closed, told }) => sum + failed + closed + told, 0),
  )
  return [
    goalOf(
      '2,000 idle connections moved, ms',
      '≤',
      60,
      found[IDLE].map(({ times }) => median(times)),
    ),
    goalOf('requests failed, connections closed or told to close when they move', '=', 0, lost),
  ]
}
