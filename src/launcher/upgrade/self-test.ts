import { native, shieldFile } from '../../native.js'
import { VERSION } from '../../version.js'
import { IMAGE_VERSION } from './image.js'
import { readInherited } from './inherited.js'

/** What it says on stdout then: one line of JSON. */
export interface Trial {
  readonly selfTest: typeof IMAGE_VERSION
  readonly version: string
  readonly node: string
  /** It was started behind the preloaded object, so signals would wait. */
  readonly isShielded: boolean
  /** Its own one (native/shield.c). */
  readonly shield: string | null
}

/** Reads what it would go on with. The command line has been understood. Throws why it could not. */
export function tryImage(): Trial {
  const isShielded = native().lowerShield()
  readInherited()
  return { selfTest: IMAGE_VERSION, version: VERSION, node: process.version, isShielded, shield: shieldFile() ?? null }
}
