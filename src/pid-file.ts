import { closeSync, constants, openSync, readFileSync, rmSync } from 'node:fs'
import { usePath } from './path-walk.js'
import { putFile } from './whole-file.js'

/** By rename: who reads it finds one pid or another, never half of one. Throws what the file system says. */
export function writePidFile(path: string): void {
  usePath(path, ({ at }) => putFile(at, `.${process.pid}`, `${process.pid}\n`, 0o644))
}

/** Takes it away, unless it has another process's pid by now. */
export function removePidFile(path: string): void {
  try {
    usePath(path, ({ at }) => {
      if (textOf(at).trim() === String(process.pid)) rmSync(at)
    })
  } catch {
    // It is gone, or not to be read: somebody else's matter.
  }
}

/** Of a pipe that somebody has put there nobody waits for the other end. */
function textOf(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    return readFileSync(fd, 'latin1')
  } finally {
    closeSync(fd)
  }
}
