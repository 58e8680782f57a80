import net from 'node:net'

/** What we use of Node's TCP and Pipe wraps, the objects behind `server._handle`. The same in Node 20, 22, 24 and 26 (facts: node.md §1). */
export interface ListenHandle {
  readonly fd: number
  onconnection: unknown
  listen(backlog: number): number
  close(done?: () => void): void
  ref(): void
  unref(): void
  /** TCP only. */
  getsockname?(out: object): number
}

/** net.Server with the parts that Node does not document, all of them read by several well known packages. */
export interface Server extends net.Server {
  _handle: ListenHandle | null
  /** Accepted and not yet closed, TLS handshakes and upgraded ones too. */
  readonly _connections: number
  readonly _unref: boolean
}

type CreateServerHandle = (address: null, port: null, type: null, fd: number) => ListenHandle | number

/** A handle that owns `fd` from now on. Throws with the (negative) errno, `fd` stays the caller's then. */
export function createListenHandle(fd: number): ListenHandle {
  const create = (net as unknown as { _createServerHandle: CreateServerHandle })._createServerHandle
  const handle = create(null, null, null, fd)
  if (typeof handle === 'number') throw listenError(handle)
  return handle
}

export function listenError(errno: number): Error & { errno: number } {
  return Object.assign(new Error(`listen failed (errno ${errno})`), { errno })
}

const OWNER = 'owner_symbol'

/** What Node has made of a handle: the socket of a connection's. */
export function ownerOf(handle: object): unknown {
  const symbol = Object.getOwnPropertySymbols(handle).find(({ description }) => description === OWNER)
  return symbol === undefined ? undefined : (handle as Record<symbol, unknown>)[symbol]
}

/**
 * Makes `to` accept into the same server as `from`: Node's accept callback, and the owner under Node's private symbol
 * (`owner_symbol`, an own property of every listening handle).
 */
export function copyAcceptor(from: ListenHandle, to: ListenHandle): void {
  to.onconnection = from.onconnection
  for (const symbol of Object.getOwnPropertySymbols(from)) {
    if (symbol.description === OWNER) {
      const owners = to as unknown as Record<symbol, unknown>
      owners[symbol] = (from as unknown as Record<symbol, unknown>)[symbol]
    }
  }
}

/** Own properties hide Node's methods of the wrap; without them the wrap is itself again. */
export function undress(handle: ListenHandle): void {
  const own = handle as unknown as Partial<ListenHandle>
  delete own.listen
  delete own.close
  delete own.ref
  delete own.unref
}

/** UV_EBADF */
const BAD_DESCRIPTOR = -9

/** Stands where a listening handle was whose socket is given up: `server.address()` still answers, nothing else happens. */
export class ClosedHandle implements ListenHandle {
  readonly fd = -1
  onconnection: unknown = undefined
  getsockname?(out: object): number

  constructor(from: ListenHandle) {
    copyAcceptor(from, this)
    const address = {}
    if (from.getsockname?.(address) === 0) {
      this.getsockname = (out) => {
        Object.assign(out, address)
        return 0
      }
    }
  }

  listen(_backlog: number): number {
    return BAD_DESCRIPTOR
  }

  close(done?: () => void): void {
    if (done !== undefined) process.nextTick(done)
  }

  ref(): void {}

  unref(): void {}
}
