import type { AddressInfo, Server } from 'node:net'
import { ReuseportError } from '../errors.js'
import { MEETING, MEETING_VERSION, type Meeting } from '../meeting.js'
import { Listener, type ListenerEvents, type ReusePortListener } from './listener.js'
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
  /** Hears 'drain', as a listener that was added before there can be any. */
  readonly onDrain?: ((...event: ListenerEvents['drain']) => void) | undefined
}

/**
 * server.listen() for a server whose process will be replaced: of net, http, https, http2, or a framework. Resolves at 'listening', rejects
 * with what would have been the 'error'. Under the launcher the worker is not ready before `ready()` has been called, whatever --ready says;
 * without one it is a listen with SO_REUSEPORT, or where that cannot be had a plain one, with a warning.
 */
export async function listenReusePort(server: Server, options: ListenReusePortOptions): Promise<ReusePortListener> {
  const meeting = findMeeting()
  const listener = new Listener(server)
  if (options.onDrain !== undefined) listener.events.on('drain', options.onDrain)
  const place = meeting?.announce(server, listener.fate)
  try {
    await listening(server, asNode(options, meeting !== undefined))
  } finally {
    meeting?.forget(server)
  }
  const generation = place?.generation ?? null
  return listener.open({
    address: server.address() as AddressInfo | string,
    inherited: generation === null ? 'none' : 'launcher',
    generation,
    ready: () => place?.ready(),
  })
}

function asNode(options: ListenReusePortOptions, isLaunched: boolean): object {
  const { port, host, path, backlog, ipv6Only } = options
  const given = Object.entries({ port, host, path, backlog, ipv6Only }).filter(([, value]) => value !== undefined)
  // To Node a port that is there and undefined is a random one.
  const asked = Object.fromEntries(given)
  return path === undefined && sharesPort(isLaunched) ? { ...asked, reusePort: true } : asked
}

/** undefined: no launcher has started this process. */
function findMeeting(): Meeting | undefined {
  const meeting = (globalThis as { [MEETING]?: Meeting })[MEETING]
  if (meeting === undefined || meeting.version === MEETING_VERSION) return meeting
  // It would listen, and serve before ready().
  throw new ReuseportError('ERR_PROTOCOL', 'the launcher cannot be told by this version of the library who is ready', {
    facts: { launcher: meeting.version, library: MEETING_VERSION },
    next: 'Install the same version of reuseport-run for the program and for the launcher.',
  })
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
