import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { HealthOptions } from '../../options.js'
import { type Answer, cannotAsk, describe } from './answer.js'
import { askHttp } from './http1.js'

/**
 * One request over TLS, by HTTP/2 or HTTP/1.1 as the server chooses. Its name is not checked: whose process it is was known before, and
 * its certificate is not for 127.0.0.1.
 */
export function askOverTls(connection: Socket, health: HealthOptions, done: (answer: Answer) => void): () => void {
  const secure = secureOver(connection, health.host)
  let isAnswered = false
  let leave = (): void => {
    if (!isAnswered) secure.end()
    secure.resume()
  }
  const failed = (error: NodeJS.ErrnoException): void =>
    done(`no TLS for ${describe(health)}: ${error.code ?? error.message}`)
  secure.once('error', failed)
  secure.once('secureConnect', () => {
    secure.off('error', failed)
    secure.on('error', () => {})
    const converse = async (): Promise<void> => {
      if (secure.alpnProtocol === 'h2') {
        leave = (await import('./http2.js')).askHttp2(secure, health, done)
        return
      }
      askHttp(secure, health, (answer) => {
        isAnswered = true
        done(answer)
      })
    }
    converse().catch((error: Error) => done(cannotAsk(health, error)))
  })
  return () => leave()
}

/** A client on a connection that is half open. */
export function secureOver(connection: Socket, host: string): TLSSocket {
  const name = host.replace(/:\d+$/, '')
  const secure = connect({
    socket: connection,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2', 'http/1.1'],
    // An address is no name for SNI (RFC 6066 §3).
    ...(isIP(name) === 0 && !name.startsWith('[') ? { servername: name } : {}),
  })
  // A last word of ours after theirs would find their end closed, and be answered with a reset.
  secure.once('end', () => connection.destroy())
  return secure
}
