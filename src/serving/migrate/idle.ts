import type { Server } from 'node:http'
import type { HttpSocket } from '../drain/last-response.js'

/** Node's list of HTTP/1 connections of a server (`http.server.connections`, the same in 20, 22, 24 and 26): parsers with a socket. */
export interface ConnectionsList {
  all(): Connection[]
  /** Those whose last message has come in completely; it may still be answered. */
  idle(): Connection[]
}
interface Connection {
  readonly socket?: HttpSocket
}

/** undefined: no HTTP/1 server of Node's. */
export function connectionsOf(server: object): ConnectionsList | undefined {
  const symbol = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === 'http.server.connections',
  )
  return symbol === undefined ? undefined : ((server as Record<symbol, unknown>)[symbol] as ConnectionsList | undefined)
}

export function socketsOf(connections: readonly Connection[]): HttpSocket[] {
  return connections.flatMap(({ socket }) => socket ?? [])
}

/**
 * Between two messages with nothing left to write, or open without a first byte ("fresh", browsers do that): before Node 26 not in idle().
 * One whose next request is being read is not: a message begins with its first byte.
 */
export function idleOf(list: ConnectionsList, fits: (socket: HttpSocket) => boolean = () => true): HttpSocket[] {
  const between = new Set(socketsOf(list.idle()))
  return socketsOf(list.all()).filter(
    (socket) => isQuiet(socket) && (between.has(socket) || socket.bytesRead === 0) && fits(socket),
  )
}

/** Nothing is answered or written. One that was idle is so still if it has read nothing since. */
export function isQuiet(socket: HttpSocket): boolean {
  return !socket.destroyed && !socket._httpMessage && socket.writableLength === 0
}

/**
 * Whether all that there is of an idle connection is in the kernel, so that another process can go on with it: no TLS, nothing in Node's
 * buffers, and accepted by this server (it may also be given one that is part of something else).
 */
export function isMovable(socket: HttpSocket, server: Server): boolean {
  const { _handle: handle, _server: acceptedBy, encrypted } = socket as unknown as Insides
  return (
    acceptedBy === server &&
    !encrypted &&
    !socket.readableEnded &&
    // Its end is on its way (Connection: close), though the socket is there for another turn.
    !socket.writableEnded &&
    socket.readableLength === 0 &&
    typeof handle?.fd === 'number' &&
    handle.fd >= 0 &&
    handle.writeQueueSize === 0
  )
}

/** The number under which the process has this connection. */
export function descriptorOf(socket: HttpSocket): number {
  return (socket as unknown as Insides)._handle?.fd ?? -1
}

interface Insides {
  readonly _handle?: { readonly fd?: number; readonly writeQueueSize?: number } | null
  /** The net.Server that accepted it. */
  readonly _server?: unknown
  readonly encrypted?: boolean
}
