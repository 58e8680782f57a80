import { closeSync } from 'node:fs'
import { ReuseportError } from '../../errors.js'
import { native } from '../../native.js'
import { descriptorsOf, type Image, readImage } from './image.js'
import { ENV_STATE } from './words.js'

/**
 * What the image of this process before this one has left, if there was one. Nothing of how it did so goes any further. Throws ERR_UPGRADE:
 * the workers serve on, and whoever starts this launcher again finds them.
 */
export function takeImage(env: NodeJS.ProcessEnv = process.env): Image | undefined {
  if (env[ENV_STATE] === undefined) return undefined
  const image = readInherited(env)
  if (image.ldPreload === null) delete env['LD_PRELOAD']
  else env['LD_PRELOAD'] = image.ldPreload
  try {
    if (image.pid !== process.pid) throw new Error(`the state is that of process ${image.pid}`)
    for (const fd of descriptorsOf(image)) native().closeOnExec(fd)
  } catch (cause) {
    throw unusable(cause)
  }
  try {
    // The directory of the first start may be that of a version which has gone since.
    process.chdir(image.specs.directory)
  } catch {
    // It has gone, too: a reload will say so.
  }
  return image
}

/** Reads and closes it. Throws ERR_UPGRADE. */
export function readInherited(env: NodeJS.ProcessEnv = process.env): Image {
  const fd = Number(env[ENV_STATE])
  delete env[ENV_STATE]
  try {
    try {
      return readImage(fd)
    } finally {
      closeSync(fd)
    }
  } catch (cause) {
    throw unusable(cause)
  }
}

function unusable(cause: unknown): ReuseportError {
  return new ReuseportError(
    'ERR_UPGRADE',
    `what the launcher before has left cannot be used: ${(cause as Error).message}`,
    {
      next: 'Its workers serve on: start the launcher again.',
      cause,
    },
  )
}
