import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Stderr } from '../../src/launcher/stderr'
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
    const stderr = new Stderr(writer, 100_000)
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
  const stderr = new Stderr(writer, 1_000)
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
  const stderr = new Stderr(fd)
  for (let number = 0; number < 2_000; number++) stderr.write(line(number))
  closeSync(fd)
  expect(readFileSync(path)).toHaveLength(2_000_000)
})
