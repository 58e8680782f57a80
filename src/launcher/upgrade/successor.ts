import { accessSync, constants, readFileSync, realpathSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

/** What takes this launcher's place: the command line that started it, found afresh. */
export interface Successor {
  /** The Node binary, by its real path. */
  readonly file: string
  /** argv[0] as it was, Node's own options, the launcher's script, and the words after it. */
  readonly argv: readonly [name: string, ...words: string[]]
  /** How many of `argv` come before the launcher's own words. */
  readonly own: number
}

/**
 * Goes the way of the first start again, through PATH and symlinks as they are now: a Node or a launcher that was put in its place since is
 * found. `directory`: where it was started, as it was named. Throws what cannot be found.
 */
export function findSuccessor(directory: string): Successor {
  const name = process.argv0
  const script = resolve(directory, scriptWord() ?? (process.argv[1] as string))
  const own = [name, ...process.execArgv, script] as const
  return { file: findNode(name, directory), argv: [...own, ...process.argv.slice(2)], own: own.length }
}

/** "node" by PATH, as whoever called it did; what has a slash from where it was called. */
function findNode(name: string, directory: string): string {
  const places = name.includes('/') ? [directory] : (process.env['PATH'] ?? '/bin:/usr/bin').split(delimiter)
  for (const place of places) {
    const file = name.includes('/') ? resolve(place, name) : resolve(directory, join(place, name))
    try {
      accessSync(file, constants.X_OK)
      return realpathSync(file)
    } catch {
      // Not here.
    }
  }
  throw new Error(`${name} is not there any more, or may not be executed (looked in ${places.join(', ')})`)
}

/** The script as it was named: Node has made it absolute, with what a symlinked directory led to at that time. */
function scriptWord(): string | undefined {
  try {
    const words = readFileSync('/proc/self/cmdline', 'utf8').split('\0')
    const word = words[1 + process.execArgv.length]
    return word !== undefined && resolve(word) === process.argv[1] ? word : undefined
  } catch {
    return undefined // No /proc.
  }
}
