import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { hasUnread } from './unread.js'

interface PipelineSocket extends Socket {
  /** Node's HTTPParser. The buffer is a copy of what it reads just now. */
  readonly parser?: { getCurrentBuffer?(): Buffer | undefined } | null
}

const HEAD_END = '\r\n\r\n'

/**
 * Whether a request is the last one of its connection that has come. A program that answers at once has answered the first request of a
 * pipeline before Node reads the second one out of the same packet, so who is to say `Connection: close` cannot be found out by waiting.
 */
export class Pipelines {
  /** Of each connection: what it had read in all when the last request began, and how many began with those bytes. */
  readonly #begun = new WeakMap<Socket, { readonly bytesRead: number; readonly requests: number }>()

  /** To be asked once for each request, when its head has been read. */
  isLast(socket: PipelineSocket, request: IncomingMessage): boolean {
    const before = this.#begun.get(socket)
    const requests = before?.bytesRead === socket.bytesRead ? before.requests + 1 : 1
    this.#begun.set(socket, { bytesRead: socket.bytesRead, requests })
    // Where a body ends cannot be seen here; pipelines are made of requests without.
    if (hasBody(request)) return true
    const buffer = socket.parser?.getCurrentBuffer?.()
    if (buffer !== undefined && buffer.length > endOfHead(buffer, requests)) return false
    return !hasUnread(socket)
  }
}

/** Where the n-th head ends; after the end of the bytes if they have fewer. */
function endOfHead(bytes: Buffer, n: number): number {
  let end = 0
  for (let head = 0; head < n; head++) {
    const at = bytes.indexOf(HEAD_END, end, 'latin1')
    if (at === -1) return Number.POSITIVE_INFINITY
    end = at + HEAD_END.length
  }
  return end
}

function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
}
