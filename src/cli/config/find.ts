import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ReuseportError } from '../../errors.js'

const STEM = 'reuseport-run.config'
const ENDINGS: readonly string[] = ['json', 'js', 'mjs', 'cjs', 'ts', 'mts']

/**
 * The config file of this directory; of no other: a supervisor must not change because of a file some folders up. undefined: there is
 * none. Throws ERR_CONFIG if there are two.
 */
export function findConfig(directory: string): string | undefined {
  let names: string[]
  try {
    names = readdirSync(directory)
  } catch {
    return undefined // What is wrong with the directory is said by who starts something there.
  }
  const found = ENDINGS.map((ending) => `${STEM}.${ending}`).filter((name) => names.includes(name))
  if (found.length > 1)
    throw new ReuseportError('ERR_CONFIG', `${directory} has ${found.join(' and ')}`, {
      facts: { path: directory, files: found },
      next: 'Keep one of them, or name one with --config.',
    })
  return found[0] === undefined ? undefined : join(directory, found[0])
}

/** The file that --config names. */
export function namedConfig(name: string, directory: string): string {
  return resolve(directory, name)
}

/** A name of a file for people who are in that directory. */
export function shortPath(path: string, directory: string): string {
  return path.startsWith(`${directory}/`) ? path.slice(directory.length + 1) : path
}
