import module from 'node:module'
import { dirname, join } from 'node:path'
import { COMPILE_CACHE, type ToLauncher } from '../protocol.js'

/** The directory that the program's environment names is the launcher's, which has its channel in the same one. */
export function isLaunchers(directory: string, channel: string): boolean {
  return directory === join(dirname(channel), COMPILE_CACHE)
}

/**
 * What V8 has made of the program by now is written down. Node does it when a process ends by itself, which a worker that is stopped by a signal
 * does not, and then its successor has started already. Now nobody is served yet who would wait for it.
 */
export function keepCompiled(send: (message: ToLauncher) => void): void {
  const { flushCompileCache } = module as { flushCompileCache?: () => void }
  if (flushCompileCache !== undefined) return flushCompileCache()
  const message = `Node ${process.version} cannot write down what it has compiled (22.10 could): --compile-cache has no effect`
  send({ type: 'warning', code: 'compile-cache', message })
}
