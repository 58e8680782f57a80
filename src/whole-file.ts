import { closeSync, constants, fchmodSync, fstatSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants

/** Its owner can read and write a file that we have made, whatever the umask; of the others the umask decides. */
export function letOwner(fd: number): void {
  const { mode } = fstatSync(fd)
  if ((mode & 0o600) !== 0o600) fchmodSync(fd, (mode & 0o777) | 0o600)
}

/** Makes a file that is not there. Throws what open(2) says: EEXIST also of a link, wherever it leads to. */
export function makeFile(path: string, mode: number, flags = 0): number {
  const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | flags, mode)
  try {
    letOwner(fd)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Puts a file with this text at `path`, by rename from `path` + `suffix`: who reads it finds the one before, or this one, never half of one.
 * Throws what the file system says.
 */
export function putFile(path: string, suffix: string, text: string, mode: number): void {
  const next = `${path}${suffix}`
  const fd = makeAnew(next, mode)
  try {
    try {
      writeFileSync(fd, text)
    } finally {
      closeSync(fd)
    }
    renameSync(next, path)
  } catch (error) {
    rmSync(next, { force: true })
    throw error
  }
}

/** In the place of what one that was killed has left. */
function makeAnew(path: string, mode: number): number {
  try {
    return makeFile(path, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    rmSync(path)
    return makeFile(path, mode)
  }
}
