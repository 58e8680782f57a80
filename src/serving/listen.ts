import net from 'node:net'
import { basename, resolve } from 'node:path'
import type { InetAddress } from '../native.js'
import type { ListenAddress } from '../protocol.js'
import type { Claim } from './claim.js'
import type { ListenHandle, Server } from './handles.js'

/** Node's own step of listen() after validation and DNS; its source names it "so as not to break code that wraps this method". */
export type Listen = (
  this: Server,
  address: string | null,
  port: number | null,
  addressType: number | null,
  backlog: number | false | undefined,
  fd: number | undefined,
  flags: number | undefined,
) => void
export type ListenArguments = Parameters<Listen>

/** Where Node looks for that step. */
export const listenPrototype: { _listen2: Listen } = net.Server.prototype as unknown as { _listen2: Listen }

/** What a listen() is given. */
export type ClaimAnswer =
  | { readonly mode: 'managed'; readonly claim: Claim; readonly bound: InetAddress | undefined }
  | { readonly mode: 'plain' }
  | { readonly mode: 'failed'; readonly errno: number; readonly code: string }

/** What Node gives listen(2) when the program names no backlog (net.js: "we pass 511 to get 512"). */
export const DEFAULT_BACKLOG = 511
/** libuv says EACCES when the directory of a path is not there (uv_pipe_bind: "convert ENOENT to EACCES for compat with Windows"). */
const [ENOENT, EACCES] = [-2, -13]
/** UV_TCP_IPV6ONLY among the `flags`. */
const IPV6_ONLY = 1

/** undefined: nothing that one process could hand to the next, Node does it alone. */
export function addressOf(
  server: Server,
  [address, port, type, , fd, flags]: ListenArguments,
): ListenAddress | undefined {
  if (server._handle || typeof fd === 'number') return undefined
  if (port === -1 && type === -1) {
    // Abstract names have no file to link. A path with our pid in it is as private as port 0: tsx talks to its child over one.
    if (!address || address.startsWith('\0')) return undefined
    if (basename(address).split(/\D+/).includes(String(process.pid))) return undefined
    return { kind: 'unix', path: resolve(address) }
  }
  if (port === null || port <= 0) return undefined
  return { kind: 'tcp', host: address || null, port, ipv6Only: ((flags ?? 0) & IPV6_ONLY) !== 0 }
}

/** Node's step, with the socket that it has been given, or as if it had failed with that errno. */
export function listenWith(
  server: Server,
  listen: Listen,
  [address, port, addressType, backlog, fd, flags]: ListenArguments,
  asked: ListenAddress,
  answer: Exclude<ClaimAnswer, { mode: 'plain' }>,
): void {
  let [host, type] = [address, addressType]
  if (answer.mode === 'failed') {
    if (asked.kind === 'tcp' && asked.host === null) [host, type] = unboundDefault(answer.code)
    server._handle = failingHandle(asked.kind === 'unix' && answer.errno === ENOENT ? EACCES : answer.errno)
  } else if (answer.bound !== undefined) {
    host = answer.bound.host
    type = answer.bound.family
  }
  try {
    listen.call(server, host, port, type, backlog, fd, flags)
  } catch (error) {
    if (answer.mode === 'managed') answer.claim.abandon()
    throw error
  }
}

/** Node raises its own error, with its own address and port, when the handle's `listen` gives an errno. No socket is made for it. */
function failingHandle(errno: number): ListenHandle {
  return { fd: -1, onconnection: undefined, listen: () => errno, close: () => {}, ref: () => {}, unref: () => {} }
}

/**
 * The address that Node names in an error without a host: it tries `::` first, where EADDRINUSE shows only in listen(2) (libuv keeps
 * it from bind), and falls back to 0.0.0.0 at every other errno of bind.
 */
function unboundDefault(code: string): [string, number] {
  return code === 'EADDRINUSE' && hasIpv6() ? ['::', 6] : ['0.0.0.0', 4]
}

function hasIpv6(): boolean {
  const create = (net as unknown as { _createServerHandle(...args: unknown[]): ListenHandle | number })
    ._createServerHandle
  const handle = create('::', 0, 6, undefined, 0)
  if (typeof handle === 'number') return false
  handle.close()
  return true
}
