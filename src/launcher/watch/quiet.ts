import type { Log } from '../../log.js'

/** What whoever is writing the program wants to read, beside all that is wrong. */
const SHOWN: readonly string[] = ['launcher.serving', 'launcher.adopted', 'watch.started', 'watch.reloaded']

/**
 * One line for each reload. The last words of a worker that failed have just been on the same terminal, as it wrote them; and that a candidate
 * has ended is why the reload is aborted, which says so.
 */
export function quiet(next: Log): Log {
  let candidate: unknown
  return (level, event, { stderr: _, ...fields } = {}) => {
    if (event === 'reload.started') candidate = fields['to']
    if (event === 'reload.done') candidate = undefined
    const isSaidAgain = event === 'worker.exited' && fields['generation'] === candidate
    if ((level !== 'info' && !isSaidAgain) || SHOWN.includes(event)) next(level, event, fields)
  }
}
