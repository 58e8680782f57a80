import { connect, type OnReadOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Bucket, bucketOfConnectError } from './buckets.js'
import { monotonicMs } from './clock.js'
import type { Outcome } from './outcome.js'
import type { Target } from './request.js'

/** Largest read. The buffer is shared: a read and its callback happen in one turn, and nobody keeps the bytes. */
const READ_BYTES = 64 * 1024
const SHARED_READ_BUFFER = Buffer.alloc(READ_BYTES)

export interface SocketOptions {
  readonly target: Target
  readonly connectTimeoutMs: number
  /** Bytes of one read; undefined: as many as there are. */
  readonly readBytes?: number | undefined
  /** The next bytes, which are overwritten after the call; false stops reading. */
  onBytes(bytes: Buffer): boolean
}

/**
 * Calls back with a connected socket, TLS handshake included, or with the outcome of the request that wanted one. A callback, not a
 * promise: its listeners are there before anything else can happen to the socket.
 */
export function openSocket(options: SocketOptions, done: (opened: Socket | Outcome) => void): void {
  const { target, connectTimeoutMs, readBytes } = options
  const began = monotonicMs()
  const failed = (bucket: Bucket, reason: string): void => {
    clearTimeout(timer)
    const at = monotonicMs()
    const sizes = { nth: 1, bytesSent: 0, bytesReceived: 0 }
    done({ bucket, reason, status: null, ms: at - began, at, localPort: null, ...sizes })
  }
  const onread: OnReadOpts = {
    buffer: readBytes === undefined ? SHARED_READ_BUFFER : Buffer.alloc(readBytes),
    callback: (length, buffer) => options.onBytes(Buffer.from(buffer.buffer, buffer.byteOffset, length)),
  }
  const common = { host: target.host, port: target.port, allowHalfOpen: true, onread }
  const socket = target.tls
    ? // What is proven is that the connection holds, not whose it is.
      connectTls({ ...common, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    : connect({ ...common, noDelay: true })
  const timer = setTimeout(() => {
    socket.destroy()
    failed('connect-timeout', `no answer within ${connectTimeoutMs} ms`)
  }, connectTimeoutMs)
  const onError = (error: NodeJS.ErrnoException): void => {
    const code = error.code ?? error.message
    failed(bucketOfConnectError(code), code)
  }
  socket.once('error', onError)
  socket.once(target.tls ? 'secureConnect' : 'connect', () => {
    clearTimeout(timer)
    socket.off('error', onError)
    if (target.tls) socket.setNoDelay(true)
    done(socket)
  })
}
