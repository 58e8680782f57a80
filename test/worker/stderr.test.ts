import { constants, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.js'
import { until } from '../support/until.js'
import { native } from '../support/worker/addon.js'
import { FakeLauncher, type FakeWorker } from '../support/worker/fake-launcher.js'
import { openFiles } from '../support/worker/kernel.js'
import { fixture, Program, TEST_NODE } from '../support/worker/program.js'

let launcher: FakeLauncher
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rr-stderr-'))
})
afterEach(async () => {
  await launcher.end()
  rmSync(directory, { recursive: true, force: true })
})

const lines = (round: number): string[] => ['stream', 'console', 'descriptor', 'child'].map((way) => `${round} ${way}`)

interface Piped {
  program: Program
  worker: FakeWorker
  /** Read end of the pipe, the launcher's. */
  reader: number
}

/** A candidate: fd 2 is a pipe of the launcher's, and the agent has its read end too. */
async function piped(firstBytes: number): Promise<Piped> {
  const [reader, writer] = native.pipe(true)
  launcher = new FakeLauncher({ stderrReader: reader })
  const command = [TEST_NODE, fixture('stderr.cjs'), String(await freePort()), String(firstBytes)]
  const program = launcher.start(command, {}, undefined, writer)
  native.close(writer)
  const worker = await launcher.worker()
  await worker.report('listening')
  return { program, worker, reader }
}

async function round(program: Program, number: number): Promise<void> {
  process.kill(program.pid, 'SIGUSR2')
  await until(`round ${number}`, () => program.lines.includes(`round ${number}`))
}

/** Everything until its end. */
async function readToEnd(reader: number): Promise<string> {
  let text = ''
  for await (const chunk of new Socket({ fd: reader, readable: true, writable: false })) text += chunk
  return text
}

const replace = (worker: FakeWorker, fd: number): Promise<unknown> =>
  worker.order({ type: 'stderr' }, [{ name: 'stderr', fd }])

describe.each([0, 10])('with %i bytes written before', (firstBytes) => {
  test('fd 2 becomes a file, the pipe ends', async () => {
    const { program, worker, reader } = await piped(firstBytes)
    await round(program, 1)
    const file = join(directory, 'log')
    await replace(worker, openSync(file, 'a'))
    for (const number of [2, 3]) await round(program, number)
    expect(readFileSync(file, 'utf8').trim().split('\n')).toEqual([...lines(2), ...lines(3)])
    const before = firstBytes > 0 ? ['x'.repeat(firstBytes)] : []
    expect((await readToEnd(reader)).trim().split('\n')).toEqual([...before, ...lines(1)])
  })

  test('fd 2 becomes another pipe', async () => {
    const { program, worker, reader } = await piped(firstBytes)
    const [next, writer] = native.pipe(true)
    await replace(worker, writer)
    native.close(writer)
    await round(program, 1)
    await program.kill()
    expect((await readToEnd(next)).trim().split('\n')).toEqual(lines(1))
    native.close(reader)
  })

  test('fd 2 becomes a terminal', async () => {
    const terminal = new Program(['script', '-qec', 'tty; exec sleep 60', '/dev/null'])
    try {
      const { program, worker, reader } = await piped(firstBytes)
      const name = `/dev/pts${await terminal.line('/dev/pts')}`
      const fd = openSync(name, constants.O_RDWR | constants.O_NOCTTY)
      await replace(worker, fd)
      await round(program, 1)
      await until('the lines on the terminal', () => terminal.lines.some((line) => line.startsWith('1 child')))
      expect(terminal.lines.slice(1).map((line) => line.trim())).toEqual(lines(1))
      native.close(reader)
      native.close(fd)
    } finally {
      await terminal.kill()
    }
  })
})

test('what still waits to be written goes to the pipe first, in full', async () => {
  const bytes = 1 << 20
  const { program, worker, reader } = await piped(bytes)
  const file = join(directory, 'log')
  const replaced = replace(worker, openSync(file, 'a'))
  // Nobody reads yet: the pipe is full.
  await worker.order({ type: 'term', term: 2, working: 1 })
  const all = readToEnd(reader)
  await replaced
  await round(program, 1)
  expect((await all).length).toBe(bytes + 1)
  expect(readFileSync(file, 'utf8').trim().split('\n')).toEqual(lines(1))
})

test('a pipe that nobody reads is left as it is', async () => {
  const { worker, reader } = await piped(1 << 20)
  await expect(replace(worker, openSync(join(directory, 'log'), 'a'))).rejects.toMatchObject({ code: 'EBUSY' })
  native.close(reader)
})

test('a launcher that dies does not take a candidate with it by EPIPE (L-07)', async () => {
  const { program, reader } = await piped(10)
  launcher.die()
  native.close(reader)
  for (const number of [1, 2, 3]) await round(program, number)
  expect(program.isRunning).toBe(true)
})

test('the read end is closed when it is not needed any more', async () => {
  const { program, worker, reader } = await piped(10)
  const name = readlinkSync(`/proc/self/fd/${reader}`)
  const pipes = (): number => openFiles(program.pid).filter((file) => file === name).length
  expect(pipes()).toBe(2)
  await replace(worker, openSync(join(directory, 'log'), 'a'))
  expect(pipes()).toBe(0)
  native.close(reader)
})
