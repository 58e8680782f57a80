import { ftruncateSync, readSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { native, PULSE_BYTES } from '../../src/native.js'
import { until } from '../support/until'
import { errorOf, systemError } from './support/errors'
import { resultOf, runFixture } from './support/fixture'

const addon = native()
let file: number

beforeEach(() => {
  file = addon.memoryFile('pulse')
  ftruncateSync(file, PULSE_BYTES)
})
afterEach(() => addon.close(file))

function beat(of = file): bigint {
  const read = new BigUint64Array(1)
  readSync(of, read, 0, PULSE_BYTES, 0)
  return read[0] as bigint
}

describe('a pulse', () => {
  it('writes the time, again and again, until it is stopped', async () => {
    const before = process.hrtime.bigint()
    const pulse = new addon.Pulse(addon.dup(file), 10)
    expect(beat()).toBe(0n)
    for (let last = before, beats = 0; beats < 3; last = beat(), beats++) {
      await until('a beat', () => beat() > last)
      expect(beat()).toBeLessThanOrEqual(process.hrtime.bigint())
    }
    pulse.stop()
    pulse.stop()
    const last = beat()
    const other = addon.memoryFile('pulse')
    ftruncateSync(other, PULSE_BYTES)
    const beatsOn = new addon.Pulse(other, 10)
    for (let since = 0n, beats = 0; beats < 3; since = beat(other), beats++)
      await until('a beat of the other', () => beat(other) > since)
    expect(beat()).toBe(last)
    beatsOn.stop()
    addon.close(other)
  })

  it('needs its descriptor no longer', async () => {
    const copy = addon.dup(file)
    const pulse = new addon.Pulse(copy, 10)
    addon.close(copy)
    await until('a beat', () => beat() > 0n)
    pulse.stop()
  })

  it('is refused where there is nothing to write into', () => {
    ftruncateSync(file, PULSE_BYTES - 1)
    expect(errorOf(() => new addon.Pulse(file, 10))).toEqual(systemError('EINVAL', 'mmap'))
    expect(errorOf(() => new addon.Pulse(1_000_000, 10))).toEqual(systemError('EBADF', 'lseek'))
    for (const wrong of [0, -1, 1.5, 2 ** 31])
      expect(errorOf(() => new addon.Pulse(file, wrong))).toBeInstanceOf(RangeError)
    expect(errorOf(() => new addon.Pulse(file, '1' as never))).toBeInstanceOf(TypeError)
  })
})

describe('the process', () => {
  it('ends although it has a pulse, which garbage collection does not take', async () => {
    expect(await resultOf('beat.cjs', { nodeOptions: ['--expose-gc'] })).toEqual({ beats: true, left: 1 })
  })

  it.each(['terminate', 'exit', 'return'])('goes on when threads with one end by %s', async (how) => {
    expect(await runFixture('beat-in-threads.cjs', { args: [how] })).toMatchObject({
      code: 0,
      signal: null,
      stdout: '8 ended\n',
      stderr: '',
    })
  })
})
