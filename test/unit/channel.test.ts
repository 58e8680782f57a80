import { fstatSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Channel } from '../../src/channel'
import { openFiles, sameFilesAs } from '../native/support/open-files'
import { until } from '../support/until'
import { native } from '../support/worker/addon'

let before: number[]
let ends: Channel[]
beforeEach(() => {
  before = openFiles()
  ends = []
})
afterEach(async () => {
  for (const end of ends) end.close()
  await sameFilesAs(before)
})

/** Both ends; what arrives is in `got`, with the inodes of the descriptors. */
function pair(): { a: Channel; b: Channel; got: { message: unknown; inodes: number[] }[]; readAll: () => void } {
  const [one, other] = native.socketPair()
  const got: { message: unknown; inodes: number[] }[] = []
  const readAll = (): void => {
    for (let packet = b.receive(); typeof packet === 'object'; packet = b.receive()) {
      const inodes = Array.from(packet.fds, (fd) => fstatSync(fd).ino)
      for (const fd of packet.fds) native.close(fd)
      got.push({ message: JSON.parse(packet.data.toString()), inodes })
    }
  }
  const a = new Channel(native, one, () => undefined)
  const b = new Channel(native, other, readAll)
  ends = [a, b]
  return { a, b, got, readAll }
}

test('what the kernel does not take at once waits, with copies of its descriptors, and keeps its order (G-12, I-15)', async () => {
  const { a, b, got } = pair()
  a.start()
  const fd = native.socket('unix', 'seqpacket')
  const { ino } = fstatSync(fd)
  const padding = 'x'.repeat(30_000)
  for (let number = 0; number < 40; number++) expect(a.send({ number, padding }, [fd])).toBe(true)
  // The caller's own may go: the queue has copies.
  native.close(fd)
  b.start()
  await until('all have arrived', () => got.length === 40)
  expect(got).toEqual(Array.from({ length: 40 }, (_, number) => ({ message: { number, padding }, inodes: [ino] })))
})

test('an end that is closed takes nothing more; what it said before is received first', () => {
  const { a, b, got, readAll } = pair()
  expect(a.send({ last: 'words' })).toBe(true)
  a.close()
  expect(b.send({ too: 'late' })).toBe(false)
  expect(b.isOpen).toBe(true)
  readAll()
  expect(got).toEqual([{ message: { last: 'words' }, inodes: [] }])
  expect(b.isOpen).toBe(false)
  expect([b.receive(), b.send({}), b.waitReadable(0)]).toEqual(['end', false, false])
})

test('what waits when the other end is closed is dropped, and its copies are closed', async () => {
  const { a, b } = pair()
  a.start()
  const fd = native.socket('unix', 'seqpacket')
  const padding = 'x'.repeat(30_000)
  for (let number = 0; number < 40; number++) a.send({ number, padding }, [fd])
  native.close(fd)
  const waiting = openFiles().length
  b.close()
  await until('the copies are closed', () => openFiles().length < waiting - 1)
  expect(a.send({ too: 'late' })).toBe(false)
})

test('a message that is too large is refused; too many descriptors are a mistake of ours', () => {
  const { a } = pair()
  expect(a.send({ padding: 'x'.repeat(1 << 20) })).toBe(false)
  expect(() => a.send({}, Array(254).fill(0))).toThrow(RangeError)
})
