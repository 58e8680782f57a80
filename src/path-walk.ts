import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, type Stats, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isTrusted, isWritableByOthers } from './file-rights.js'

/** A descriptor of what is at a path, not of what can be read there: it has no effect on it (open(2); Node has no name for it). */
export const O_PATH = 0o10000000
/** statfs(2). */
const PROC_SUPER_MAGIC = 0x9fa0
/** path_resolution(7). */
const MOST_LINKS = 40

/** One name in a directory that is open: whatever becomes of the directories above, it is that one. */
export interface Place {
  /** A path of it, for as long as it is used. */
  readonly at: string
  readonly directory: Stats
}

/**
 * Goes to where `path` is, name by name, and calls `use` with it. In a directory that others may write to a link is not followed unless it is
 * ours or root's, as the kernel has it for /tmp alone (fs.protected_symlinks): what we write would be written where somebody else wants it.
 * `use` gives 'link' for one at the end of the path that is to be followed, too. Throws what open(2) says.
 */
export function usePath<T>(path: string, use: (place: Place) => T | 'link'): T {
  const walk = new Walk(path)
  try {
    for (;;) {
      const result = use(walk.toLast())
      if (result !== 'link') return result
      walk.follow()
    }
  } catch (error) {
    throw walk.named(error as Error)
  } finally {
    walk.close()
  }
}

/** A link there is none to a path: it leads to what some process has open. */
export function isKernels(at: string): boolean {
  return statfsSync(dirname(at)).type === PROC_SUPER_MAGIC
}

const namesOf = (path: string): string[] => path.split('/').filter((name) => name !== '')
const startOf = (path: string): string => (path.startsWith('/') ? '/' : '.')

class Walk {
  /** Of the directory so far. */
  #fd: number
  readonly #names: string[]
  #links = 0

  constructor(path: string) {
    this.#fd = openSync(startOf(path), O_PATH | constants.O_DIRECTORY)
    this.#names = namesOf(path)
  }

  get #at(): string {
    return `/proc/self/fd/${this.#fd}/${this.#names[0] ?? '.'}`
  }

  /** Opens the directory of the last name. */
  toLast(): Place {
    while (this.#names.length > 1) this.#enter()
    return { at: this.#at, directory: fstatSync(this.#fd) }
  }

  #enter(): void {
    try {
      this.#goTo(openSync(this.#at, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW))
      this.#names.shift()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') throw error
      if (!lstatSync(this.#at).isSymbolicLink()) throw error
      this.follow()
    }
  }

  /** The link that is next. */
  follow(): void {
    if (isKernels(this.#at)) {
      this.#goTo(openSync(this.#at, O_PATH | constants.O_DIRECTORY))
      this.#names.shift()
      return
    }
    const target = this.#read()
    this.#links += 1
    if (this.#links > MOST_LINKS) throw new Error(`too many links at ${this.#at}`)
    if (target.startsWith('/')) this.#goTo(openSync('/', O_PATH | constants.O_DIRECTORY))
    this.#names.splice(0, 1, ...namesOf(target))
  }

  /** Where it leads to, if it may be followed: what was read is the very link that was looked at. */
  #read(): string {
    const link = openSync(this.#at, O_PATH | constants.O_NOFOLLOW)
    try {
      const before = fstatSync(link, { bigint: true })
      this.#check(Number(before.uid))
      const target = readlinkSync(this.#at)
      const after = lstatSync(this.#at, { bigint: true })
      // It would have another time if it had been away meanwhile; as long as it is open nothing else has its number.
      if (after.ino === before.ino && after.dev === before.dev && after.ctimeNs === before.ctimeNs) return target
      throw new Error(`somebody changes ${this.#at}`)
    } finally {
      closeSync(link)
    }
  }

  #check(uid: number): void {
    if (isTrusted(uid)) return
    const directory = fstatSync(this.#fd)
    if (isTrusted(directory.uid) && !isWritableByOthers(directory)) return
    // What root may do its owner must not get by this; who has no more rights than others keeps to what the kernel does.
    if (process.geteuid?.() !== 0 && uid === directory.uid) return
    throw new Error(`${this.#at} is a link of uid ${uid}, in a directory that others may write to`)
  }

  #goTo(fd: number): void {
    closeSync(this.#fd)
    this.#fd = fd
  }

  /** With the path of the directory instead of its descriptor. */
  named(error: Error): Error {
    const place = `/proc/self/fd/${this.#fd}`
    error.message = error.message.replace(`${place}/`, join(readlinkSync(place), '/'))
    return error
  }

  close(): void {
    closeSync(this.#fd)
  }
}
