import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

/** A connection that has left HTTP. */
export interface Upgraded {
  /** Not the request: its headers would be kept for as long as the connection. */
  readonly method: string | undefined
  readonly url: string | undefined
  readonly since: number
  /** The handshake asked for WebSocket, and the first word of the answer was 101. */
  isWebSocket: boolean
}

/** Node forgets an upgraded connection: the server counts it, and lists it nowhere. */
const upgradedOf = new WeakMap<object, Map<Socket, Upgraded>>()

const NONE: ReadonlyMap<Socket, Upgraded> = new Map()

export function upgradesOf(server: object): ReadonlyMap<Socket, Upgraded> {
  return upgradedOf.get(server) ?? NONE
}

const SWITCHING = 'HTTP/1.1 101'

/**
 * From the claim on; once per upgrade, nothing per message. Ours is there only while the program has a listener of its own: without any,
 * Node answers such a request like every other.
 */
export function trackUpgrades(server: object): void {
  if (!isHttp(server) || upgradedOf.has(server)) return
  const upgraded = new Map<Socket, Upgraded>()
  upgradedOf.set(server, upgraded)
  const note = ({ method, url, headers }: IncomingMessage, socket: Socket): void => {
    const one: Upgraded = { method, url, since: performance.now(), isWebSocket: false }
    upgraded.set(socket, one)
    socket.once('close', () => upgraded.delete(socket))
    if (/^websocket$/i.test(headers.upgrade ?? ''))
      onFirstWrite(socket, (text) => {
        one.isWebSocket = text.startsWith(SWITCHING)
      })
  }
  const isOurs = (): boolean => server.listeners('upgrade').includes(note)
  server.on('newListener', (event, listener) => {
    if (event === 'upgrade' && listener !== note && !isOurs()) server.prependListener('upgrade', note)
  })
  server.on('removeListener', (event) => {
    if (event === 'upgrade' && server.listenerCount('upgrade') === 1 && isOurs()) server.off('upgrade', note)
  })
  if (server.listenerCount('upgrade') > 0) server.prependListener('upgrade', note)
}

/** Also one of http2 that speaks HTTP/1.1 as well (allowHTTP1). */
function isHttp(server: object): server is Server {
  return typeof (server as { closeIdleConnections?: unknown }).closeIdleConnections === 'function'
}

/** The head of the answer is what the program writes first; what it writes after that passes untouched. */
function onFirstWrite(socket: Socket, see: (text: string) => void): void {
  const own = Object.getOwnPropertyDescriptor(socket, 'write')
  const { write } = socket
  socket.write = function (this: Socket, ...args: unknown[]) {
    if (own === undefined) delete (this as Partial<Socket>).write
    else Object.defineProperty(this, 'write', own)
    see(textOf(args[0]))
    return (write as (...args: unknown[]) => boolean).apply(this, args)
  } as Socket['write']
}

function textOf(chunk: unknown): string {
  if (typeof chunk === 'string') return chunk.slice(0, SWITCHING.length)
  return chunk instanceof Uint8Array ? Buffer.from(chunk.subarray(0, SWITCHING.length)).toString('latin1') : ''
}
