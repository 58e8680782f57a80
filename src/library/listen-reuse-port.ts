import cluster from 'node:cluster'
import type { AddressInfo, Server } from 'node:net'
import { ReuseportError } from '../errors.js'
import { native } from '../native.js'
import type { Server as HandleServer } from '../serving/handles.js'
import type { Activated } from './activation.js'
import { closer } from './close.js'
import {
  Listener,
  type ListenerEvents,
  type ReusePortListener,
  type ReusePortSocket,
  type Standing,
} from './listener.js'
import { findMeeting, given, handoverOf } from './options.js'
import { sharesPort } from './reuse-port.js'

/** As in server.listen(): `port` (and `host`), or `path`. */
export interface ListenReusePortOptions {
  /** 0: any that is free, which no launcher manages. */
  readonly port?: number | undefined
  /** Default: every address. */
  readonly host?: string | undefined
  /** A unix socket, in place of `port`. */
  readonly path?: string | undefined
  /** Length of the accept queue. Default: 511, as Node. */
  readonly backlog?: number | undefined
  /** The address `::` without IPv4. Default: false. */
  readonly ipv6Only?: boolean | undefined
  /**
   * Without a launcher and `handover`: the socket that systemd has given this process by that name (FileDescriptorName=), in place of that of the
   * address. A process that was given none listens on the address.
   */
  readonly fdName?: string | undefined
  /**
   * Path of a unix socket by which the next process of this program finds this one, and takes the listener over. Under a launcher, which does
   * that itself, and off Linux, it is nothing.
   */
  readonly handover?: string | undefined
  /** With `handover`: a new process that is not ready by then is sent away. Milliseconds; default: 60,000. */
  readonly readyTimeoutMs?: number | undefined
  /** With `handover`: what is open when another process has taken over has so long. Milliseconds; default: 30,000. */
  readonly drainTimeoutMs?: number | undefined
  /** With `handover`: idle HTTP/1.1 connections go on in the other process. Default: true. */
  readonly migrate?: boolean | undefined
  /** With `handover`: at this signal the program starts its next process: the same command, in the same directory by its name. */
  readonly onSignal?: NodeJS.Signals | undefined
  /** With `handover`: a file that has the pid of the process that serves. */
  readonly pidFile?: string | undefined
  /** Hears 'drain', as a listener that was added before there can be any. */
  readonly onDrain?: ((...event: ListenerEvents['drain']) => void) | undefined
}

/**
 * server.listen() for a server whose process will be replaced: of net, http, https, http2, or a framework. Resolves at 'listening', rejects
 * with what would have been the 'error'. Under the launcher the worker is not ready before `ready()` has been called, whatever --ready says;
 * without one it is a listen with SO_REUSEPORT, or where that cannot be had a plain one, with a warning.
 */
export function listenReusePort(server: Server, options: ListenReusePortOptions): Promise<ReusePortListener>
/**
 * The socket alone, for a program that accepts by itself, in whatever way: with `handover` only. Until 'handover' it may accept from `fd`; the drain
 * is over when it calls close().
 */
export function listenReusePort(options: ListenReusePortOptions & { handover: string }): Promise<ReusePortSocket>
export async function listenReusePort(
  first: Server | ListenReusePortOptions,
  second?: ListenReusePortOptions,
): Promise<ReusePortListener> {
  return second === undefined ? listenBare(first as ListenReusePortOptions) : listenOn(first as Server, second)
}

async function listenBare(options: ListenReusePortOptions): Promise<ReusePortSocket> {
  if (options.handover === undefined || findMeeting() !== undefined)
    throw new ReuseportError(
      'ERR_USAGE',
      'a socket without a server is to be had with `handover`, and without a launcher',
      {
        next: 'Give it a server. A program that accepts by itself is given sockets by `reuseport-run --listen`.',
      },
    )
  // Off Linux there is none.
  native()
  const { BareServer } = require('./handover/bare.js') as typeof import('./handover/bare.js')
  const server = new BareServer()
  return Object.assign(await listenOn(server, options), { fd: server.descriptor() })
}

async function listenOn(server: Server, options: ListenReusePortOptions): Promise<ReusePortListener> {
  const meeting = findMeeting()
  const listener = new Listener()
  if (options.onDrain !== undefined) listener.events.on('drain', options.onDrain)
  if (options.handover !== undefined && meeting === undefined && process.platform === 'linux') {
    const { listenWithHandover } = require('./handover/listen.js') as typeof import('./handover/listen.js')
    const { handover } = options
    const asked = handoverOf(options)
    const listen = (): Promise<void> => listening(server, asNode(options, false))
    return opened(server, listener, await listenWithHandover(server as HandleServer, listener, handover, asked, listen))
  }
  const activated = meeting === undefined ? findActivated(options) : undefined
  const place = meeting?.announce(server, listener.fate)
  try {
    await listening(
      server,
      activated === undefined
        ? asNode(options, options.path === undefined && sharesPort(meeting !== undefined))
        : given({ fd: activated.fd, backlog: options.backlog }),
    )
  } finally {
    meeting?.forget(server)
  }
  const generation = place?.generation ?? null
  return opened(server, listener, {
    address: activated?.path ?? (server.address() as AddressInfo | string),
    inherited: activated !== undefined ? 'activation' : generation === null ? 'none' : 'launcher',
    generation,
    ready: () => place?.ready(),
  })
}

/** Loaded, and the addon with it, only when there may be something. */
function findActivated(options: ListenReusePortOptions): Activated | undefined {
  if (process.env['LISTEN_FDS'] === undefined || process.platform !== 'linux' || cluster.isWorker) return undefined
  const { activated } = require('./activation.js') as typeof import('./activation.js')
  return activated(options)
}

function opened(server: Server, listener: Listener, standing: Standing): ReusePortListener {
  server.once('close', () => listener.closed())
  return listener.open(standing, closer(server))
}

function asNode({ port, host, path, backlog, ipv6Only }: ListenReusePortOptions, reusePort: boolean): object {
  return given({ port, host, path, backlog, ipv6Only, reusePort: reusePort || undefined })
}

function listening(server: Server, options: object): Promise<void> {
  return new Promise((done, fail) => {
    const settle = (error?: Error): void => {
      server.off('listening', settle).off('error', settle).off('close', closed)
      if (error === undefined) done()
      else fail(error)
    }
    const closed = (): void => settle(new Error('the server was closed before it listened'))
    server.once('listening', settle).once('error', settle).once('close', closed)
    try {
      server.listen(options)
    } catch (error) {
      settle(error as Error)
    }
  })
}
