// How fast an old worker is empty: again and again a reload, with many idle keep-alive connections of clients that never retry; then the same
// beside others that are busy, and take what the processors have. Prints median, 95 %, worst and best of the time from the moment in which the
// old worker had paused to its word that it has nothing left, as each verdict has it; and what the clients noticed, which is to be nothing.
//
//   node bench/migrate.mjs [--reloads 50] [--idle 2000] [--thinking 80] [--busy 20] [--node /opt/node-26/bin/node]

import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { withLauncher } from './launcher.mjs'

const require = createRequire(import.meta.url)
const { ControlClient } = require('../dist/control-client.js')
const { values } = parseArgs({
  options: {
    reloads: { type: 'string', default: '50' },
    idle: { type: 'string', default: '2000' },
    thinking: { type: 'string', default: '80' },
    busy: { type: 'string', default: '20' },
    node: { type: 'string', default: process.execPath },
  },
})
const [RELOADS, IDLE, THINKING, BUSY] = [values.reloads, values.idle, values.thinking, values.busy].map(Number)
/** An idle one says something within this, so that every connection is used again and again. */
const IDLE_THINK_MS = 5_000
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const APP = `
  const server = require('node:http').createServer((request, response) => response.end('ok'))
  server.keepAliveTimeout = 60_000
  server.listen(process.env.PORT)`

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

/** A launcher of its own for each series: what one has left behind is nothing to the next. */
function measure(kinds) {
  const crowd = { tally: { requests: 0, failed: 0, closed: 0, told: 0 }, sockets: new Set(), isOver: false }
  return withLauncher(values.node, ['-n', '1', '--bake', '0'], ['-e', APP], async (port, runtimeDir) => {
    const control = await ControlClient.connect({ name: 'bench', runtimeDir })
    for (const [count, thinkMs] of kinds)
      await Promise.all(Array.from({ length: count }, () => client(port, thinkMs, crowd)))
    const times = []
    let moved = 0
    for (let round = 0; round < RELOADS; round++) {
      const { result, reason, workers } = await control.reload({ wait: 'retired' })
      if (result !== 'done') throw new Error(`round ${round}: ${result} ${reason}`)
      times.push(workers[0].ms.drained - workers[0].ms.paused)
      moved += workers[0].moved
    }
    crowd.isOver = true
    for (const socket of crowd.sockets) socket.destroy()
    return { times: times.sort((a, b) => a - b), moved, ...crowd.tally }
  })
}

const idle = [IDLE, IDLE_THINK_MS]
const series = [
  [`${IDLE} idle connections`, [idle]],
  [`${IDLE} idle, ${THINKING} thinking and ${BUSY} busy connections`, [idle, [THINKING, 20], [BUSY, 0]]],
]
for (const [name, kinds] of series) {
  const { times, moved, requests, failed, closed, told } = await measure(kinds)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1)
  const spentMs = times.reduce((sum, ms) => sum + ms, 0)
  process.stdout.write(
    `${RELOADS} reloads with ${name}\n` +
      `  the old worker is empty after: median ${at(0.5)} ms, 95 % ${at(0.95)} ms, worst ${at(1)} ms, best ${at(0)} ms\n` +
      `  ${moved} connections moved, ${Math.round(moved / (spentMs / 1_000))} a second\n` +
      `  ${requests} requests: ${failed} failed; ${closed} connections closed, ${told} told to close\n`,
  )
  if (failed + closed + told > 0) process.exitCode = 1
}
