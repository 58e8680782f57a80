import { CtrlC } from '../ctrl-c.js'
import { type CheckedOptions, checkOptions, type VerifyOptions } from './options.js'
import { enterNetwork } from './private-network.js'
import type { VerifyReport } from './report.js'
import { Run } from './run.js'

export { Interrupted } from './deadline.js'
export type { VerifyOptions } from './options.js'
export { renderReport } from './render-report.js'
export type { VerifyReport } from './report.js'

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Starts the program under a launcher of its own, drives it with clients that never retry, reloads it again and again, stops it, and
 * reports what became of every request. It passes only if nothing at all was lost. Throws ReuseportError when the run could not begin
 * (the program does not start, or does not answer), Interrupted when a signal came before that.
 *
 * Moves the calling thread into a network namespace of its own: meant for a process that does nothing else.
 */
export async function verify(given: VerifyOptions): Promise<VerifyReport> {
  const options: CheckedOptions = checkOptions(given)
  const run = new Run(options, enterNetwork(options.network))
  // The first signal ends the run in order, with a report; the second one ends its processes at once.
  const ctrlC = new CtrlC()
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' || ctrlC.isPress()) run.interrupt(signal)
  }
  for (const signal of ENDING_SIGNALS) process.on(signal, onSignal)
  try {
    return await run.run()
  } finally {
    await run.cleanUp()
    for (const signal of ENDING_SIGNALS) process.off(signal, onSignal)
  }
}
