import { type FSWatcher, lstatSync, readdirSync, type Stats, statSync, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** A directory that is looked at with all that is in it. */
interface Folder {
  readonly watcher: FSWatcher | null
  /** What lay there at the last look. */
  entries: ReadonlyMap<string, string>
}

/**
 * Files below some directories, and what has changed there since the last look. The kernel (inotify, by fs.watch, one for each directory) says
 * only where to look: what has changed is told by comparing. So it is all the same how an editor saves, whether an event is missing or comes
 * twice, and what was there for a moment only is no change.
 */
export class Tree {
  readonly #roots: readonly string[]
  readonly #isIgnored: (path: string) => boolean
  readonly #told: { readonly stirred: () => void; readonly failed: (path: string, error: Error) => void }
  readonly #folders = new Map<string, Folder>()
  /** Paths that are looked at by themselves, by the directory in which they lie: roots, and files that are named. */
  readonly #spots = new Map<string, { readonly watcher: FSWatcher | null; readonly seen: Map<string, string | null> }>()
  readonly #stale = new Set<string>()

  /**
   * `paths`: directories and files, by absolute names; `isIgnored` is asked about what lies below them. `stirred`: there may be something to see.
   * `failed`: a directory cannot be watched.
   */
  constructor(
    paths: readonly string[],
    isIgnored: (path: string) => boolean,
    told: { stirred: () => void; failed: (path: string, error: Error) => void },
  ) {
    this.#isIgnored = isIgnored
    this.#told = told
    this.#roots = paths
    for (const path of paths) {
      this.#lookAt(path)
      if (statOf(path)?.isDirectory() === true) this.#open(path, [])
    }
  }

  /** Directories that are watched. */
  get size(): number {
    return this.#folders.size + this.#spots.size
  }

  /** Paths that were made, changed or removed since the last time. */
  look(): string[] {
    const changed: string[] = []
    const stale = [...this.#stale]
    this.#stale.clear()
    for (const path of stale) {
      this.#compareSpots(path, changed)
      if (this.#folders.has(path)) this.#compare(path, changed)
    }
    return [...new Set(changed)]
  }

  close(): void {
    for (const { watcher } of [...this.#folders.values(), ...this.#spots.values()]) watcher?.close()
    this.#folders.clear()
    this.#spots.clear()
  }

  #lookAt(path: string): void {
    const parent = dirname(path)
    const spot = this.#spots.get(parent) ?? {
      watcher: this.#watch(parent, (name) => this.#isSpot(parent, name)),
      seen: new Map(),
    }
    spot.seen.set(path, signatureOf(statOf(path)))
    this.#spots.set(parent, spot)
  }

  #isSpot(parent: string, name: string): boolean {
    return this.#spots.get(parent)?.seen.has(join(parent, name)) === true
  }

  #compareSpots(parent: string, changed: string[]): void {
    const seen = this.#spots.get(parent)?.seen ?? new Map<string, string | null>()
    for (const [path, before] of seen) {
      const now = statOf(path)
      const signature = signatureOf(now)
      if (signature === before) continue
      seen.set(path, signature)
      changed.push(path)
      if (!this.#roots.includes(path)) continue
      this.#shut(path)
      if (now?.isDirectory() === true) this.#open(path, changed)
    }
  }

  #compare(path: string, changed: string[]): void {
    const folder = this.#folders.get(path) as Folder
    const before = folder.entries
    const now = this.#read(path)
    folder.entries = now
    for (const [name, signature] of now) {
      const inside = join(path, name)
      if (signature === before.get(name)) continue
      // Another one, or a file until now.
      if (this.#folders.has(inside)) this.#shut(inside)
      if (isFolder(signature)) this.#open(inside, changed)
      else changed.push(inside)
    }
    for (const name of before.keys()) {
      const inside = join(path, name)
      if (now.has(name)) continue
      changed.push(inside)
      this.#shut(inside)
    }
  }

  /** `found` gets the files that are there. */
  #open(path: string, found: string[]): void {
    // Before it is read: what comes in between is seen twice, and never missed.
    const watcher = this.#watch(path, (name) => !this.#isIgnored(join(path, name)))
    const entries = this.#read(path)
    this.#folders.set(path, { watcher, entries })
    for (const [name, signature] of entries) {
      const inside = join(path, name)
      if (isFolder(signature)) this.#open(inside, found)
      else found.push(inside)
    }
  }

  #shut(path: string): void {
    const folder = this.#folders.get(path)
    if (folder === undefined) return
    folder.watcher?.close()
    this.#folders.delete(path)
    for (const name of folder.entries.keys()) this.#shut(join(path, name))
  }

  #watch(path: string, concerns: (name: string) => boolean): FSWatcher | null {
    try {
      const watcher = watch(path, { persistent: false }, (_, name) => {
        if (name !== null && name !== basename(path) && !concerns(name)) return
        this.#stale.add(path)
        this.#told.stirred()
      })
      watcher.on('error', (error) => this.#told.failed(path, error))
      return watcher
    } catch (error) {
      this.#told.failed(path, error as Error)
      return null
    }
  }

  /** What lies there, each with what tells one state of it from another. Nothing, where there is nothing any more. */
  #read(path: string): Map<string, string> {
    const entries = new Map<string, string>()
    for (const name of namesIn(path)) {
      const inside = join(path, name)
      if (this.#isIgnored(inside)) continue
      const signature = signatureWithin(inside)
      if (signature !== null) entries.set(name, signature)
    }
    return entries
  }
}

const FOLDER = 'directory'
const isFolder = (signature: string): boolean => signature.startsWith(FOLDER)

function signatureOf(stats: Stats | undefined): string | null {
  if (stats === undefined) return null
  const { dev, ino, size, mtimeMs, mode } = stats
  return stats.isDirectory() ? `${FOLDER} ${dev}:${ino}` : `${dev}:${ino} ${size} ${mtimeMs} ${mode}`
}

/** A link counts as what it leads to, if that is a file: directories elsewhere are not looked at, and may be the one that it lies in. */
function signatureWithin(path: string): string | null {
  try {
    const link = lstatSync(path)
    if (!link.isSymbolicLink()) return signatureOf(link)
    const target = statOf(path)
    return `${signatureOf(link)} ${target?.isFile() === true ? signatureOf(target) : ''}`
  } catch {
    return null
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
