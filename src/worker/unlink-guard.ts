import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Claimed by this process, or served when it was started, as `throughDirectory` names it. Never taken out: after `server.close()` the path is its successor's. */
const guarded = new Set<string>()

/**
 * The path of a unix listener belongs to the launcher: all generations listen on it in turn. What programs do by habit, unlink it before
 * listen or after close, would take it from whoever serves, so these calls succeed and do nothing.
 */
export function guardPath(path: string): void {
  if (guarded.size === 0) install()
  guarded.add(throughDirectory(path))
}

function isGuarded(path: unknown): boolean {
  const text = path instanceof URL ? fileURLToPath(path) : Buffer.isBuffer(path) ? path.toString() : path
  return typeof text === 'string' && guarded.has(throughDirectory(text))
}

/** With the symlinks of the directory resolved: /var/run/a.sock is /run/a.sock. */
function throughDirectory(path: string): string {
  const full = resolve(path)
  try {
    return join(fs.realpathSync(dirname(full)), basename(full))
  } catch {
    return full
  }
}

type Call = (...args: unknown[]) => unknown

function install(): void {
  const callback = (call: Call): Call =>
    function (this: unknown, ...args: unknown[]) {
      if (!isGuarded(args[0])) return call.apply(this, args)
      const done = args.at(-1)
      if (typeof done === 'function') process.nextTick(() => done(null))
      return undefined
    }
  const returning = (call: Call, value: () => unknown): Call =>
    function (this: unknown, ...args: unknown[]) {
      return isGuarded(args[0]) ? value() : call.apply(this, args)
    }
  const sync = fs as unknown as Record<'unlink' | 'rm' | 'unlinkSync' | 'rmSync', Call>
  const promises = fs.promises as unknown as Record<'unlink' | 'rm', Call>
  sync.unlink = callback(sync.unlink)
  sync.rm = callback(sync.rm)
  sync.unlinkSync = returning(sync.unlinkSync, () => undefined)
  sync.rmSync = returning(sync.rmSync, () => undefined)
  promises.unlink = returning(promises.unlink, () => Promise.resolve())
  promises.rm = returning(promises.rm, () => Promise.resolve())
  // For who imported them by name into an ES module.
  syncBuiltinESMExports()
}
