import { closeSync, fstatSync, openSync } from 'node:fs'
import { isTerminal } from '../is-terminal.js'
import { native } from '../native.js'

/** Whether this process has a controlling terminal: /dev/tty opens only then; ENXIO or EIO once it has closed (prototypes.md k). */
export function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Any other errno (EMFILE) says nothing about the terminal: a reload must not become a stop.
    return code !== 'ENXIO' && code !== 'EIO' && code !== 'ENOENT'
  }
}

/**
 * To be called last: at its end Node gives the terminals among 0, 1 and 2 the modes back that it found, and aborts when one of them has
 * closed (ResetStdio: tcsetattr says EIO, and only EPERM is expected). It leaves those alone that have become another file.
 */
export function letGoOfClosedTerminals(): void {
  const nothing = openSync('/dev/null', 'r+')
  for (const fd of [0, 1, 2]) if (fstatSync(fd).isCharacterDevice() && !isTerminal(fd)) native().dup2(nothing, fd)
}
