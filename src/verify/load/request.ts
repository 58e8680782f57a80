/** Where the load goes. */
export interface Target {
  readonly host: string
  readonly port: number
}

/** One request as bytes: a head, and for an upload the pieces of its body with the pause before each. */
export interface RequestPlan {
  /** "GET /": names the request in reports; its first status is the reference for all later ones. */
  readonly name: string
  readonly head: Buffer
  readonly pieces: readonly Buffer[]
  readonly pieceEveryMs: number
  /** The request itself says `Connection: close`. */
  readonly asksClose: boolean
}

/** An upload takes about 300 ms: longer than a handover, so that every reload meets uploads at every point of it. */
const UPLOAD_PIECES = 6
const UPLOAD_PIECE_EVERY_MS = 50
const UPLOAD_PIECE = 'x'.repeat(256)

export function get(target: Target, path: string): RequestPlan {
  return { ...plan('GET', target, path, []), asksClose: false }
}

export function getAndClose(target: Target, path: string): RequestPlan {
  return { ...plan('GET', target, path, ['Connection: close']), asksClose: true }
}

/**
 * Asks to keep the connection, on purpose: a server that answers before it has read the body and then closes must reset the
 * connection (unread data), which would be counted against it although it was asked to close.
 */
export function upload(target: Target, path: string): RequestPlan {
  const piece = Buffer.from(`${UPLOAD_PIECE.length.toString(16)}\r\n${UPLOAD_PIECE}\r\n`)
  const headers = ['Content-Type: application/octet-stream', 'Transfer-Encoding: chunked']
  return {
    ...plan('POST', target, path, headers),
    pieces: [...Array<Buffer>(UPLOAD_PIECES - 1).fill(piece), Buffer.concat([piece, Buffer.from('0\r\n\r\n')])],
    pieceEveryMs: UPLOAD_PIECE_EVERY_MS,
    asksClose: false,
  }
}

function plan(
  method: string,
  target: Target,
  path: string,
  headers: readonly string[],
): Omit<RequestPlan, 'asksClose'> {
  const host = target.host.includes(':') ? `[${target.host}]` : target.host
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${host}:${target.port}`,
    'User-Agent: reuseport-run-verify',
    'Accept: */*',
    ...headers,
  ]
  return {
    name: `${method} ${path}`,
    head: Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'),
    pieces: [],
    pieceEveryMs: 0,
  }
}
