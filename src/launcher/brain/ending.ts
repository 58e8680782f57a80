import type { Worker } from './state.js'

/** How a worker's process ended. `stderr`: its last lines. */
export interface Ending {
  readonly code: number | null
  readonly signal: string | null
  readonly stderr: readonly string[]
}

/** The end of a worker in words, for the log and the verdict. */
export function reasonOf(worker: Worker, how: Ending): string {
  const ended =
    how.signal !== null ? `was ended by ${how.signal}` : how.code === null ? 'ended' : `exited with code ${how.code}`
  const why = worker.failure === null || worker.failure === 'it ended by itself' ? '' : `: ${worker.failure}`
  if (worker.pid === null) return `the worker of slot ${worker.slot} could not be started${why}`
  return `the worker of slot ${worker.slot} (pid ${worker.pid}) ${ended}${why}`
}
