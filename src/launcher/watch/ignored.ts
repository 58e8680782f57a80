import { basename, resolve, sep } from 'node:path'

/** What no program is made of: packages, what begins with a dot, and the copies that editors keep (`a.js~`, `#a.js#`). */
const NEVER = /^(node_modules|\..*|.*~|#.*#)$/

/**
 * What of a tree is not looked at. `names`: as they are anywhere (`coverage`), or with a slash one path, from `directory` on (`public/uploads`).
 * `own`: files and directories that the launcher writes itself.
 */
export function ignoring(
  names: readonly string[],
  directory: string,
  own: readonly string[],
): (path: string) => boolean {
  const anywhere = new Set(names.filter((name) => !name.includes(sep)))
  const paths = [...names.filter((name) => name.includes(sep)).map((name) => resolve(directory, name)), ...own]
  return (path) => {
    const name = basename(path)
    return NEVER.test(name) || anywhere.has(name) || paths.includes(path)
  }
}
