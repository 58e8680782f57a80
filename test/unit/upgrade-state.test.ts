import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  descriptorsOf,
  IMAGE_VERSION,
  type Image,
  parseImage,
  readImage,
  writeImage,
} from '../../src/launcher/upgrade/image.js'
import { fixture } from '../support/paths'

const folder = fixture('upgrade-state')
const text = readFileSync(`${folder}/v${IMAGE_VERSION}.json`, 'utf8')
const good = (): Image => JSON.parse(text) as Image

test.each(readdirSync(folder))(
  'the state of every version that there was is read, or refused with a reason: %s (C-04)',
  (name) => {
    const image = parseImage(readFileSync(`${folder}/${name}`, 'utf8'))
    expect(image.version).toBe(IMAGE_VERSION)
    expect(descriptorsOf(image).length).toBeGreaterThan(10)
    expect(new Set(descriptorsOf(image)).size).toBe(descriptorsOf(image).length)
  },
)

test('through memory it comes as it went', () => {
  const fd = writeImage(good())
  try {
    expect(readImage(fd)).toEqual(good())
  } finally {
    closeSync(fd)
  }
})

const damaged = (change: (image: Record<string, never>) => void): string => {
  const image = JSON.parse(text) as Record<string, never>
  change(image)
  return JSON.stringify(image)
}
const set = (path: string, value: unknown): string =>
  damaged((image) => {
    const words = path.split('.')
    const last = words.pop() as string
    const owner = words.reduce((at, word) => at[word] as never, image) as Record<string, unknown>
    owner[last] = value
  })

test.each([
  ['nothing', '', /is no JSON/],
  ['half of it', text.slice(0, text.length / 2), /is no JSON/],
  ['null', 'null', /of version undefined/],
  ['a list', '[]', /of version undefined/],
  ['an older version', set('version', 0), /of version 0, written by reuseport-run \S+; this one reads version/],
  ['a newer one', set('version', IMAGE_VERSION + 1), /of version 2/],
  ['a descriptor that is a text', set('lock', '7'), /makes no sense: state\.lock$/],
  ['stdout as a descriptor', set('control.fd', 1), /makes no sense: state\.control\.fd$/],
  ['no processes', set('processes', undefined), /makes no sense: state\.processes$/],
  ['a token that is none', set('processes.all.0.token', 7), /makes no sense: state\.processes\.all\[0\]\.token$/],
  ['a negative descriptor', set('channels.all.0.fd', -1), /makes no sense: state\.channels\.all\[0\]\.fd$/],
  ['half a number', set('state.term', 1.5), /makes no sense: state\.state\.term$/],
  ['a phase that there is not', set('state.phase', 'dreaming'), /makes no sense: state\.state\.phase$/],
  ['slots that are none', set('state.slots', [null]), /makes no sense: state\.state\.slots\[0\]$/],
  [
    'orders that are none',
    set(`state.workers.${Object.keys(good().state.workers)[0]}.orders`, null),
    /the rules cannot read the state|makes no sense/,
  ],
])('hostile state is refused, and says where: %s (C-05)', (_what, given, reason) => {
  expect(() => parseImage(given)).toThrow(reason)
})

test('what a worker has written is text, whatever it is (C-05)', () => {
  const image = good()
  const line = 'a\n"b"\u0000\u2028{"version":9}'
  const process = { ...image.processes.all[0], tail: [line] }
  const read = parseImage(JSON.stringify({ ...image, processes: { ...image.processes, all: [process] } }))
  expect(read.processes.all[0]?.tail).toEqual([line])
})
