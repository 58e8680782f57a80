import { get, type RequestOptions } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { get as getTls } from 'node:https'
import { connect } from 'node:net'
import { WebSocket } from 'ws'

/** One new connection, one question; the answer's text, or the error's code ("ECONNREFUSED"). Never tries again. */
export type Ask = (port: number, path?: string) => Promise<string>

const once: RequestOptions = { agent: false, headers: { Connection: 'close' } }

export const askHttp: Ask = (port, path = '/') =>
  new Promise((done) => {
    get({ ...once, port, path }, (response) => bodyOf(response).then(done)).on('error', failed(done))
  })

export const askHttps: Ask = (port, path = '/') =>
  new Promise((done) => {
    const options = { ...once, port, path, rejectUnauthorized: false }
    getTls(options, (response) => bodyOf(response).then(done)).on('error', failed(done))
  })

const askHttp2 =
  (scheme: 'http' | 'https'): Ask =>
  (port, path = '/') =>
    new Promise((done) => {
      const session = connectHttp2(`${scheme}://localhost:${port}`, { rejectUnauthorized: false })
      session.on('error', failed(done))
      const stream = session.request({ ':path': path })
      stream.on('error', failed(done))
      void bodyOf(stream).then((text) => {
        session.close()
        done(text)
      })
    })
export const askH2c: Ask = askHttp2('http')
export const askH2: Ask = askHttp2('https')

export const askNet: Ask = (port) =>
  new Promise((done) => {
    const socket = connect({ port }, () => socket.write('?\n'))
    socket.on('error', failed(done))
    socket.once('data', (data) => {
      socket.destroy()
      done(String(data).trim())
    })
  })

export const askWebSocket: Ask = (port) =>
  new Promise((done) => {
    const socket = new WebSocket(`ws://localhost:${port}`)
    socket.on('error', failed(done))
    socket.once('message', (data) => {
      socket.close()
      done(String(data))
    })
  })

export const askUnix = (socketPath: string): Promise<string> =>
  new Promise((done) => {
    get({ ...once, socketPath, path: '/' }, (response) => bodyOf(response).then(done)).on('error', failed(done))
  })

const failed =
  (done: (code: string) => void) =>
  (error: Error): void =>
    done(codeOf(error))

async function bodyOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  try {
    for await (const chunk of stream) text += chunk
  } catch (error) {
    return codeOf(error)
  }
  return text
}

/** A stream of an http2 session that never was says ERR_HTTP2_STREAM_CANCEL, because of ECONNREFUSED. */
function codeOf(error: unknown): string {
  const { cause, code, message } = error as NodeJS.ErrnoException
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? code ?? message
}
