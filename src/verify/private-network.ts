import { native } from '../native.js'

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
