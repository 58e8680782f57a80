import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { ReuseportError } from '../errors.js'
import type { Meeting } from '../meeting.js'
import { Listener, type ListenerEvents, type ReusePortListener, type Standing } from './listener.js'
import { findMeeting, given, handoverOf } from './options.js'

/** As in socket.bind(): `port`, and `address`. What createSocket() was told (its type, `ipv6Only`) holds. */
export interface BindReusePortOptions {
  /** 0: any that is free, without `handover`. */
  readonly port?: number | undefined
  /** Default: every address of the socket's type. */
  readonly address?: string | undefined
  /** SO_RCVBUF, in bytes: what comes while nobody reads has this room, in whichever process. Default: the system's. */
  readonly recvBufferSize?: number | undefined
  /** As of `listenReusePort`: path of a unix socket. All that have the same one, servers too, go together. */
  readonly handover?: string | undefined
  /** With `handover`: a new process that is not ready by then is sent away. Milliseconds; default: 60,000. */
  readonly readyTimeoutMs?: number | undefined
  /** With `handover`: what was received may still be answered so long when another process has taken over. Milliseconds; default: 30,000. */
  readonly drainTimeoutMs?: number | undefined
  /**
   * Flows (a client's address and port) that were heard of within this time stay with this process for as long after another one has taken over; 1,000
   * at most. 'handover' and 'drain' come after it. Shorter than `drainTimeoutMs`. Milliseconds; default: 0, they go at once.
   */
  readonly udpLingerMs?: number | undefined
  /** With `handover`: at this signal the program starts its next process. */
  readonly onSignal?: NodeJS.Signals | undefined
  /** With `handover`: this file has the pid of the process that serves. */
  readonly pidFile?: string | undefined
  /** Hears 'drain', as a listener that was added before there can be any. */
  readonly onDrain?: ((...event: ListenerEvents['drain']) => void) | undefined
}

/**
 * socket.bind() for a UDP socket of node:dgram whose process will be replaced. Resolves at 'listening', rejects with what would have been the
 * 'error'. Under the launcher, and with `handover`, nothing is received before `ready()`: what comes meanwhile waits. Without both it is a plain bind().
 */
export async function bindReusePort(socket: Socket, options: BindReusePortOptions): Promise<ReusePortListener> {
  const { port = 0, address, recvBufferSize: size, handover } = options
  const meeting = findMeeting()
  if (typeof (socket as Partial<Socket>)?.addMembership !== 'function') throw wrong('this is no socket of node:dgram')
  // To Node 65,537 is port 1.
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535)) throw wrong(`a port is 0 to 65535, not ${port}`)
  if (size !== undefined && !(Number.isInteger(size) && size > 0))
    throw wrong(`recvBufferSize is a number of bytes, not ${size}`)
  const { udpLingerMs, drainTimeoutMs } = handoverOf(options)
  if (!(Number.isInteger(udpLingerMs) && udpLingerMs >= 0))
    throw wrong(`udpLingerMs is a number of milliseconds, not ${udpLingerMs}`)
  if (meeting === undefined && udpLingerMs > 0 && udpLingerMs >= drainTimeoutMs)
    throw wrong(`udpLingerMs (${udpLingerMs}) must be shorter than drainTimeoutMs (${drainTimeoutMs})`)
  const listener = new Listener()
  if (options.onDrain !== undefined) listener.events.on('drain', options.onDrain)
  const close = closer(socket)
  const begin = (): void => setRecvBuffer(socket, size)
  if (meeting !== undefined && port !== 0) {
    const standing = await bindWithLauncher(meeting, socket, listener, { port, address }, begin)
    if (standing !== null) return listener.open(standing, close)
  } else if (handover !== undefined && meeting === undefined && process.platform === 'linux') {
    const { datagramAddress } = require('./datagram-address.js') as typeof import('./datagram-address.js')
    const { bindWithHandover } = require('./handover/bind.js') as typeof import('./handover/bind.js')
    const where = await datagramAddress(socket, { port, address })
    const asked = { ...handoverOf(options), migrate: false }
    return listener.open(await bindWithHandover(socket, listener, handover, where, asked, begin), close)
  } else if (handover !== undefined && meeting === undefined) warnOfPlainBind()
  const bound = once(socket, 'listening')
  socket.bind(given({ port, address }))
  await bound
  begin()
  socket.once('close', () => listener.closed())
  return listener.open({ address: socket.address(), inherited: 'none', generation: null, ready: () => {} }, close)
}

/** null: the launcher leaves this address to Node. */
async function bindWithLauncher(
  meeting: Meeting,
  socket: Socket,
  listener: Listener,
  asked: { readonly port: number; readonly address: string | undefined },
  begin: () => void,
): Promise<Standing | null> {
  if (meeting.bind === undefined)
    throw new ReuseportError('ERR_PROTOCOL', 'the launcher of this version manages no UDP sockets', {
      next: 'Install the same version of reuseport-run for the program and for the launcher.',
    })
  const { datagramAddress } = require('./datagram-address.js') as typeof import('./datagram-address.js')
  const place = meeting.bind(socket, await datagramAddress(socket, asked), listener.fate)
  if (place.generation === null) return null
  socket.once('close', () => listener.closed())
  const ready = (): void => {
    begin()
    place.ready()
  }
  return { address: socket.address(), inherited: 'launcher', generation: place.generation, ready }
}

function wrong(what: string): ReuseportError {
  return new ReuseportError('ERR_USAGE', `bindReusePort: ${what}`)
}

function closer(socket: Socket): () => Promise<void> {
  const closed = new Promise<void>((done) => socket.once('close', done))
  let isClosing = false
  socket.once('close', () => {
    isClosing = true
  })
  return () => {
    if (!isClosing) socket.close()
    isClosing = true
    return closed
  }
}

function setRecvBuffer(socket: Socket, size: number | undefined): void {
  if (size === undefined) return
  socket.setRecvBufferSize(size)
  // The kernel doubles it, for its own needs, and says nothing when it takes less (socket(7)).
  const got = socket.getRecvBufferSize() / 2
  if (got < size)
    process.emitWarning(
      `bindReusePort: the receive buffer has ${got} bytes, not ${size}: net.core.rmem_max is its limit`,
      {
        code: 'REUSEPORT_RUN_RECV_BUFFER',
      },
    )
}

let hasWarned = false

function warnOfPlainBind(): void {
  if (hasWarned) return
  hasWarned = true
  process.emitWarning(`bindReusePort: sockets are handed over on Linux only; this is a plain bind()`, {
    code: 'REUSEPORT_RUN_PLAIN_LISTEN',
  })
}
