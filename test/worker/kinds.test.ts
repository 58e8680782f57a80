import { afterEach, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { type Ask, askH2, askH2c, askHttp, askHttps, askNet, askWebSocket } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const kinds: [string, Ask][] = [
  ['http.cjs', askHttp],
  ['own-process.cjs', askHttp],
  ['https.cjs', askHttps],
  ['http2-secure.cjs', askH2],
  ['http2-secure.cjs', askHttps],
  ['h2c.cjs', askH2c],
  ['net.cjs', askNet],
  ['express.cjs', askHttp],
  ['fastify.cjs', askHttp],
  ['esm.mjs', askHttp],
  ['websocket.cjs', askWebSocket],
]

test.each(kinds)('%s lives through hold, admit, pause, resume, adopt and drain (A-21, N-14)', async (file, ask) => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const address = { kind: 'tcp', host: file === 'fastify.cjs' ? '::' : null, port, ipv6Only: false } as const
  const program = launcher.node(fixture(file), [port])
  const pid = String(program.pid)
  const worker = await launcher.worker()
  await worker.report('listening')
  expect(JSON.parse(await program.line('listening'))).toEqual({ address: '::', family: 'IPv6', port })
  expect(await ask(port), 'held').toBe('ECONNREFUSED')

  // Held on a socket that listens already, as every successor is.
  const own = launcher.socketOf(address)
  launcher.listen()
  const early = ask(port)
  await until('the early client is queued', () => native.acceptQueue(own).length === 1)
  await worker.order({ type: 'admit' })
  expect(await early, 'queued while held').toBe(pid)
  expect(await ask(port), 'admitted').toBe(pid)

  await worker.order({ type: 'pause' })
  const queued = ask(port)
  await until('the client is queued', () => native.acceptQueue(own).length === 1)
  await worker.order({ type: 'resume' })
  expect(await queued, 'queued while paused').toBe(pid)

  const sibling = launcher.socketOf(address, 1)
  native.listen(sibling, 511)
  const listener = `tcp ${file === 'fastify.cjs' ? '[::]' : '*'}:${port}`
  const many = Array.from({ length: 20 }, () => ask(port))
  await until("clients in the sibling's queue", () => native.acceptQueue(sibling).length > 0)
  await worker.order({ type: 'adopt' }, [{ name: { listener, slot: 1 }, fd: sibling }])
  expect(new Set(await Promise.all(many)), 'adopted').toEqual(new Set([pid]))
  await worker.order({ type: 'unadopt', socket: { listener, slot: 1 } })

  await worker.order({ type: 'drain', deadlineMs: 5_000, last: false })
  expect((await worker.report('drained')).outcome).toMatchObject({ cut: 0 })
  expect(program.isRunning, 'waits for its stop signal').toBe(true)
  program.child.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: null, signal: 'SIGTERM' })
  expect(program.errors).toEqual([])
})
