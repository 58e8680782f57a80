import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

/** By rename: who reads it finds one pid or another, never half of one. Throws what the file system says. */
export function writePidFile(path: string): void {
  const next = `${path}.${process.pid}`
  try {
    writeFileSync(next, `${process.pid}\n`, { mode: 0o644 })
    renameSync(next, path)
  } catch (error) {
    rmSync(next, { force: true })
    throw error
  }
}

/** Takes it away, unless it has another process's pid by now. */
export function removePidFile(path: string): void {
  try {
    if (readFileSync(path, 'latin1').trim() === String(process.pid)) rmSync(path)
  } catch {
    // It is gone, or not to be read: somebody else's matter.
  }
}
