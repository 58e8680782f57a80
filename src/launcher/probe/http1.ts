import { type IncomingMessage, request } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Asker, HealthOptions } from '../../options.js'
import { VERSION } from '../../version.js'
import { type Answer, describe, ResponseJudge } from './answer.js'
import { Door } from './door.js'

/** One request by HTTP/1.1, over TLS or not. Redirects are answers like any other. */
export function askHttp(connection: Duplex, health: HealthOptions, done: (answer: Answer) => void): () => void {
  const call = request({
    createConnection: () => new Door(connection),
    path: health.target,
    setHost: false,
    headers: headersOf(health),
    // What a reply's head may take at most, 16 KiB, is Node's default.
  })
  call.on('response', (response) => read(response, health, done))
  call.on('upgrade', ({ statusCode }) => done(new ResponseJudge(health, statusCode ?? 0, undefined).judge()))
  call.on('error', (error: NodeJS.ErrnoException) => done(failure(error, health)))
  call.end()
  return () => {
    connection.end()
    connection.resume()
  }
}

/** Ours first: who names one of them on the command line means theirs. */
export function headersOf(asker: Asker): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {
    host: asker.host,
    'user-agent': `reuseport-run/${VERSION}`,
    accept: '*/*',
  }
  for (const [name, value] of asker.headers) {
    const key = name.toLowerCase()
    headers[key] = value
  }
  return headers
}

function read(response: IncomingMessage, health: HealthOptions, done: (answer: Answer) => void): void {
  const judge = new ResponseJudge(health, response.statusCode ?? 0, response.headers.location)
  response.on('data', (data: Buffer) => {
    if (judge.take(data)) done(judge.judge())
  })
  response.on('end', () => done(judge.judge()))
  response.on('error', (error: NodeJS.ErrnoException) => done(judge.cut(error.code ?? error.message)))
}

function failure({ code, message }: NodeJS.ErrnoException, health: HealthOptions): string {
  const what = describe(health)
  if (code?.startsWith('HPE_') === true) return `its answer to ${what} is no HTTP/1.1: ${message}`
  return code === 'ECONNRESET'
    ? `it closed the connection without an answer to ${what}`
    : `no answer to ${what}: ${code ?? message}`
}
