import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Session } from 'node:http2'
import type { Server } from 'node:net'

/**
 * Returns what closes this server gracefully: nothing new is accepted, what is open is answered, and it is over when the last connection has
 * ended. Beyond server.close(): a request that still comes over an open connection is the last one there, or a busy client would
 * keep the server open for ever; and HTTP/2 sessions end, which Node sees to from 24 on only.
 */
export function closer(server: Server): () => Promise<void> {
  const sessions = new Set<ServerHttp2Session>()
  // Of HTTP/2 servers alone.
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  let closing: Promise<void> | undefined
  return () => {
    closing ??= new Promise((done, fail) => {
      server.prependListener('request', sayLast)
      server.close((error: NodeJS.ErrnoException | undefined) => {
        server.off('request', sayLast)
        // Somebody else has closed it: that is as good.
        if (error === undefined || error.code === 'ERR_SERVER_NOT_RUNNING') done()
        else fail(error)
      })
      for (const session of sessions) session.close()
    })
    return closing
  }
}

function sayLast(request: IncomingMessage, response: ServerResponse): void {
  if (request.httpVersionMajor < 2) response.setHeader('Connection', 'close')
}
