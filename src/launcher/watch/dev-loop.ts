import { realpathSync } from 'node:fs'
import { relative } from 'node:path'
import type { Log } from '../../log.js'
import type { WatchOptions } from '../../options.js'
import { ignoring } from './ignored.js'
import { Tree } from './tree.js'
import { writtenByOurs } from './writers.js'

/** Who writes without a pause is not waited for any longer; what a checkout or a build writes is there sooner. */
const LONGEST_MS = 5_000
/** Names that one line shows. */
const SHOWN = 3

/** What of the surroundings it needs. */
interface Place {
  readonly options: WatchOptions
  /** Where the program is started. */
  readonly directory: string
  /** Files that the program is made of, beside those in a directory that is watched: its environment, the config file. */
  readonly files: readonly string[]
  /** What the launcher writes itself. */
  readonly own: readonly string[]
  readonly log: Log
  readonly reload: () => void
}

/**
 * Reloads when the program has changed: as soon as nothing has changed for a moment. The launcher sees to the rest: a change while a reload
 * runs leads to one more, however many there are; a version that fails leaves the one before it serving.
 */
export class DevLoop {
  readonly #place: Place
  readonly #tree: Tree
  /** Files that the program has open for writing, or had. */
  readonly #written = new Set<string>()
  /** Changed since the last reload began. */
  readonly #changed = new Set<string>()
  #reloading: readonly string[] = []
  #timer: NodeJS.Timeout | undefined
  /** When the first change was seen that has not been looked at. */
  #since: number | undefined

  /** What is there from here on is what the program is started with. */
  constructor(place: Place) {
    this.#place = place
    const { options, directory, files, own, log } = place
    const isIgnored = ignoring(options.ignore, directory, own)
    this.#tree = new Tree([...options.paths, ...files], (path) => isIgnored(path) || this.#written.has(path), {
      stirred: () => this.#stirred(),
      failed: (path, error) => log('warn', 'watch.failed', { path, reason: reasonOf(error) }),
    })
    log('info', 'watch.started', { paths: options.paths, directories: this.#tree.size })
  }

  /** What the launcher's log says. */
  heard(event: string, { id, to, ms }: Readonly<Record<string, unknown>>): void {
    if (event === 'reload.started') {
      this.#reloading = this.#names()
      this.#changed.clear()
    } else if (event === 'reload.done')
      this.#place.log('info', 'watch.reloaded', { files: this.#reloading, id, generation: to, ms })
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#tree.close()
  }

  #stirred(): void {
    const now = performance.now()
    this.#since ??= now
    clearTimeout(this.#timer)
    const ms = Math.max(0, Math.min(this.#place.options.delayMs, this.#since + LONGEST_MS - now))
    this.#timer = setTimeout(() => this.#settled(), ms)
  }

  #settled(): void {
    this.#since = undefined
    const changed = this.#tree.look()
    if (changed.length === 0) return
    for (const path of writtenByOurs(changed.map(real))) this.#written.add(path)
    const own = changed.filter((path) => this.#written.has(real(path)))
    for (const path of own) this.#written.add(path)
    const others = changed.filter((path) => !own.includes(path))
    if (others.length === 0) return
    for (const path of others) this.#changed.add(path)
    this.#place.log('info', 'watch.changed', { files: this.#names() })
    this.#place.reload()
  }

  /** As they are called from where the program is started. */
  #names(): string[] {
    const names = [...this.#changed].map((path) => relative(this.#place.directory, path) || path)
    return names.length <= SHOWN ? names : [...names.slice(0, SHOWN), `${names.length - SHOWN} more`]
  }
}

/** Through links, as /proc has it. */
function real(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** inotify(7), "/proc interfaces". */
function reasonOf({ message, ...error }: NodeJS.ErrnoException): string {
  if (error.code === 'ENOSPC') return 'no watch is left for this user: sysctl fs.inotify.max_user_watches'
  if (error.code === 'EMFILE') return 'no inotify instance is left for this user: sysctl fs.inotify.max_user_instances'
  return message
}
