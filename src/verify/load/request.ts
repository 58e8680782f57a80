/** Where the load goes. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly tls?: boolean
}

/** One request as bytes, or several in one go: what is written at once, and pieces with a pause before each. */
export interface RequestPlan {
  /** "GET /": names the request in reports; its first status is the reference for all later ones. */
  readonly name: string
  readonly head: Buffer
  readonly pieces: readonly Buffer[]
  readonly pieceEveryMs: number
  /** Responses that are awaited. */
  readonly requests: number
  /** The `X-Request-Id` that each response must carry, in order; empty: not looked at. */
  readonly ids: readonly string[]
  /** The request itself says `Connection: close`. */
  readonly asksClose: boolean
}

/** An upload takes about 300 ms: longer than a handover, so that every reload meets uploads at every point of it. */
const UPLOAD_PIECES = 6
const UPLOAD_PIECE_EVERY_MS = 50
const UPLOAD_PIECE = 'x'.repeat(256)

/** A head goes out byte for byte, one each of these: together about 300 ms, like an upload. */
const HEAD_BYTE_EVERY_MS = 8
/** Requests that are written at once, and how long after them comes the last bytes of the last one. */
const PIPELINED = 4
const PIPELINE_TAIL_BYTES = 9
const PIPELINE_TAIL_AFTER_MS = 15

export function get(target: Target, path: string): RequestPlan {
  return plan('GET', target, path, [])
}

export function getAndClose(target: Target, path: string): RequestPlan {
  return { ...plan('GET', target, path, ['Connection: close']), asksClose: true }
}

/** As short as a head may be: byte for byte it shall take no longer than an upload. */
export function getSlowly(target: Target, path: string): RequestPlan {
  const head = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${hostOf(target)}\r\n\r\n`, 'latin1')
  const pieces = Array.from(head.subarray(1), (byte) => Buffer.of(byte))
  return { ...plan('GET', target, path, []), head: head.subarray(0, 1), pieces, pieceEveryMs: HEAD_BYTE_EVERY_MS }
}

/** Several requests in one write, the end of the last one a little later; `id` makes a new identity for each. */
export function getPipelined(target: Target, path: string, id: () => string): RequestPlan {
  const ids = Array.from({ length: PIPELINED }, id)
  const one = plan('GET', target, path, [])
  const all = Buffer.concat(ids.map((own) => plan('GET', target, path, [`X-Request-Id: ${own}`]).head))
  const head = all.subarray(0, all.length - PIPELINE_TAIL_BYTES)
  const pieces = [all.subarray(head.length)]
  return { ...one, head, pieces, pieceEveryMs: PIPELINE_TAIL_AFTER_MS, requests: ids.length, ids }
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
  }
}

/** An endless answer of events (WHATWG HTML, server-sent events); `lastId`: of the last event that was got. */
export function getEvents(target: Target, path: string, lastId: string | null): RequestPlan {
  const headers = ['Cache-Control: no-store', ...(lastId === null ? [] : [`Last-Event-ID: ${lastId}`])]
  return plan('GET', target, path, headers, 'text/event-stream')
}

export function getWebSocket(target: Target, path: string, key: string): RequestPlan {
  const headers = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
  ]
  return plan('GET', target, path, headers)
}

/** "127.0.0.1:3000", "[::1]:3000". */
export function hostOf({ host, port }: Target): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** "GET /" on the plain port; anywhere else the port is part of the name: the same path may be something else there. */
export function nameOf(method: string, target: Target, path: string): string {
  return target.tls ? `${method} https://${hostOf(target)}${path}` : `${method} ${path}`
}

function plan(method: string, target: Target, path: string, headers: readonly string[], accepts = '*/*'): RequestPlan {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${hostOf(target)}`,
    'User-Agent: reuseport-run-verify',
    `Accept: ${accepts}`,
    ...headers,
  ]
  return {
    name: nameOf(method, target, path),
    head: Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'),
    pieces: [],
    pieceEveryMs: 0,
    requests: 1,
    ids: [],
    asksClose: false,
  }
}
