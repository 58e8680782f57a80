import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Asker, HealthOptions } from '../../options.js'
import { type Answer, describe, ResponseJudge } from './answer.js'
import { headersOf } from './http1.js'

/** What HTTP/2 does not know (RFC 9113 §8.2.2), and what is said in its own way there. */
const NOT_IN_HTTP2 = ['connection', 'host', 'keep-alive', 'transfer-encoding', 'upgrade']

/** One request by HTTP/2, on a connection that has agreed on it (ALPN) or begins with it (h2c). */
export function askHttp2(connection: Duplex, health: HealthOptions, done: (answer: Answer) => void): () => void {
  const what = describe(health)
  const fail = (error: NodeJS.ErrnoException): void =>
    done(`no answer by HTTP/2 to ${what}: ${error.code ?? error.message}`)
  const session = sessionOver(connection)
  session.on('error', fail)
  session.on('close', () => done(`it closed the connection without an answer to ${what}`))
  const stream = requestIn(session, health.target, health)
  stream.on('error', fail)
  stream.on('response', (response) => {
    const judge = new ResponseJudge(health, response[':status'] ?? 0, response.location)
    stream.on('data', (data: Buffer) => {
      if (judge.take(data)) done(judge.judge())
    })
    stream.on('end', () => done(judge.judge()))
    stream.on('aborted', () => done(judge.cut('the stream was reset')))
  })
  return () => {
    stream.close(constants.NGHTTP2_CANCEL)
    session.close()
  }
}

export function sessionOver(connection: Duplex): ClientHttp2Session {
  return connect('http://localhost', { createConnection: () => connection })
}

/** A GET, which is complete. */
export function requestIn(session: ClientHttp2Session, path: string, asker: Asker): ClientHttp2Stream {
  const headers = Object.entries(headersOf(asker))
  const host = headers.find(([name]) => name === 'host')?.[1] ?? asker.host
  return session.request({
    ...Object.fromEntries(headers.filter(([name]) => !NOT_IN_HTTP2.includes(name))),
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_AUTHORITY]: host,
  })
}
