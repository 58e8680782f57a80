import { writeFileSync } from 'node:fs'
import { native } from '../native.js'

/**
 * Loopback loses nothing, so each segment that TCP sends again there is a copy of one that a busy processor has not looked at yet. A copy
 * that finds its client closed is answered with a reset: it is counted in OutRsts and nobody's fault. So nothing is sent again before a
 * processor has had its time: no tail loss probe (ip-sysctl: tcp_early_retrans), and a longer first time-out (tcp_rto_min_us, Linux 6.11).
 */
const SEND_NOTHING_AGAIN = { tcp_early_retrans: '0', tcp_rto_min_us: '2000000' }

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
    for (const [name, value] of Object.entries(SEND_NOTHING_AGAIN)) set(name, value)
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

/** Of the calling thread's network namespace. An older kernel has not all of them, a container may have /proc read-only. */
function set(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv4/${name}`, value)
  } catch {
    // A reset that is nobody's fault is rare, and named in the report.
  }
}
