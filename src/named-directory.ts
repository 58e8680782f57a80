import { statSync } from 'node:fs'

/** The directory `real` as the shell has named it (PWD), through symlinks: so that who starts something there later follows `current` anew. */
export function namedDirectory(real: string): string {
  const { PWD } = process.env
  try {
    return PWD !== undefined && isSameFile(PWD, real) ? PWD : real
  } catch {
    return real
  }
}

export function isSameFile(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)]
  return a.ino === b.ino && a.dev === b.dev
}
