import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CLOSE_1012, Frames } from '../../src/serving/drain/frames.js'

const frame = (first: number, length: number, fill = 0x70): Buffer => {
  const head =
    length < 126
      ? [first, length]
      : length < 65_536
        ? [first, 126, length >> 8, length & 255]
        : [first, 127, 0, 0, 0, 0]
  const long = Buffer.alloc(4)
  long.writeUInt32BE(length)
  return Buffer.concat([Buffer.from(head), ...(length < 65_536 ? [] : [long]), Buffer.alloc(length, fill)])
}

describe('frames', () => {
  test('are followed through any pieces: a boundary is where one ends, and nowhere else', () => {
    const lengths = fc.array(fc.constantFrom(0, 1, 125, 126, 300, 65_535, 65_536), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(lengths, fc.array(fc.nat({ max: 70_000 }), { maxLength: 12 }), (all, cuts) => {
        const stream = Buffer.concat(all.map((length) => frame(0x82, length)))
        const ends = new Set([0])
        for (const length of all) ends.add(Math.max(...ends) + frame(0x82, length).length)
        const frames = new Frames()
        const points = [...new Set([0, ...cuts.map((cut) => cut % stream.length), stream.length])].sort((a, b) => a - b)
        for (let index = 1; index < points.length; index++) {
          frames.feed(stream.subarray(points[index - 1], points[index]))
          expect(frames.isAtBoundary).toBe(ends.has(points[index] as number))
        }
        expect(frames.complete).toBe(all.length)
      }),
    )
  })

  test('a message in several frames ends with the one that says so; control frames may lie between', () => {
    const frames = new Frames()
    const seen = [frame(0x01, 3), frame(0x89, 0), frame(0x00, 3), frame(0x80, 3), frame(0x81, 3)].map((one) => {
      frames.feed(one)
      return frames.isInMessage
    })
    expect(seen).toEqual([true, true, true, false, false])
    frames.feed(CLOSE_1012)
    expect([frames.isAtBoundary, frames.complete]).toEqual([true, 6])
  })

  test.each([
    ['reserved bits', [0xf0, 0]],
    ['an unknown opcode', [0x83, 0]],
    ['a mask', [0x81, 0x80]],
    ['a control frame in pieces', [0x09, 0]],
    ['a long control frame', [0x89, 126, 1, 0]],
    ['a length that is longer than it need be', [0x82, 126, 0, 5]],
    ['text', [...Buffer.from('hello')]],
  ])('%s is no frame of a server', (_, bytes) => {
    const frames = new Frames()
    frames.feed(Buffer.from(bytes))
    expect([frames.isLost, frames.isAtBoundary]).toEqual([true, false])
  })

  test('begun in the middle of one, it takes several in a row to be sure', () => {
    const frames = new Frames()
    frames.feed(Buffer.alloc(50, 0x70))
    expect(frames.isLost).toBe(true)
    for (const [count, isProven] of [
      [1, false],
      [2, false],
      [3, true],
    ] as const) {
      frames.feed(frame(0x81, 10))
      expect([frames.complete, frames.isProven, frames.isAtBoundary]).toEqual([count, isProven, true])
    }
  })
})
