import type { Native } from '../native.js'

/** How often it is looked whether process.stderr has written what it had queued; only while the launcher waits for the answer. */
const LOOK_MS = 10
/** The launcher copies the pipe on all the time; a queue that does not move for so long means that it cannot. */
const FLUSH_MS = 2_000

/**
 * Fd 2 becomes `fd` (taken). A `process.stderr` that exists goes on with the number 2, whatever is behind it: libuv writes at once and
 * asks the loop only when the kernel says EAGAIN. But a write that already waits in the loop would wait for ever: epoll forgets a
 * descriptor that dup2 replaces, and libuv does not know. So the queue has to be empty; if it does not get empty nothing is changed.
 */
export async function replaceStderr(native: Native, fd: number): Promise<void> {
  try {
    const deadline = performance.now() + FLUSH_MS
    while (isWriting()) {
      if (performance.now() > deadline) throw Object.assign(new Error('fd 2 has unwritten output'), { code: 'EBUSY' })
      await new Promise((done) => setTimeout(done, LOOK_MS))
    }
    native.dup2(fd, 2)
  } finally {
    native.close(fd)
  }
}

/** A write request of a stream on fd 2 waits in this thread's loop. `process.stderr` is not asked: that would create it. */
function isWriting(): boolean {
  const { _getActiveRequests } = process as unknown as { _getActiveRequests?(): { handle?: { fd?: number } }[] }
  return _getActiveRequests?.().some((request) => request.handle?.fd === 2) ?? false
}
