/**
 * A reuseport group of $SOCKETS members that all serve, in one process. Told how many over IPC, it puts that many steering programs on the group, each
 * with other shares, and says how long a call took at most. Its network and its user are those that it is started with.
 */
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(import.meta.url)
const { native } = require('../../dist/native.js')

const KINDS = ['random', 'client', 'cpu']
const BACKLOG = 511
const addon = native()

const fds = Array.from({ length: Number(process.env.SOCKETS) }, () => {
  const fd = addon.socket('inet', 'stream')
  addon.setOption(fd, 'reusePort', 1)
  addon.bindInet(fd, '0.0.0.0', Number(process.env.PORT))
  addon.listen(fd, BACKLOG)
  createServer((_request, response) => {
    response.setHeader('X-Request-Id', fd)
    response.end('hello\n')
  }).listen({ fd })
  return fd
})

/** At least one member gets something; now and then so does an index that no member has. */
function shares() {
  const indexes = [...fds, ...(Math.random() < 0.1 ? [-1] : [])]
  const weights = indexes.map(() => (Math.random() < 0.5 ? 0 : Math.ceil(Math.random() * 100)))
  return weights.some((weight) => weight > 0) ? weights : shares()
}

process.on('message', async (swaps) => {
  let slowest = 0
  for (let swap = 0; swap < swaps; swap++) {
    const begun = performance.now()
    if (swap % 10 === 9) addon.detachSteering(fds[0])
    else addon.attachSteering(fds[swap % fds.length], shares(), KINDS[swap % KINDS.length])
    slowest = Math.max(slowest, performance.now() - begun)
    await sleep(1)
  }
  process.send({ slowest, uid: process.getuid() })
})
process.send('listening')
