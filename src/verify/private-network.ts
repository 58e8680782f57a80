import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { native } from '../native.js'

/**
 * A segment that comes when its client has closed is answered with a reset, which is counted in OutRsts and nobody's fault. On loopback
 * that has two causes, both of them busy processors. One: a copy. Nothing is lost there, so what TCP sends again is only late; it is given
 * time: no tail loss probe (ip-sysctl: tcp_early_retrans), and a longer first time-out (tcp_rto_min_us, Linux 6.11).
 */
const SEND_NOTHING_AGAIN = { tcp_early_retrans: '0', tcp_rto_min_us: '2000000' }

/**
 * Two: disorder. Each processor has a queue of its own for what its processes send over loopback, and a process that moves to another
 * one is overtaken by itself. With receive packet steering the queue is chosen by the connection (Documentation/networking/scaling).
 */
function keepOrder(): void {
  const mask = ((1n << BigInt(cpus().length)) - 1n).toString(16)
  const groups = mask.padStart(Math.ceil(mask.length / 8) * 8, '0').match(/.{8}/g) as string[]
  native().steerLoopback(groups.join(','))
}

export interface NetworkOfRun {
  /** The namespace is ours alone: every reset that its counters show is a finding. */
  readonly private: boolean
  /** Why it is not private; null when it is. */
  readonly reason: string | null
}

/**
 * Moves the calling thread, and with it every process that it starts from now on, into a network namespace of its own. There the
 * program's port cannot be taken, nobody else's traffic reaches it, and the kernel's counters are about nothing else.
 */
export function enterNetwork(wanted: 'private' | 'shared'): NetworkOfRun {
  if (wanted === 'shared') return { private: false, reason: 'asked for' }
  try {
    native().enterPrivateNetwork()
    makeQuiet()
    return { private: true, reason: null }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // EPERM: no CAP_SYS_ADMIN; ENOSYS, EINVAL: a kernel or sandbox without network namespaces; ENOSPC: their limit (unshare(2)).
    if (code !== 'EPERM' && code !== 'ENOSYS' && code !== 'EINVAL' && code !== 'ENOSPC') throw error
    return {
      private: false,
      reason: code === 'EPERM' ? 'a private one needs CAP_SYS_ADMIN' : `a private one cannot be made: ${code}`,
    }
  }
}

/** Of the calling thread's network namespace. An older kernel has not all of it, a container may have /proc read-only. */
function makeQuiet(): void {
  const settings = Object.entries(SEND_NOTHING_AGAIN).map(
    ([name, value]) =>
      () =>
        writeFileSync(`/proc/sys/net/ipv4/${name}`, value),
  )
  for (const make of [...settings, keepOrder]) {
    try {
      make()
    } catch {
      // Such a reset is rare, and the report tells it from one that has hit somebody.
    }
  }
}
