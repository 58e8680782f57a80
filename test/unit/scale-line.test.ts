import { expect, test } from 'vitest'
import { parseCommandLine } from '../../src/cli/parse.js'

test.each([
  [['scale', '4'], '4', {}],
  [['scale', '-1'], '-1', {}],
  [['scale', '+2', '--json'], '+2', { json: true }],
  [['scale', '--timeout', '5', '-1'], '-1', { timeout: '5' }],
  [['scale', '3', '--name', '7'], '3', { name: '7' }],
])('%j: a number, signed or not, and options', (argv, number, values) => {
  expect(parseCommandLine(argv)).toMatchObject({ verb: 'scale', command: [number], values })
})

test.each([[['scale']], [['scale', '1', '2']], [['scale', 'many']], [['scale', '--timeout', '5']], [['scale', '1.5']]])(
  '%j is no command',
  (argv) => {
    expect(() => parseCommandLine(argv)).toThrow(expect.objectContaining({ code: 'ERR_USAGE' }))
  },
)
