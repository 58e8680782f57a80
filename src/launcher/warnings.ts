import { readFileSync } from 'node:fs'
import type { Status } from '../control-protocol.js'
import type { LauncherOptions } from '../options.js'
import { describeStranger, strangersBeside } from './strangers.js'

/** What an operator should know of, though all is well. `inodes`: of our listening sockets. */
export function warningsOf(
  inodes: readonly number[],
  listeners: readonly { readonly key: string; readonly backlog: number }[],
  { health, ready }: Pick<LauncherOptions, 'health' | 'ready'>,
): Status['warnings'] {
  return [
    ...strangerWarnings(inodes),
    ...backlogWarnings(listeners),
    ...(health === undefined && (ready === 'listening' || ready === 'alive')
      ? [{ code: 'readiness-weak', text: `a new worker is asked nothing before it serves: --health /healthz` }]
      : []),
  ]
}

export function strangerWarnings(inodes: readonly number[]): Status['warnings'] {
  return strangersBeside(inodes).map((stranger) => ({ code: 'port-shared', text: describeStranger(stranger) }))
}

/** The kernel cuts a backlog to somaxconn without a word (listen(2)). */
function backlogWarnings(listeners: readonly { key: string; backlog: number }[]): Status['warnings'] {
  const most = somaxconn()
  return listeners
    .filter(({ backlog }) => backlog > most)
    .map(({ key, backlog }) => ({
      code: 'backlog-capped',
      text: `${key}: the backlog of ${backlog} is cut to ${most} (net.core.somaxconn)`,
    }))
}

function somaxconn(): number {
  try {
    return Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
