import { closeSync, constants, fstatSync, openSync, type Stats, writeSync } from 'node:fs'
import { ReuseportError } from '../errors.js'
import { isTrusted, isWritableByOthers } from '../file-rights.js'
import { createLog, type Log } from '../log.js'
import { isKernels, O_PATH, type Place, usePath } from '../path-walk.js'
import { makeFile } from '../whole-file.js'
import { linesIn, NEWLINE } from './outlet.js'

/** Read by its owner and group: what a program says of itself may be nobody else's. */
const MODE = 0o640
const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_NOCTTY
/** Of a directory: what is in it is its owner's alone to move. */
const S_ISVTX = 0o1000

/**
 * A file that lines are added to, and that may be moved away at any time: `reopen` begins a new one. Where a line cannot be written (a full
 * disk) the service goes on without it, and says how many were lost as soon as one can be written again.
 */
export class LogFile {
  readonly #path: string
  #fd: number
  #dropped = 0
  /** The line before this one has been cut off. */
  #isCut = false
  /** Called when lines can be written again, with the number of those that could not. */
  tellDropped: (lines: number) => void = () => {}

  /** Throws ERR_LOG_FILE. */
  constructor(path: string) {
    this.#path = path
    this.#fd = this.#open()
  }

  /** A line, or several. */
  write(lines: string | Buffer): void {
    const data = Buffer.concat([Buffer.from(this.#isCut ? '\n' : ''), Buffer.from(lines)])
    let written = 0
    try {
      while (written < data.length) written += writeSync(this.#fd, data, written)
    } catch {
      // ENOSPC, EDQUOT, EIO.
      if (written > 0) this.#isCut = data[written - 1] !== NEWLINE
      this.#dropped += Math.max(1, linesIn(data.subarray(written)))
      return
    }
    this.#isCut = false
    const dropped = this.#dropped
    this.#dropped = 0
    if (dropped > 0) this.tellDropped(dropped)
  }

  /** By its name anew. Throws ERR_LOG_FILE: then the old one is written to. */
  reopen(): void {
    const fd = this.#open()
    closeSync(this.#fd)
    this.#fd = fd
    this.#isCut = false
  }

  #open(): number {
    try {
      return openToAppend(this.#path)
    } catch (cause) {
      throw new ReuseportError('ERR_LOG_FILE', `cannot write to ${this.#path}: ${(cause as Error).message}`, {
        facts: { path: this.#path },
        next: 'Give a file in a directory that is there, and that this user, and nobody else, may write to, with --log-file.',
        cause,
      })
    }
  }
}

/** A new file, or what is there: a pipe and a terminal, too. Throws what open(2) says, or why that may not be written to. */
export function openToAppend(path: string): number {
  return usePath<number>(path, (place) => {
    try {
      return makeFile(place.at, MODE, APPEND)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return openThere(place)
    }
  })
}

/** What is looked at is what is opened, whatever is at its name by then. */
function openThere({ at, directory }: Place): number | 'link' {
  const there = openSync(at, O_PATH | constants.O_NOFOLLOW)
  try {
    const file = fstatSync(there)
    if (file.isSymbolicLink()) return isKernels(at) ? openSync(at, APPEND) : 'link'
    if (!mayAppend(file, directory))
      throw new Error(`${at}, of uid ${file.uid}, may have been put there: others may write to its directory`)
    return openSync(`/proc/self/fd/${there}`, APPEND)
  } catch (error) {
    throw Object.assign(error as Error, {
      message: (error as Error).message.replace(`'/proc/self/fd/${there}'`, `'${at}'`),
    })
  } finally {
    closeSync(there)
  }
}

/**
 * Whoever may write to the directory could have put it there: another name of a file of ours, a pipe that nobody reads, or a file only to
 * read in it. Who has no more rights than others keeps to what the kernel does for /tmp (fs.protected_regular).
 */
function mayAppend(file: Stats, directory: Stats): boolean {
  if (isTrusted(directory.uid) && !isWritableByOthers(directory)) return true
  const isRoot = process.geteuid?.() === 0
  if (isRoot && file.isFile() && file.nlink > 1) return false
  if (isTrusted(file.uid)) return true
  if (file.uid === directory.uid) return file.isFile() || !isRoot
  return !isRoot && (directory.mode & S_ISVTX) === 0
}

/** The launcher's log in a file; `write`: lines of others; `reopen`: what SIGUSR1 asks for. Throws ERR_LOG_FILE. */
export function openLogFile(
  path: string,
  format: 'text' | 'json',
): { log: Log; write: (lines: Buffer) => void; reopen: () => void } {
  const file = new LogFile(path)
  // Lines of a file have nobody else to stamp them.
  const log = createLog(format, (line) => file.write(line), true)
  file.tellDropped = (lines) => log('warn', 'log.dropped', { lines })
  return {
    log,
    write: (lines) => file.write(lines),
    reopen: () => {
      try {
        file.reopen()
        log('info', 'log.reopened', { path })
      } catch (error) {
        log('error', 'log.not-reopened', { path, reason: (error as Error).message })
      }
    },
  }
}
