import { readFileSync } from 'node:fs'

/** Counters of this network namespace at which a lost connection shows (kernel.md, reliability.md §2.0 KERN). */
export interface NetworkCounters {
  /** Segments with RST that were sent, to whomever. */
  readonly OutRsts: number
  /** Established connections that were reset, by either side (RFC 4022). */
  readonly EstabResets: number
  /** Connections that were refused or reset before they were established. */
  readonly AttemptFails: number
  readonly ListenDrops: number
  readonly ListenOverflows: number
}

/** Reads /proc/net/{snmp,netstat} of the calling thread's network namespace. null where /proc does not tell. */
export function readNetworkCounters(): NetworkCounters | null {
  try {
    const tcp = table('/proc/thread-self/net/snmp', 'Tcp')
    const extended = table('/proc/thread-self/net/netstat', 'TcpExt')
    return {
      OutRsts: tcp.get('OutRsts') ?? 0,
      EstabResets: tcp.get('EstabResets') ?? 0,
      AttemptFails: tcp.get('AttemptFails') ?? 0,
      ListenDrops: extended.get('ListenDrops') ?? 0,
      ListenOverflows: extended.get('ListenOverflows') ?? 0,
    }
  } catch {
    return null
  }
}

/**
 * Connections that waited in a socket that was closed, and went to another one of its group, or could not (net.ipv4.tcp_migrate_req); null
 * where /proc does not tell.
 */
export function readMigrations(): { readonly success: number; readonly failure: number } | null {
  try {
    const extended = table('/proc/thread-self/net/netstat', 'TcpExt')
    const [success, failure] = [extended.get('TCPMigrateReqSuccess'), extended.get('TCPMigrateReqFailure')]
    return success === undefined || failure === undefined ? null : { success, failure }
  } catch {
    return null
  }
}

/** These files pair a line of names with a line of values, both led by the group's name. */
function table(file: string, group: string): Map<string, number> {
  const [names, values] = readFileSync(file, 'latin1')
    .split('\n')
    .filter((line) => line.startsWith(`${group}: `))
    .map((line) => line.split(' ').slice(1))
  return new Map(names?.map((name, index) => [name, Number(values?.[index] ?? 0)]))
}

/** What has come between two readings. */
export function countersBetween(before: NetworkCounters, after: NetworkCounters): NetworkCounters {
  const names = Object.keys(before) as (keyof NetworkCounters)[]
  return Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as unknown as NetworkCounters
}
