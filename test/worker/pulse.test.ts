import { ftruncateSync, readSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { PULSE_BYTES } from '../../src/native.js'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { askHttp } from '../support/worker/clients.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { openFiles } from '../support/worker/kernel.js'
import { fixture, type Program } from '../support/worker/program.js'

let launcher: FakeLauncher
const files: number[] = []
afterEach(async () => {
  await launcher.end()
  for (const file of files.splice(0)) native.close(file)
})

async function serving(): Promise<{ worker: FakeWorker; program: Program; port: number }> {
  launcher = new FakeLauncher({ claim: () => 'go' })
  const port = await freePort()
  const program = launcher.node(fixture('http.cjs'), [port])
  const worker = await launcher.worker()
  await worker.report('listening')
  return { worker, program, port }
}

const EVERY_MS = 10

function pulseFile(): { fd: number; beat: () => bigint } {
  const fd = native.memoryFile('pulse')
  files.push(fd)
  ftruncateSync(fd, PULSE_BYTES)
  const read = new BigUint64Array(1)
  const beat = (): bigint => {
    readSync(fd, read, 0, PULSE_BYTES, 0)
    return read[0] as bigint
  }
  return { fd, beat }
}

async function beating(worker: FakeWorker): Promise<() => bigint> {
  const { fd, beat } = pulseFile()
  await worker.order({ type: 'pulse', everyMs: EVERY_MS }, [{ name: 'pulse' as never, fd }])
  return beat
}

async function goesOn(beat: () => bigint): Promise<void> {
  const last = beat()
  await until('a beat', () => beat() > last)
}

/** While one of ours beats three times. */
async function stands(beat: () => bigint): Promise<void> {
  const { fd, beat: ours } = pulseFile()
  const pulse = new native.Pulse(fd, EVERY_MS)
  await until('it stands still', async () => {
    const last = beat()
    for (let beats = 0; beats < 3; beats++) await goesOn(ours)
    return beat() === last
  })
  pulse.stop()
}

test('a worker writes that its event loop turns, into the file of the last launcher, and has it open nowhere', async () => {
  const { worker, program } = await serving()
  const before = openFiles(program.pid).length
  const first = await beating(worker)
  await goesOn(first)
  const second = await beating(worker)
  await goesOn(second)
  const last = first()
  await goesOn(second)
  expect(first()).toBe(last)
  expect(openFiles(program.pid)).toHaveLength(before)
})

test('it does not while it is stopped, and does again after', async () => {
  const { worker, program } = await serving()
  const beat = await beating(worker)
  process.kill(program.pid, 'SIGSTOP')
  await stands(beat)
  process.kill(program.pid, 'SIGCONT')
  await goesOn(beat)
})

test('nobody is told any more when the launcher is gone, and the worker serves on', async () => {
  const { worker, program, port } = await serving()
  const beat = await beating(worker)
  await goesOn(beat)
  worker.close()
  await stands(beat)
  expect(await askHttp(port)).toBe(String(program.pid))
})
