import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { type ConnectionKind, type CutRequest, MAX_CUT_PATH } from '../../protocol.js'
import { connectionsOf, socketsOf } from '../migrate/idle.js'
import { Sender } from '../migrate/sender.js'
import { speaks } from '../speaks.js'
import { sessionsOn } from './http2.js'
import type { HttpSocket, Response } from './last-response.js'
import { type Upgraded, upgradesOf } from './upgrades.js'

/** What a connection is doing: known without having watched it. */
export interface Doing {
  readonly kind: ConnectionKind
  readonly connection: Pick<Socket, 'bytesRead' | 'bytesWritten'>
  readonly requests: readonly Omit<CutRequest, 'kind' | 'bytesRead' | 'bytesWritten'>[]
}

/** Every connection of a server that can be told from its others. Those of plain TCP, and handshakes under way, are only counted by Node. */
export function census(server: object): Map<object, ConnectionKind> {
  const kinds = new Map<object, ConnectionKind>()
  const list = connectionsOf(server)
  const sender = Sender.of(server)
  for (const socket of list === undefined ? [] : socketsOf(list.all()))
    if (!socket.destroyed && !sender?.hasLeft(socket)) kinds.set(socket, kindOf(socket))
  for (const [socket, { isWebSocket }] of upgradesOf(server))
    if (!socket.destroyed) kinds.set(socket, isWebSocket ? 'websocket' : 'upgraded')
  const kind = speaks(server)
  for (const session of sessionsOn(server)) if (!session.destroyed) kinds.set(session, kind)
  return kinds
}

function kindOf(socket: HttpSocket): ConnectionKind {
  if (isEventStream(socket._httpMessage)) return 'sse'
  return (socket as { encrypted?: boolean }).encrypted === true ? 'https' : 'http'
}

/** By the head that is out: `writeHead` keeps its headers nowhere else. */
export function isEventStream(response: Response | null | undefined): response is Response {
  return /^content-type: *text\/event-stream/im.test(response?._header ?? '')
}

/** What a connection that `census` has listed is in the middle of. */
export function doing(server: object, connection: object, kind: ConnectionKind): Doing {
  const upgraded = upgradesOf(server).get(connection as Socket)
  if (upgraded !== undefined) return { kind, connection: connection as Socket, requests: [ofUpgraded(upgraded)] }
  if (!sessionsOn(server).has(connection as ServerHttp2Session)) {
    const socket = connection as HttpSocket
    return { kind, connection: socket, requests: ofHttp1(socket) }
  }
  const session = connection as ServerHttp2Session
  return { kind, connection: session.socket, requests: streamsOf(session).map(ofStream) }
}

function ofUpgraded({ since, ...request }: Upgraded): Doing['requests'][number] {
  return { ...nameOf(request), ageMs: Math.round(performance.now() - since) }
}

function ofHttp1(socket: HttpSocket): Doing['requests'] {
  const { _httpMessage: response, parser } = socket
  const request = response?.req ?? parser?.incoming
  if (!request || (!response && request.complete)) return []
  return [{ ...nameOf(request), ageMs: ageOf(/^date: *(.*)$/im.exec(response?._header ?? '')?.[1]) }]
}

function nameOf(request: { method?: string | undefined; url?: string | undefined; originalUrl?: string }): {
  method: string
  path: string
} {
  return { method: request.method ?? '?', path: pathOf(request.originalUrl ?? request.url ?? '?') }
}

function pathOf(target: string): string {
  return (target.split(/[?#]/)[0] as string).slice(0, MAX_CUT_PATH)
}

function ageOf(date: string | undefined): number | null {
  const began = Date.parse(date ?? '')
  return Number.isNaN(began) ? null : Math.max(0, Date.now() - began)
}

/** Node lists a session's streams only for itself (20, 22, 24, 26). */
export function streamsOf(session: ServerHttp2Session): ServerHttp2Stream[] {
  const state = inside<{ streams?: Map<number, ServerHttp2Stream> }>(session, 'state')
  return [...(state?.streams?.values() ?? [])]
}

/** The object that Node's compatibility layer has made for a stream, if the program uses that. */
export function compatible<T>(stream: ServerHttp2Stream, what: 'request' | 'response'): T | undefined {
  return inside<T>(stream, what)
}

function ofStream(stream: ServerHttp2Stream): Doing['requests'][number] {
  const request = compatible<{ method?: string; url?: string }>(stream, 'request')
  return { ...nameOf(request ?? {}), ageMs: ageOf(stream.sentHeaders?.date) }
}

function inside<T>(owner: object, description: string): T | undefined {
  const symbol = Object.getOwnPropertySymbols(owner).find((one) => one.description === description)
  return symbol === undefined ? undefined : ((owner as Record<symbol, unknown>)[symbol] as T | undefined)
}
