import type { Native } from '../../native.js'

/** 64 KiB of kernel memory. Doubled from here as the kernel does it anyway. */
const DESCRIPTORS = 8_192

/**
 * Makes room for many connections at once. The kernel doubles a process' table of descriptors when it is full, and waits each time until no
 * other thread can look at the old one (synchronize_rcu): 12-24 ms, five times on the way to 4,096, in the middle of the first connections.
 * So it is done once, while a worker is held and nobody waits for it. `fd`: any.
 */
export function makeRoom(native: Native, fd: number): void {
  try {
    native.close(native.dup(fd, DESCRIPTORS - 1))
  } catch {
    // EINVAL: it may not have so many.
  }
}
