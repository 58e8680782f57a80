import cluster from 'node:cluster'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { ReuseportError } from '../../errors.js'
import type { Server } from '../../serving/handles.js'
import { addressOf, DEFAULT_BACKLOG, type Listen, listenPrototype, listenWith } from '../../serving/listen.js'
import type { Listener, Standing } from '../listener.js'
import type { Entry, HandoverOptions } from './entry.js'
import { Succession } from './succession.js'

/** `listen` is Node's listen() of this server up to its end. Rejects as that does, and with what is wrong with the path. */
export async function listenWithHandover(
  server: Server,
  listener: Listener,
  path: string,
  options: HandoverOptions & RowOptions,
  listen: () => Promise<void>,
): Promise<Standing> {
  const succession = await join(path)
  succession.expect()
  let claimed: { entry?: Entry; isInherited: boolean } | undefined
  const step: Listen = function (...args) {
    const asked = addressOf(this, args)
    if (asked === undefined) {
      process.nextTick(() => this.emit('error', notToBeHandedOver()))
      return
    }
    const { answer, ...rest } = succession.claim(this, asked, args[3] || DEFAULT_BACKLOG, {
      ...options,
      fate: listener.fate,
    })
    claimed = rest
    listenWith(this, listenPrototype._listen2, args, asked, answer)
  }
  // Of this one server, and for this one time.
  Object.defineProperty(server, '_listen2', { value: step, configurable: true })
  try {
    await listen()
  } finally {
    delete (server as { _listen2?: Listen })._listen2
    succession.settled()
  }
  follow(succession, options)
  const { entry, isInherited } = claimed as { entry: Entry; isInherited: boolean }
  return {
    address: server.address() as AddressInfo | string,
    inherited: isInherited ? 'predecessor' : 'none',
    generation: succession.generation,
    ready: () => succession.ready(entry),
  }
}

/** What is of the process, not of one socket. */
export interface RowOptions {
  readonly onSignal?: NodeJS.Signals
  readonly pidFile?: string
}

export function follow(succession: Succession, { onSignal, pidFile }: RowOptions): void {
  if (onSignal !== undefined) succession.renewOn(onSignal)
  if (pidFile !== undefined) succession.keepPidFile(resolve(pidFile))
}

/** The row of processes of this path. */
export async function join(path: string): Promise<Succession> {
  if (cluster.isWorker)
    throw new ReuseportError('ERR_HANDOVER', 'a child of node:cluster has no socket of its own to hand over', {
      next: 'Listen in the primary, or use processes without node:cluster.',
    })
  return Succession.at(resolve(path))
}

export function notToBeHandedOver(): ReuseportError {
  return new ReuseportError('ERR_HANDOVER', 'port 0 and abstract names are not handed over', {
    next: 'Give a port or a path.',
  })
}
