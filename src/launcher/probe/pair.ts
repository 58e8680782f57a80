import { type InetAddress, type Native, native, READABLE } from '../../native.js'
import type { Connect } from '../agents.js'
import type { Hand } from './attempt.js'

/** Connecting over loopback is done when connect(2) returns; a kernel that is very busy may need its softirq thread for it. */
const CONNECT_MS = 1_000
/** Strangers that may be in the way: somebody who scans ports may connect in the microsecond before we do. */
const MOST_STRANGERS = 8

/**
 * Two ends of a TCP connection of this machine that nobody else has. Not a unix pair: its ends have no address, and programs read
 * `remoteAddress` (node.md §3). Both are the caller's. Throws what the kernel says.
 */
export function loopbackPair(native: Native): [ours: number, theirs: number] {
  const listener = native.socket('inet', 'stream')
  let ours: number | undefined
  try {
    native.bindInet(listener, '127.0.0.1', 0)
    native.listen(listener, MOST_STRANGERS)
    ours = native.socket('inet', 'stream')
    native.connectInet(ours, '127.0.0.1', (native.localAddress(listener) as InetAddress).port)
    const theirs = acceptFrom(native, listener, (native.localAddress(ours) as InetAddress).port)
    return [ours, theirs]
  } catch (error) {
    if (ours !== undefined) native.close(ours)
    throw error
  } finally {
    native.close(listener)
  }
}

/** A pair of which the worker is handed one end. */
export function handing(hand: Hand): Connect {
  return (answered) => {
    const [fd, theirs] = loopbackPair(native())
    try {
      return { fd, stop: hand(theirs, answered), whyNot: 'its event loop is busy' }
    } catch (error) {
      native().close(fd)
      throw error
    } finally {
      native().close(theirs)
    }
  }
}

/** The connection whose other end is ours; whoever else has found the port meanwhile is sent away. */
function acceptFrom(native: Native, listener: number, port: number): number {
  for (let strangers = 0; strangers <= MOST_STRANGERS; strangers++) {
    native.pollSync(listener, READABLE, CONNECT_MS)
    const fd = native.accept(listener)
    if (fd === null) break
    if (portOfPeer(native, fd) === port) return fd
    native.close(fd)
  }
  throw Object.assign(new Error('no connection over 127.0.0.1 could be made'), { code: 'ECONNABORTED' })
}

function portOfPeer(native: Native, fd: number): number | null {
  try {
    return (native.peerAddress(fd) as InetAddress).port
  } catch {
    return null // It has gone already: a stranger.
  }
}
