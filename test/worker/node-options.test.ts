import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { withoutRequire, withRequire } from '../../src/worker/node-options.js'

const file = '/opt/a "b" \\c/dist/worker/preload.js'
const quoted = '"/opt/a \\"b\\" \\\\c/dist/worker/preload.js"'

describe('our piece of NODE_OPTIONS', () => {
  test.each([
    [`--require ${quoted}`, ''],
    [`--require=${quoted}`, ''],
    [`-r ${quoted}`, ''],
    [`--max-http-header-size=9 --require ${quoted}`, '--max-http-header-size=9'],
    [`--require ${quoted} --max-http-header-size=9`, '--max-http-header-size=9'],
    [
      `--require "/their/own.js" --require ${quoted} --import "/x y.mjs"`,
      '--require "/their/own.js" --import "/x y.mjs"',
    ],
    [`--require ${quoted} --require ${quoted}`, ''],
    [`--title "--require ${'preload.js'}" --require ${quoted}`, '--title "--require preload.js"'],
  ])('is taken out of %s', (options, rest) => {
    expect(withoutRequire(options, file)).toEqual({ rest, piece: expect.stringContaining(quoted) })
  })

  test('is not found where it is not', () => {
    for (const options of ['', '--require', '--require ""', '--require /other/preload.js', `--title ${quoted}`]) {
      expect(withoutRequire(options, file)).toEqual({ rest: options, piece: undefined })
    }
  })

  test("put in and taken out again leaves the user's own text (J-05)", () => {
    const word = fc.stringMatching(/^--[a-z]+(="?[a-z ]*"?)?$/).filter((text) => text.split('"').length % 2 === 1)
    fc.assert(
      fc.property(fc.array(word), (words) => {
        const theirs = words.join(' ')
        expect(withoutRequire(withRequire(theirs, `--require ${quoted}`), file).rest).toBe(theirs)
      }),
    )
  })
})
