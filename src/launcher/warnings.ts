import { readFileSync } from 'node:fs'
import type { Status } from '../control-protocol.js'
import type { LauncherOptions } from '../options.js'
import { describeStranger, strangersBeside } from './strangers.js'

/** What an operator should know of, though all is well. `inodes`: of our listening sockets. */
export function warningsOf(
  inodes: readonly number[],
  listeners: readonly { readonly key: string; readonly backlog: number }[],
  { health, ready, listen, workers }: Pick<LauncherOptions, 'health' | 'ready' | 'listen' | 'workers'>,
): Status['warnings'] {
  return [
    ...strangerWarnings(inodes),
    ...backlogWarnings(listeners),
    ...migrateWarnings({ listen, workers }, setting('ipv4/tcp_migrate_req')),
    ...(health === undefined && (ready === 'listening' || ready === 'alive')
      ? [{ code: 'readiness-weak', text: `a new worker is asked nothing before it serves: --health /healthz` }]
      : []),
  ]
}

export function strangerWarnings(inodes: readonly number[]): Status['warnings'] {
  // A process may have several sockets there: another launcher has one for each worker.
  const texts = new Set(strangersBeside(inodes).map(describeStranger))
  return [...texts].map((text) => ({ code: 'port-shared', text }))
}

/** The kernel cuts a backlog to somaxconn without a word (listen(2)). */
function backlogWarnings(listeners: readonly { key: string; backlog: number }[]): Status['warnings'] {
  const most = setting('core/somaxconn') ?? Number.POSITIVE_INFINITY
  return listeners
    .filter(({ backlog }) => backlog > most)
    .map(({ key, backlog }) => ({
      code: 'backlog-capped',
      text: `${key}: the backlog of ${backlog} is cut to ${most} (net.core.somaxconn)`,
    }))
}

/**
 * A program that we have no code in may call shutdown(2) on its listening socket at its end, which resets what waits in it, for all who have that
 * socket, unless the kernel moves that to a sibling (kernel.md §2). `migrates`: net.ipv4.tcp_migrate_req.
 */
export function migrateWarnings(
  { listen, workers }: Pick<LauncherOptions, 'listen' | 'workers'>,
  migrates: number | null,
): Status['warnings'] {
  const isTcp = listen.some(({ from }) => typeof from !== 'string' && from.kind === 'tcp')
  if (!isTcp || workers < 2 || migrates !== 0) return []
  const text =
    'connections that wait are reset if the program calls shutdown(2) on its socket; sysctl -w net.ipv4.tcp_migrate_req=1 lets a sibling have them'
  return [{ code: 'tcp-migrate-req', text }]
}

/** null: this kernel has it not. */
function setting(name: string): number | null {
  try {
    return Number(readFileSync(`/proc/sys/net/${name}`, 'utf8'))
  } catch {
    return null
  }
}
