import type { Status } from '../control-protocol.js'
import { listenerKey } from '../protocol.js'
import type { Activation } from './listen-fds.js'
import type { Parts } from './parts.js'
import { strangerWarnings, warningsOf } from './warnings.js'

/*
 * What is around a launcher, and an operator should know of: sockets that it was given, others on its ports, workers that run something
 * else than it was told to.
 */

/** At the start. */
export function tellActivation({ activation, log }: Pick<Parts, 'activation' | 'log'>): void {
  for (const { name, address } of activation.sockets)
    log('info', 'activation.taken', { name, address: listenerKey(address) })
  for (const reason of activation.refused) log('warn', 'activation.refused', { reason })
}

/** Once it serves. */
export function tellSurroundings(parts: Parts): void {
  const { activation, log, queue, sockets, renewals } = parts
  for (const { name, address } of unusedOf(activation, Object.keys(queue.state.listeners)))
    log('warn', 'activation.unused', { name, address: listenerKey(address) })
  if (renewals.options.balance !== 'hash' && !queue.state.steers)
    log('warn', 'steering.refused', { reason: "--balance has no effect: the kernel's hash chooses" })
  for (const { text } of strangerWarnings(sockets.inodes())) log('warn', 'port.shared', { text })
  const runs = unapplied(parts)
  if (runs !== null) log('warn', 'adoption.not-applied', { text: runs })
}

function unusedOf({ sockets }: Activation, claimed: readonly string[]): Activation['sockets'] {
  return sockets.filter(({ keys }) => !keys.some((key) => claimed.includes(key)))
}

/** The workers of another launcher run something else than this one was told to. */
function unapplied({ specs, queue }: Parts): string | null {
  const runs = specs.unapplied(queue.state.working ?? 0)
  if (runs === null) return null
  return `the workers were taken over as they are: ${runs}. A reload starts the command of this launcher`
}

function tooBig({ generations, working }: Parts['queue']['state']): Status['warnings'] {
  if (generations[working ?? -1]?.isTooBig !== true) return []
  const text = 'a worker was above --max-memory right after its start: the limit is too low for this version'
  return [{ code: 'max-memory-too-low', text }]
}

/** For `status`. */
export function warnings(parts: Parts): Status['warnings'] {
  const { sockets, queue, renewals } = parts
  const runs = unapplied(parts)
  return [
    ...warningsOf(sockets.inodes(), Object.values(queue.state.listeners), renewals.options),
    ...tooBig(queue.state),
    ...(runs === null ? [] : [{ code: 'not-applied', text: runs }]),
    ...(renewals.kept === undefined ? [] : [{ code: 'config-kept', text: renewals.kept }]),
  ]
}
