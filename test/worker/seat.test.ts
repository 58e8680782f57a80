import { fstatSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import type { ListenAddress } from '../../src/protocol.js'
import { freePort } from '../support/ports.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher } from '../support/worker/fake-launcher.js'
import { openFiles } from '../support/worker/kernel.js'
import { fixture } from '../support/worker/program.js'

let launcher: FakeLauncher
afterEach(() => launcher.end())

test('a held worker gets the sockets of another slot, lets go of those it was held with, and accepts from the new ones alone', async () => {
  const port = await freePort()
  const everywhere: ListenAddress = { kind: 'tcp', host: null, port, ipv6Only: false }
  launcher = new FakeLauncher({ claim: () => 'hold' })
  const program = launcher.node(fixture('http.cjs'), [port])
  const worker = await launcher.worker(0)
  await worker.report('listening')
  const [held, seat] = [0, 1].map((slot) => launcher.socketOf(everywhere, slot)) as [number, number]
  const socketOf = (fd: number): string => `socket:[${fstatSync(fd).ino}]`
  native.listen(seat, 511)
  const waiting = askHttp(port)

  const name = { listener: `tcp *:${port}`, slot: 1 }
  await worker.order({ type: 'seat', slot: 1 }, [{ name, fd: seat }])
  const open = openFiles(program.pid)
  expect(open).toContain(socketOf(seat))
  expect(open).not.toContain(socketOf(held))
  await worker.order({ type: 'admit' })
  expect(await waiting).toBe(String(program.pid))

  await expect(worker.order({ type: 'seat', slot: 1 }, [{ name, fd: seat }])).rejects.toMatchObject({ code: 'EBUSY' })
  expect(await askHttp(port)).toBe(String(program.pid))
  await worker.order({ type: 'pause' })
  await worker.order({ type: 'resume' })
  expect(await askHttp(port)).toBe(String(program.pid))
})
