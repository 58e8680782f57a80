import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Line, Lines } from '../../src/launcher/lines'
import { Output, type Speaker } from '../../src/launcher/output'

const MOST = 65_536
const x = (length: number): string => 'x'.repeat(length)
/** What comes of it, chunk by chunk, to its end: a piece of a line that has begun already has a "+". */
function linesOf(...chunks: (string | Buffer)[]): string[] {
  const lines = new Lines()
  const all = [...chunks.flatMap((chunk) => lines.take(Buffer.from(chunk))), ...lines.end()]
  return all.map(({ bytes, continues }) => `${continues ? '+' : ''}${bytes}`)
}

test.each([
  ['nothing', [], []],
  ['a line', ['one\n'], ['one']],
  ['lines that end elsewhere than chunks', ['on', 'e\ntwo\nth', 'ree\n'], ['one', 'two', 'three']],
  ['a last line without an end', ['one\ntwo'], ['one', 'two']],
  ['empty lines', ['\n\n', '\n'], ['', '', '']],
  ['a carriage return', ['one\r\n'], ['one\r']],
  ['one that is just short enough', [`${x(MOST)}\n`], [x(MOST)]],
  ['one that is a byte too long', [`${x(MOST)}y\nz\n`], [x(MOST), '+y', 'z']],
  ['the same in two chunks', [x(MOST), 'y\nz\n'], [x(MOST), '+y', 'z']],
  ['one that never ends', [x(MOST), x(MOST), 'y'], [x(MOST), `+${x(MOST)}`, '+y']],
] as [string, string[], string[]][])('%s', (_, chunks, expected) => {
  expect(linesOf(...chunks)).toEqual(expected)
})

test('whatever bytes there are, and however they come: nothing is lost, made or changed, and nothing is too long (L-06)', () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((data) => data.map((byte) => (byte < 20 ? 10 : byte)))
  fc.assert(
    fc.property(
      fc.array(fc.oneof(bytes, fc.constant(new Uint8Array(40_000).fill(255))), { maxLength: 12 }),
      (chunks) => {
        const lines = new Lines()
        const found: Line[] = []
        for (const chunk of chunks) {
          found.push(...lines.take(Buffer.from(chunk)))
          expect(lines.partial.length).toBeLessThanOrEqual(MOST)
        }
        found.push(...lines.end())
        const text = found.map(({ bytes: all, continues }) => `${continues ? '' : '\n'}${all}`).join('')
        const given = Buffer.concat(chunks).toString('latin1')
        expect(text.slice(1)).toBe(given.replace(/\n$/, ''))
        expect(Math.max(0, ...found.map((line) => line.bytes.length))).toBeLessThanOrEqual(MOST)
      },
    ),
  )
})

test('the last 20 lines are kept, as text and not too long', () => {
  const lines = new Lines()
  for (let n = 0; n < 30; n++) lines.take(Buffer.from(`line ${n} ä${x(2_000)}\n`))
  lines.take(Buffer.from('the end'))
  expect(lines.last).toHaveLength(20)
  lines.end()
  expect(lines.last[0]).toBe(`line 11 ä${x(991)}`)
  expect(lines.last.at(-1)).toBe('the end')
})

/** What is written where, for these bytes of a worker. */
function written(format: 'text' | 'json', data: Buffer, speaker: () => Speaker | null): Buffer {
  const out: Buffer[] = []
  const write = (lines: Buffer): void => void out.push(lines)
  const sink = new Output(format, { stdout: write, stderr: write }, true).sink(7, 'stderr', speaker)
  const lines = new Lines()
  if (sink.by === 'lines') sink.write([...lines.take(data), ...lines.end()])
  return Buffer.concat(out)
}
const speaker = { slot: 3, generation: 12, pid: 4711 }

test('as text the bytes of a program stay as they are, behind its slot and generation', () => {
  const bytes = Buffer.concat([Buffer.from([0, 1, 27, 91, 51, 49, 109, 128, 255, 254]), Buffer.from('é\n')])
  const head = Buffer.from('3.12 | ')
  expect(written('text', bytes, () => speaker).equals(Buffer.concat([head, bytes]))).toBe(true)
  expect(String(written('text', Buffer.from('early\n'), () => ({ ...speaker, slot: null })))).toBe('-.12 | early\n')
  const long = String(written('text', Buffer.from(`${x(MOST)}rest\n`), () => speaker))
  expect(long.slice(long.indexOf('\n') + 1)).toBe('3.12 + rest\n')
})

test('no program makes a line that could be the launcher’s (L-08)', () => {
  const forged = Buffer.from(
    '12:00:00.000 launcher.stopped code=0\n{"level":30,"msg":"launcher.stopped"}\r\n\x1b[2K\n\xff',
  )
  for (const line of String(written('text', forged, () => speaker))
    .trimEnd()
    .split('\n'))
    expect(line).toMatch(/^3\.12 \| /)
  const records = String(written('json', forged, () => speaker))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(records).toHaveLength(4)
  for (const record of records)
    expect(record).toMatchObject({
      level: 30,
      pid: process.pid,
      stream: 'stderr',
      slot: 3,
      generation: 12,
      workerPid: 4711,
    })
  expect(records[1]?.['msg']).toBe('{"level":30,"msg":"launcher.stopped"}\r')
})

test('who is not known any more keeps the name that it had', () => {
  let isKnown = true
  const out: string[] = []
  const write = (lines: Buffer): void => void out.push(String(lines))
  const sink = new Output('text', { stdout: write, stderr: write }, true).sink(7, 'stdout', () =>
    isKnown ? speaker : null,
  )
  for (const bytes of ['one', 'two']) {
    if (sink.by === 'lines') sink.write([{ bytes, continues: false }])
    isKnown = false
  }
  expect(out).toEqual(['3.12 | one\n', '3.12 | two\n'])
})
