import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { descriptorsOf, IMAGE_VERSION, parseImage } from '../../src/launcher/upgrade/image'
import { damaged, fuzz, orRefused } from '../support/fuzz'
import { fixture } from '../support/paths'

const sample: unknown = JSON.parse(readFileSync(fixture(`upgrade-state/v${IMAGE_VERSION}.json`), 'utf8'))

fuzz(
  'upgrade-state',
  'what a launcher has left is refused, or is read as it was written, with descriptors that can be some (C-05, S-11)',
  damaged([sample]),
  (text) => {
    const image = orRefused(() => parseImage(text))
    if (image === undefined) return
    expect(parseImage(JSON.stringify(image))).toEqual(image)
    for (const fd of descriptorsOf(image)) expect(Number.isSafeInteger(fd) && fd > 2).toBe(true)
  },
)
