import { createSocket, type Socket, type SocketType } from 'node:dgram'
import type { Native } from '../native.js'

/** What we use of Node's UDP wrap, the object behind a dgram socket. The same in Node 20, 22, 24 and 26. */
export interface DatagramHandle {
  readonly fd: number
  /** How names are looked up: of createSocket(). */
  lookup: unknown
  recvStart(): number
  recvStop(): number
  close(): void
}

interface DatagramState {
  /** null: it is closed. */
  handle: DatagramHandle | null
  /** Of createSocket(); it means the bind. */
  readonly ipv6Only?: boolean
  /** Of createSocket(), since Node 22.13. */
  readonly receiveBlockList?: object
}

const [STATE, OWNER] = ['state symbol', 'owner_symbol']

/** An own property of every dgram socket, under a private symbol. */
function stateOf(socket: Socket): DatagramState {
  const symbol = symbolOf(socket, STATE)
  const state = symbol === undefined ? undefined : (socket as unknown as Record<symbol, DatagramState>)[symbol]
  if (state === undefined) throw new TypeError('this is not a socket of node:dgram')
  return state
}

function symbolOf(object: object, name: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find(({ description }) => description === name)
}

/** Node does not document it, nor change it. */
export function typeOf(socket: Socket): SocketType {
  return (socket as unknown as { readonly type: SocketType }).type
}

export function isIpv6Only(socket: Socket): boolean {
  return stateOf(socket).ipv6Only === true
}

/** null: the socket is closed. */
export function handleOf(socket: Socket): DatagramHandle | null {
  return stateOf(socket).handle
}

/**
 * bind() to a descriptor that is bound: without a datagram from it before recvStart(). Throws what bind() does; `fd` is the caller's then, and
 * the socket's afterwards.
 */
export function bindTo(socket: Socket, fd: number, native: Native): void {
  try {
    // Node begins to receive here, and is stopped before its event loop has turned. A handler of 'listening' may throw.
    socket.bind({ fd, exclusive: true })
    handleOf(socket)?.recvStop()
    // libuv sets it on whatever it opens: another user could bind beside us, and take datagrams.
    native.setOption(fd, 'reuseAddress', 0)
  } catch (error) {
    if (handleOf(socket)?.fd === fd) socket.close()
    else native.close(fd)
    throw error
  }
}

/** A socket of the same kind, whose datagrams are the other's to hear. */
export function createBeside(socket: Socket): Socket {
  const { receiveBlockList } = stateOf(socket)
  const type = typeOf(socket)
  const beside = createSocket(
    receiveBlockList === undefined ? { type } : ({ type, receiveBlockList } as { type: SocketType }),
  )
  // An error in receiving would be nobody's: the program has bound another one.
  return beside.on('message', (data, from) => socket.emit('message', data, from)).on('error', () => {})
}

/** The program's socket goes on with the handle of another one of its kind, which is nobody's then; its own is closed. */
export function exchangeHandle(socket: Socket, other: Socket): void {
  const state = stateOf(socket)
  const [old, fresh] = [state.handle, stateOf(other).handle]
  if (old === null || fresh === null) return
  fresh.lookup = old.lookup
  const owner = symbolOf(fresh, OWNER)
  if (owner !== undefined) (fresh as unknown as Record<symbol, unknown>)[owner] = socket
  state.handle = fresh
  old.close()
}
