import type { ConnectionKind, Speaks } from '../protocol.js'
import { StandIn } from './stand-in.js'

/** What a new connection of this server must begin with. By what only servers of that kind have: the modules are not loaded for it. */
export function speaks(server: object): Speaks {
  const has = (name: string): boolean => typeof (server as Record<string, unknown>)[name] === 'function'
  const overTls = has('setSecureContext')
  if (has('updateSettings')) return overTls ? 'h2' : 'h2c'
  if (has('closeIdleConnections')) return overTls ? 'https' : 'http'
  return overTls ? 'tls' : 'tcp'
}

/** What its connections are that nothing else is known of. */
export function kindOf(server: object): ConnectionKind {
  return server instanceof StandIn ? server.kind : speaks(server)
}
