/** Longest line of a response's head, and most of them: a broken server must not fill the client's memory. */
const MAX_LINE = 64 * 1024
const MAX_LINES = 1000

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,13})(?:[ \t]*;.*)?$/
const KEEP_ALIVE_TIMEOUT = /(?:^|[,;\s])timeout=(\d{1,7})(?:$|[,;\s])/i

type Mode =
  | 'status-line'
  | 'header'
  | 'fixed'
  | 'chunk-size'
  | 'chunk-data'
  | 'chunk-end'
  | 'trailer'
  | 'until-close'
  | 'complete'
  | 'broken'

/**
 * Reads one HTTP/1.1 response, strictly: what a lenient client would repair (a bare line feed, two lengths, bytes that belong to no
 * response) is a finding here. Bodies are counted, not kept. The result does not depend on how the stream was cut into pieces.
 */
export class ResponseReader {
  status = 0
  /** Bytes seen, interim (1xx) responses included. */
  received = 0
  bodyBytes = 0
  /** What is wrong with the stream; null while nothing is. */
  problem: string | null = null
  /** `Keep-Alive: timeout=…`: how long the server promises to keep the connection open while idle. */
  keepAliveTimeoutMs: number | null = null
  /** `X-Request-Id`, which many programs send back. */
  requestId: string | null = null
  contentType = ''

  readonly #onBody: ((bytes: Buffer) => void) | null
  #mode: Mode = 'status-line'
  #line = ''
  #lines = 0
  #remaining = 0
  #version = '1'
  #contentLength: number | null = null
  #chunked = false
  #connection = ''

  /** `onBody` gets the body as it comes, without the chunks' frames. */
  constructor(onBody: ((bytes: Buffer) => void) | null = null) {
    this.#onBody = onBody
  }

  get complete(): boolean {
    return this.#mode === 'complete'
  }

  /** The connection can carry another request: HTTP/1.1 says so unless told otherwise, HTTP/1.0 only when told. */
  get keepsOpen(): boolean {
    if (this.#contentLength === null && !this.#chunked && hasBody(this.status)) return false
    const tokens = this.#connection.toLowerCase().split(/[ \t]*,[ \t]*/)
    if (tokens.includes('close')) return false
    return this.#version === '1' || tokens.includes('keep-alive')
  }

  /** Takes the next bytes; gives how many of them belong to this response: fewer than all only at its end or when it is broken. */
  push(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length) {
      switch (this.#mode) {
        case 'complete':
        case 'broken':
          this.received += at
          return at
        case 'fixed':
        case 'chunk-data': {
          const taken = Math.min(this.#remaining, bytes.length - at)
          this.#onBody?.(bytes.subarray(at, at + taken))
          at += taken
          this.bodyBytes += taken
          this.#remaining -= taken
          if (this.#remaining === 0) this.#mode = this.#mode === 'fixed' ? 'complete' : 'chunk-end'
          break
        }
        case 'until-close':
          this.#onBody?.(bytes.subarray(at))
          this.bodyBytes += bytes.length - at
          at = bytes.length
          break
        default:
          at = this.#takeLine(bytes, at)
      }
    }
    this.received += at
    return at
  }

  /** The server's end of file: was that the end of the response? */
  end(): 'complete' | 'nothing' | 'truncated' {
    if (this.#mode === 'until-close') this.#mode = 'complete'
    if (this.#mode === 'complete') return 'complete'
    return this.received === 0 ? 'nothing' : 'truncated'
  }

  #takeLine(bytes: Buffer, from: number): number {
    const lineFeed = bytes.indexOf(0x0a, from)
    const to = lineFeed === -1 ? bytes.length : lineFeed + 1
    this.#line += bytes.toString('latin1', from, to)
    if (this.#line.length > MAX_LINE) this.#mode = this.#broken('a line of more than 64 KiB')
    else if (lineFeed !== -1) {
      const line = this.#line
      this.#line = ''
      if (!line.endsWith('\r\n')) this.#mode = this.#broken(`a line that does not end in CRLF: ${quote(line)}`)
      else if (++this.#lines > MAX_LINES) this.#mode = this.#broken(`more than ${MAX_LINES} lines around one body`)
      else this.#mode = this.#onLine(line.slice(0, -2))
    }
    return to
  }

  /** Each line handler gives the mode that follows. */
  #onLine(line: string): Mode {
    switch (this.#mode) {
      case 'status-line':
        return this.#onStatusLine(line)
      case 'header':
        return line === '' ? this.#onHeadEnd() : this.#onHeader(line)
      case 'chunk-size':
        return this.#onChunkSize(line)
      case 'chunk-end':
        return line === '' ? 'chunk-size' : this.#broken(`${quote(line)} where a chunk should have ended`)
      case 'trailer':
        if (line === '') return 'complete'
        return isField(line) ? 'trailer' : this.#broken(`not a trailer: ${quote(line)}`)
      default:
        throw new Error(`no line is awaited in mode ${this.#mode}`)
    }
  }

  #onStatusLine(line: string): Mode {
    const match = STATUS_LINE.exec(line)
    if (match === null) return this.#broken(`not a status line: ${quote(line)}`)
    this.#version = match[1] as string
    this.status = Number(match[2])
    return 'header'
  }

  #onHeader(line: string): Mode {
    if (!isField(line)) return this.#broken(`not a header: ${quote(line)}`)
    const colon = line.indexOf(':')
    const value = line.slice(colon + 1).trim()
    switch (line.slice(0, colon).toLowerCase()) {
      case 'content-length':
        if (!/^\d{1,15}$/.test(value)) return this.#broken(`Content-Length is ${quote(value)}`)
        if (this.#contentLength !== null) return this.#broken('two Content-Length headers')
        this.#contentLength = Number(value)
        break
      case 'transfer-encoding':
        if (value.toLowerCase() !== 'chunked') return this.#broken(`Transfer-Encoding is ${quote(value)}`)
        if (this.#chunked) return this.#broken('two Transfer-Encoding headers')
        this.#chunked = true
        break
      case 'connection':
        this.#connection += this.#connection === '' ? value : `,${value}`
        break
      case 'x-request-id':
        this.requestId = value
        break
      case 'content-type':
        this.contentType = value
        break
      case 'keep-alive': {
        const match = KEEP_ALIVE_TIMEOUT.exec(value)
        if (match !== null) this.keepAliveTimeoutMs = Number(match[1]) * 1000
        break
      }
    }
    return 'header'
  }

  #onHeadEnd(): Mode {
    if (this.#chunked && this.#contentLength !== null) return this.#broken('both Content-Length and Transfer-Encoding')
    if (this.status === 101) return this.#broken('101 Switching Protocols, which was not asked for')
    if (this.status < 200) {
      this.#contentLength = null
      this.#chunked = false
      this.#connection = ''
      return 'status-line'
    }
    if (!hasBody(this.status) || this.#contentLength === 0) return 'complete'
    if (this.#chunked) return 'chunk-size'
    if (this.#contentLength === null) return 'until-close'
    this.#remaining = this.#contentLength
    return 'fixed'
  }

  #onChunkSize(line: string): Mode {
    // Chunk lines are as many as there are chunks: only heads and trailers are counted against MAX_LINES.
    this.#lines = 0
    const match = CHUNK_SIZE.exec(line)
    if (match === null) return this.#broken(`not a chunk size: ${quote(line)}`)
    this.#remaining = Number.parseInt(match[1] as string, 16)
    return this.#remaining === 0 ? 'trailer' : 'chunk-data'
  }

  #broken(problem: string): Mode {
    this.problem = problem
    return 'broken'
  }
}

/** A 204 and a 304 end with their head, whatever their headers say (RFC 9112 §6.3). */
function hasBody(status: number): boolean {
  return status !== 204 && status !== 304
}

function isField(line: string): boolean {
  const colon = line.indexOf(':')
  return colon > 0 && TOKEN.test(line.slice(0, colon)) && !/[\0\r]/.test(line)
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
