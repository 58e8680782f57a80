import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, test } from 'vitest'
import type { HttpSocket } from '../../src/serving/drain/last-response.js'
import { isMovable } from '../../src/serving/migrate/idle.js'

test('a connection that has been ended does not move, though its socket is still there', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [HttpSocket]
  expect(isMovable(socket, server)).toBe(true)
  socket.end()
  expect(socket.destroyed).toBe(false)
  expect(isMovable(socket, server)).toBe(false)
  client.destroy()
  server.close()
  await once(server, 'close')
})
