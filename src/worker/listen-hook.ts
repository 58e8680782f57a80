import cluster from 'node:cluster'
import net from 'node:net'
import { basename, resolve } from 'node:path'
import { ReuseportError } from '../errors.js'
import type { ListenAddress } from '../protocol.js'
import { Agent, type ClaimAnswer } from './agent.js'
import type { Handed } from './environment.js'
import type { ListenHandle, Server } from './handles.js'
import type { LibraryServers } from './library-servers.js'
import type { ReadyMessage } from './ready-message.js'

/** Node's own step of listen() after validation and DNS; its source names it "so as not to break code that wraps this method". */
type Listen = (
  this: Server,
  address: string | null,
  port: number | null,
  addressType: number | null,
  backlog: number | false | undefined,
  fd: number | undefined,
  flags: number | undefined,
) => void

/** What Node gives listen(2) when the program names no backlog (net.js: "we pass 511 to get 512"). */
const DEFAULT_BACKLOG = 511
/** libuv says EACCES when the directory of a path is not there (uv_pipe_bind: "convert ENOENT to EACCES for compat with Windows"). */
const [ENOENT, EACCES] = [-2, -13]
/** UV_TCP_IPV6ONLY among the `flags`. */
const IPV6_ONLY = 1

let installed = false

/** From here on every `listen()` of this thread is claimed at the launcher. `claimed` is called once, when this process is the worker. */
export function installListenHook(
  handed: Handed,
  claimed: () => void,
  ready: ReadyMessage | undefined,
  library: LibraryServers,
): void {
  if (installed || cluster.isWorker) return
  installed = true
  const prototype = net.Server.prototype as unknown as { _listen2: Listen }
  const original = prototype._listen2
  let agent: Agent | undefined
  let endPassingOn: (() => void) | undefined = claimed

  const listen: Listen = function (address, port, addressType, backlog, fd, flags) {
    const plain = (): void => {
      original.call(this, address, port, addressType, backlog, fd, flags)
    }
    const asked = this._handle || typeof fd === 'number' ? undefined : addressOf(address, port, addressType, flags)
    if (asked === undefined) {
      plain()
      return
    }

    const place = library.placeOf(this)
    let answer: ClaimAnswer
    try {
      agent ??= new Agent(handed)
      answer = agent.claim(this, asked, backlog || DEFAULT_BACKLOG, place)
    } catch (error) {
      if (!(error instanceof ReuseportError)) throw error
      // As Node's listen errors come: in the next tick, when the program has had the time to add its handler.
      process.nextTick(() => this.emit('error', error))
      return
    }
    if (answer.mode === 'plain') {
      plain()
      return
    }
    if (endPassingOn !== undefined) ready?.whenSaid(() => agent?.send({ type: 'ready' }))
    endPassingOn?.()
    endPassingOn = undefined

    let [host, type] = [address, addressType]
    if (answer.mode === 'failed') {
      if (asked.kind === 'tcp' && asked.host === null) [host, type] = unboundDefault(answer.code)
      this._handle = failingHandle(asked.kind === 'unix' && answer.errno === ENOENT ? EACCES : answer.errno)
    } else if (answer.bound !== undefined) {
      host = answer.bound.host
      type = answer.bound.family
    }
    try {
      original.call(this, host, port, type, backlog, fd, flags)
    } catch (error) {
      if (answer.mode === 'managed') answer.claim.abandon()
      throw error
    }
    if (answer.mode !== 'managed') return
    const { claim } = answer
    if (place !== undefined) {
      place.generation = agent.place?.generation ?? null
      place.ready = () => agent?.ready(claim)
    }
    agent.announce(claim)
  }
  prototype._listen2 = listen
}

/** undefined: nothing that one generation could hand to the next, Node does it alone. */
function addressOf(
  address: string | null,
  port: number | null,
  addressType: number | null,
  flags: number | undefined,
): ListenAddress | undefined {
  if (port === -1 && addressType === -1) {
    // Abstract names have no file to link. A path with our pid in it is as private as port 0: tsx talks to its child over one.
    if (!address || address.startsWith('\0')) return undefined
    if (basename(address).split(/\D+/).includes(String(process.pid))) return undefined
    return { kind: 'unix', path: resolve(address) }
  }
  if (port === null || port <= 0) return undefined
  return { kind: 'tcp', host: address || null, port, ipv6Only: ((flags ?? 0) & IPV6_ONLY) !== 0 }
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
