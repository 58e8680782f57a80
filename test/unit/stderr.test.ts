import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Outlet } from '../../src/launcher/outlet'
import { OutputPipe } from '../../src/launcher/output-pipe'
import { native } from '../../src/native'
import { flagsOf } from '../native/support/open-files'
import { until } from '../support/until'

/** Ends of a pipe, or of a socket pair, as a launcher may have them: both blocking for whoever writes. */
function ends(kind: 'pipe' | 'socket'): [read: number, write: number] {
  const addon = native()
  const pair = kind === 'pipe' ? addon.pipe(true) : addon.socketPair()
  if (kind === 'socket') addon.setNonBlocking(pair[1], false)
  onTestFinished(() => pair.forEach(closeQuietly))
  return pair
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    // The test has closed it.
  }
}

/** Everything that can be read now. */
function available(fd: number): string {
  let text = ''
  const chunk = Buffer.alloc(65_536)
  for (;;) {
    try {
      const length = readSync(fd, chunk)
      if (length === 0) return text
      text += chunk.toString('latin1', 0, length)
    } catch {
      return text
    }
  }
}

const line = (number: number): string => `${String(number).padStart(999, '.')}\n`

test.each(['pipe', 'socket'] as const)(
  'a %s that nobody reads: it does not wait, and goes on when it is read (L-01)',
  async (kind) => {
    const [reader, writer] = ends(kind)
    const stderr = new Outlet(writer, 100_000)
    const dropped: number[] = []
    stderr.tellDropped = (lines) => dropped.push(lines)
    const LINES = 2_000
    for (let number = 0; number < LINES; number++) stderr.write(line(number))
    expect(flagsOf(writer).nonBlocking).toBe(false)

    let text = ''
    await until('it has told what it dropped', () => {
      text += available(reader)
      return dropped.length > 0
    })
    text += available(reader)
    const numbers = text
      .split('\n')
      .slice(0, -1)
      .map((one) => Number(one.replace(/^\.+/, '')))
    expect(dropped).toEqual([LINES - numbers.length])
    // Whole lines, in order, up to the last one; what is missing is one piece in the middle: the oldest that waited.
    expect(text.length).toBe(numbers.length * 1_000)
    expect(numbers.at(-1)).toBe(LINES - 1)
    const jumps = numbers.filter((number, index) => index > 0 && number !== (numbers[index - 1] as number) + 1)
    expect(jumps).toHaveLength(1)
    expect(LINES - (jumps[0] as number)).toBeGreaterThan(90)
  },
)

test('nobody can read it any more: nothing waits', async () => {
  const [reader, writer] = ends('pipe')
  const stderr = new Outlet(writer, 1_000)
  for (let number = 0; number < 200; number++) stderr.write(line(number))
  closeSync(reader)
  await until('nothing waits', async () => {
    const began = performance.now()
    await stderr.flushed()
    return performance.now() - began < 100
  })
})

test('a file gets everything at once', () => {
  const directory = mkdtempSync(join(tmpdir(), 'rrt-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'log')
  const fd = openSync(path, 'a')
  const stderr = new Outlet(fd)
  for (let number = 0; number < 2_000; number++) stderr.write(line(number))
  closeSync(fd)
  expect(readFileSync(path)).toHaveLength(2_000_000)
})

test('who says too much loses of its own, not of the others', async () => {
  const [reader, writer] = ends('pipe')
  const outlet = new Outlet(writer, 100_000)
  const dropped: number[] = []
  outlet.tellDropped = (lines) => dropped.push(lines)
  const QUIET = 20
  for (let number = 0; number < 4_000; number++) {
    outlet.write(line(number), 1)
    if (number % 200 === 0) outlet.write(`quiet ${number}\n`, 2)
  }
  let text = ''
  await until('it has told what it dropped', () => {
    text += available(reader)
    return dropped.length > 0
  })
  text += available(reader)
  expect(text.split('\n').filter((one) => one.startsWith('quiet'))).toHaveLength(QUIET)
  expect(dropped).toEqual([4_000 + QUIET - text.split('\n').length + 1])
})

test('whoever reads gets more at once, not after a while', async () => {
  const [reader, writer] = ends('pipe')
  const outlet = new Outlet(writer)
  for (let number = 0; number < 900; number++) outlet.write(line(number))
  let [bytes, turns] = [0, 0]
  for (; bytes < 900_000 && turns < 10_000; turns++) {
    bytes += available(reader).length
    await new Promise((done) => setImmediate(done))
  }
  // A pipe holds 64 KiB: 14 times, each seen in the next turn of the loop or in that after it.
  expect(turns).toBeLessThan(60)
})

test('a full disk costs lines, which are counted, and said when there is room again', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'rrt-')), 'log')
  onTestFinished(() => rmSync(dirname(path), { recursive: true }))
  const addon = native()
  const full = openSync('/dev/full', 'w')
  const fd = openSync(path, 'a')
  onTestFinished(() => [full, fd].forEach(closeQuietly))
  const outlet = new Outlet(fd)
  const dropped: number[] = []
  outlet.tellDropped = (lines) => {
    dropped.push(lines)
    outlet.write(`${lines} lost\n`)
  }
  outlet.write('one\n')
  const disk = addon.dup(fd)
  addon.dup2(full, fd)
  for (let n = 0; n < 3; n++) outlet.write('two\nthree\n')
  expect(dropped).toEqual([])
  addon.dup2(disk, fd)
  addon.close(disk)
  outlet.write('four\n')
  expect(dropped).toEqual([6])
  expect(readFileSync(path, 'utf8')).toBe('one\nfour\n6 lost\n')
})

test('who ends has said all that it wrote, though others still have the pipe, and go on', async () => {
  const [reader, writer] = ends('pipe')
  const lines: string[] = []
  const pipe = new OutputPipe(reader, { by: 'lines', write: (more) => lines.push(...more.map(({ bytes }) => bytes)) })
  onTestFinished(() => pipe.close())
  pipe.start()
  writeSync(writer, 'one\nno end')
  pipe.finish()
  expect(lines).toEqual(['one', 'no end'])
  expect(pipe.last).toEqual(['one', 'no end'])
  writeSync(writer, 'a child\n')
  await until('it is read', () => lines.length === 3)
  expect(pipe.isOpen).toBe(true)
  closeSync(writer)
  await until('nobody has it any more', () => !pipe.isOpen)
  expect(lines).toEqual(['one', 'no end', 'a child'])
})
