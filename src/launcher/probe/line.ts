import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Asker } from '../../options.js'
import type { Speaks } from '../../protocol.js'
import { headersOf } from './http1.js'

/** One connection to a worker, over which request follows request. */
export interface Line {
  /** The server takes no further one. */
  readonly isSpent: boolean
  /** Resolves with the status, when the whole answer has come. */
  get(path: string): Promise<number>
  /** Asks no more. What is still answered is read, and dropped. */
  leave(): void
}

/** TLS ends in both directions by itself (tls.ts). */
export function isHalfOpen(speaks: Speaks): boolean {
  return speaks === 'https' || speaks === 'h2' || speaks === 'tls'
}

/** Speaks over `connection` as the server does. Rejects when it does not come to that. */
export async function lineOver(connection: Socket, speaks: Speaks, asker: Asker): Promise<Line> {
  if (!isHalfOpen(speaks)) return speaks === 'h2c' ? http2Line(connection, asker) : httpLine(connection, asker)
  const { secureOver } = await import('./tls.js')
  const secure = secureOver(connection, asker.host)
  await once(secure, 'secureConnect')
  secure.on('error', () => {})
  return secure.alpnProtocol === 'h2' ? http2Line(secure, asker) : httpLine(secure, asker)
}

function httpLine(connection: Duplex, asker: Asker): Line {
  // For one request after the other, and this connection only.
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  agent.createConnection = () => connection as Socket
  let isSpent = false
  const spend = (): void => {
    isSpent = true
  }
  connection.once('close', spend)
  return {
    get isSpent() {
      return isSpent
    },
    get: (path) =>
      new Promise((resolve, reject) => {
        const call = request({ agent, path, setHost: false, headers: headersOf(asker) })
        call.once('response', (response) => {
          if (!call.shouldKeepAlive) spend()
          response.once('end', () => resolve(response.statusCode ?? 0))
          response.once('error', reject)
          response.resume()
        })
        call.once('upgrade', ({ statusCode = 0 }) => {
          spend()
          resolve(statusCode)
        })
        call.once('error', reject)
        call.end()
      }),
    leave() {
      spend()
      connection.end()
      connection.resume()
    },
  }
}

async function http2Line(connection: Duplex, asker: Asker): Promise<Line> {
  const { requestIn, sessionOver } = await import('./http2.js')
  const session = sessionOver(connection)
  // Whoever waits for an answer hears it by the stream.
  session.on('error', () => {})
  return {
    get isSpent() {
      return session.closed || session.destroyed
    },
    get: (path) =>
      new Promise((resolve, reject) => {
        const stream = requestIn(session, path, asker)
        let status = 0
        stream.once('response', (headers) => {
          status = headers[':status'] ?? 0
        })
        stream.once('error', reject)
        stream.once('close', () => (stream.rstCode === 0 ? resolve(status) : reject(new Error('the stream was reset'))))
        stream.resume()
      }),
    leave: () => session.close(),
  }
}
