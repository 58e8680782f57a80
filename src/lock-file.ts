import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import type { Native } from './native.js'
import { letOwner } from './whole-file.js'

/**
 * Opens the file at `path`, which is made if need be, and locks it (flock(2)) for as long as this descriptor, or a copy of it in whatever
 * process, is open. undefined: somebody else has it. Who gives the lock up removes the file first: so one that was opened before is not
 * taken for the one that is there. Throws what open(2) says.
 */
export function lockFile(native: Native, path: string): number | undefined {
  for (;;) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    letOwner(fd)
    const isOurs = native.tryLock(fd)
    if (isOurs && isAt(fd, path)) return fd
    closeSync(fd)
    if (!isOurs) return undefined
  }
}

function isAt(fd: number, path: string): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino
  } catch {
    return false
  }
}
