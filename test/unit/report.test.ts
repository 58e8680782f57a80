import { expect, test } from 'vitest'
import { parseReport } from '../../src/launcher/report'

test('what a worker says in its own words is cut to 4,096 characters, and the rest is as it was (S-11)', () => {
  const parse = (report: object): unknown => parseReport(Buffer.from(JSON.stringify(report)))
  const [long, short] = ['x'.repeat(10_000), 'x'.repeat(4_096)]
  const reports: readonly [object, object][] = [
    [
      { type: 'warning', code: long, message: long },
      { code: short, message: short },
    ],
    [
      { type: 'nack', seq: 1, code: 'x', message: long },
      { seq: 1, code: 'x', message: short },
    ],
    [{ type: 'unknown', of: long }, { of: short }],
    [
      { type: 'warning', code: 'x', message: short },
      { code: 'x', message: short },
    ],
  ]
  for (const [report, is] of reports) expect(parse(report)).toEqual({ ...report, ...is })
})
