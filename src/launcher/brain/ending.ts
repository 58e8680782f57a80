import type { Worker } from './state.js'

/** How a worker's process ended. `stderr`: its last lines. `oomKill`: the kernel has just killed something for want of memory. */
export interface Ending {
  readonly code: number | null
  readonly signal: string | null
  readonly stderr: readonly string[]
  readonly oomKill?: boolean
}

/** What a shell or npm says of a program that a signal ended: 128 + n. */
const BY_SHELL: Readonly<Record<number, string>> = {
  132: 'SIGILL',
  134: 'SIGABRT',
  135: 'SIGBUS',
  136: 'SIGFPE',
  137: 'SIGKILL',
  139: 'SIGSEGV',
  143: 'SIGTERM',
}
const NATIVE_CRASH: readonly string[] = ['SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGFPE']

/** The end of a worker in words, for the log and the verdict. */
export function reasonOf(worker: Worker, how: Ending): string {
  const asked = worker.failure === null || worker.failure === 'it ended by itself' ? null : worker.failure
  const why = asked ?? worker.lacks ?? explain(how)
  const tail = why === null ? '' : `: ${why}`
  if (worker.pid === null) return `${nameOf(worker)} could not be started${tail}`
  return `${nameOf(worker)} ${ended(how)}${tail}`
}

export function nameOf({ role, slot, pid }: Worker): string {
  const name = role === 'canary' ? 'the canary' : `the worker of slot ${slot}`
  return pid === null ? name : `${name} (pid ${pid})`
}

function ended({ code, signal }: Ending): string {
  if (signal !== null) return `was ended by ${signal}`
  if (code === null) return 'ended'
  const shell = BY_SHELL[code]
  return `exited with code ${code}${shell === undefined ? '' : ` (${shell})`}`
}

/** What an end that nobody asked for means, as far as it can be told from here (reliability.md A-08 … A-24). */
export function explain({ code, signal, stderr, oomKill }: Ending): string | null {
  const by = signal ?? BY_SHELL[code ?? 0]
  if (by === 'SIGKILL' && oomKill === true)
    return 'most likely out of memory: the kernel has just killed for want of it'
  if (by === 'SIGABRT') {
    if (stderr.some((line) => /heap out of memory|Reached heap limit/.test(line)))
      return "V8's heap limit was reached (--max-old-space-size)"
    if (stderr.some((line) => /uv_thread_create|pthread_create|EAGAIN/.test(line)))
      return 'it could not start its threads: is there a limit on processes?'
    return 'abort() was called: by native code, or by V8 at its heap limit'
  }
  if (by !== undefined && NATIVE_CRASH.includes(by)) return 'native code crashed'
  return code === 0 ? 'nobody had asked it to end' : null
}
